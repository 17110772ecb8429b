"""What happens to offerings: they are published, seen by those they are made to, withdrawn."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from kit.encoding import encode_json
from kit.sortable_id import sortable_id
from marketplace.framework.completing import Asked, Draft, draft
from marketplace.framework.model import BadClause, Clauses, check_plain
from marketplace.offerings import model
from marketplace.offerings.model import (
    Audience,
    NotYourOffering,
    Offering,
    ServiceTerms,
    Status,
    UnknownOffering,
)
from marketplace.offerings.ports import Offerings, Search, Stall
from marketplace.partners.model import check_present
from marketplace.services.model import (
    HUB_SERVICES,
    UNPUBLISHED,
    Service,
    UnknownService,
    is_name,
)
from roaming.party import PartyId


async def publish(
    offerings: Offerings,
    roles: Collection[str],
    asked: Sequence[Offering],
    now: datetime,
    *,
    clauses: Sequence[Asked] | None = None,
) -> Sequence[Offering]:
    """Publish offerings of one provider, all or none. What is offered already is not doubled.

    `clauses`: what each says beside its terms; None: the standard form of all that is required.
    BadOffering, BadTerms, BadClause, OfferingIncomplete, UnknownService, NotYourServiceToOffer,
    ServiceEnding, PartnerAbsent.
    """
    async with offerings.open() as stall:
        for provider in {one.provider for one in asked}:
            check_present(provider, await stall.standing(provider), now, "provider")
        drafts = await _draft(stall, roles, asked, clauses or [{}] * len(asked))
        complete = []
        for n, draft in enumerate(drafts):
            with model.in_row(n, len(asked)):
                complete.append(draft.complete())
        digests = await stall.keep_clauses(complete)
        worded = [
            replace(offering, clauses_digest=digest)
            for offering, digest in zip(asked, digests, strict=True)
        ]
        return await stall.publish(worded, now)


async def check(
    offerings: Offerings, roles: Collection[str], offering: Offering, clauses: Asked
) -> Draft:
    """What `publish` would make of an offering and what it would still miss, with nothing done.

    Refused as `publish` refuses, but for OfferingIncomplete.
    """
    async with offerings.open() as stall:
        [draft] = await _draft(stall, roles, [offering], [clauses])
    return draft


async def clauses_of(
    offerings: Offerings, viewer: PartyId, roles: Collection[str], offering_id: str
) -> tuple[Offering, Clauses]:
    """An offering made to the viewer, or by it, and its clauses; UnknownOffering."""
    async with offerings.open() as stall:
        offering = await _seen(stall, viewer, roles, offering_id)
        return offering, await stall.clauses(offering.clauses_digest)


async def _draft(
    stall: Stall, roles: Collection[str], asked: Sequence[Offering], clauses: Sequence[Asked]
) -> list[Draft]:
    """Each offering with its clauses; what reads the same is put into words once."""
    services: dict[tuple[str, int], Service] = {}
    library = await stall.library()
    drafts, made = [], dict[bytes, Draft]()
    for n, (offering, wanted) in enumerate(zip(asked, clauses, strict=True)):
        with model.in_row(n, len(asked)):
            model.checked(offering)
            key = offering.service, offering.major
            if key not in services:
                services[key] = await _offerable(stall, *key, offering.provider, roles)
            service = services[key]
            model.check_operations(offering, [one.name for one in service.operations])
            model.check_environment(offering, callable=service.callable)
            model.check_limits(offering, callable=service.callable)
            check_plain(wanted, "clauses", BadClause)
            told, kind = model.said(offering, service), model.kind_of(service)
            reads = encode_json([kind, wanted, told])
            if reads not in made:
                made[reads] = draft(library, kind, wanted, told)
                # About a millisecond each: of a thousand, other calls get their turn in between.
                await asyncio.sleep(0)
            drafts.append(made[reads])
    return drafts


async def _offerable(
    stall: Stall, name: str, major: int, provider: PartyId, roles: Collection[str]
) -> Service:
    service = await stall.service(name, major) if is_name(name) else None
    if service is None or (service.status in UNPUBLISHED and service.provider != provider):
        raise UnknownService(
            "the catalogue has no such service", field="service", value=f"{name[:100]} v{major}"
        )
    model.may_offer(name, service.provider, provider, roles)
    model.check_going_on(service)
    return service


async def ensure_hub_offerings(offerings: Offerings, hub: PartyId, now: datetime) -> Sequence[str]:
    """The hub's own services are offered, free, to the roles that they are for; those that were
    not offered before.

    Safe at every start; an offering that the hub withdrew stays withdrawn.
    """
    new = []
    async with offerings.open() as stall:
        for name, (_, _, _, roles) in HUB_SERVICES.items():
            if await stall.ever_offered(hub, name, 1):
                continue
            offering = Offering(
                offering_id=sortable_id(now),
                service=name,
                major=1,
                provider=hub,
                terms=ServiceTerms(),
                audience=Audience.of_roles(roles),
                valid_from=None,
                valid_until=None,
                status=Status.PUBLISHED,
                published_at=now,
            )
            await stall.publish([await _standard(stall, offering)], now)
            new.append(name)
    return new


async def _standard(stall: Stall, offering: Offering) -> Offering:
    """The hub's offering with clauses in their standard form."""
    [worded] = await _draft(stall, (), [offering], [{}])
    [digest] = await stall.keep_clauses([worded.complete()])
    return replace(offering, clauses_digest=digest)


async def find(
    offerings: Offerings, viewer: PartyId, roles: Collection[str], offering_id: str
) -> Offering:
    """One offering made to the viewer, or by it; UnknownOffering."""
    async with offerings.open() as stall:
        return await _seen(stall, viewer, roles, offering_id)


async def _seen(
    stall: Stall, viewer: PartyId, roles: Collection[str], offering_id: str
) -> Offering:
    offering = await stall.find(offering_id)
    if offering is None or not offering.seen_by(viewer, roles):
        raise _unknown(offering_id)
    return offering


async def withdraw(
    offerings: Offerings, caller: PartyId, roles: Collection[str], offering_id: str, now: datetime
) -> Offering:
    """Offer it no more; contracts from it stay. UnknownOffering, NotYourOffering."""
    async with offerings.open() as stall:
        offering = await _seen(stall, caller, roles, offering_id)
        if offering.provider != caller:
            raise NotYourOffering(
                "only who makes an offering withdraws it", field="offering_id", value=offering_id
            )
        gone = model.withdrawn(offering)
        if gone != offering:
            await stall.withdraw(gone, now)
    return gone


async def page(
    offerings: Offerings,
    viewer: PartyId,
    roles: Collection[str],
    search: Search,
    *,
    after: str | None,
    limit: int,
) -> Sequence[Offering]:
    """What is offered to the viewer, and what it offers itself."""
    async with offerings.open() as stall:
        return await stall.page(viewer, roles, search, after=after, limit=limit)


def _unknown(offering_id: str) -> UnknownOffering:
    return UnknownOffering(
        "no such offering is made to you", field="offering_id", value=offering_id[:100]
    )
