"""What happens to offerings: they are published, seen by those they are made to, withdrawn."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from kit.sortable_id import sortable_id
from marketplace.offerings import model
from marketplace.offerings.model import (
    Audience,
    NotYourOffering,
    Offering,
    ServiceRetired,
    ServiceTerms,
    Status,
    UnknownOffering,
)
from marketplace.offerings.ports import Offerings, Stall
from marketplace.services.model import HUB_SERVICES, Service, UnknownService, is_name
from marketplace.services.model import Status as ServiceStatus
from roaming.party import PartyId


async def publish(
    offerings: Offerings, roles: Collection[str], asked: Sequence[Offering], now: datetime
) -> Sequence[Offering]:
    """Publish offerings of one provider, all or none. What is offered already is not doubled.

    BadOffering, BadTerms, UnknownService, NotYourServiceToOffer, ServiceRetired.
    """
    for offering in asked:
        model.checked(offering)
    async with offerings.open() as stall:
        for name, major, provider in {(o.service, o.major, o.provider) for o in asked}:
            service = await _offerable(stall, name, major, provider, roles)
            for offering in asked:
                if (offering.service, offering.major) == (name, major):
                    model.check_operations(offering, [one.name for one in service.operations])
        return await stall.publish(asked, now)


async def _offerable(
    stall: Stall, name: str, major: int, provider: PartyId, roles: Collection[str]
) -> Service:
    service = await stall.service(name, major) if is_name(name) else None
    if service is None or (service.status is ServiceStatus.DRAFT and service.provider != provider):
        raise UnknownService(
            "the catalogue has no such service", field="service", value=f"{name[:100]} v{major}"
        )
    model.may_offer(name, service.provider, provider, roles)
    if service.status is ServiceStatus.RETIRED:
        raise ServiceRetired(
            "what is retired is offered no more", field="service", value=f"{name} v{major}"
        )
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
            await stall.publish([offering], now)
            new.append(name)
    return new


async def find(
    offerings: Offerings, viewer: PartyId, roles: Collection[str], offering_id: str
) -> Offering:
    """One offering made to the viewer, or by it; UnknownOffering."""
    async with offerings.open() as stall:
        offering = await stall.find(offering_id)
    if offering is None or not offering.seen_by(viewer, roles):
        raise _unknown(offering_id)
    return offering


async def withdraw(
    offerings: Offerings, caller: PartyId, roles: Collection[str], offering_id: str, now: datetime
) -> Offering:
    """Offer it no more; contracts from it stay. UnknownOffering, NotYourOffering."""
    async with offerings.open() as stall:
        offering = await stall.find(offering_id)
        if offering is None or not offering.seen_by(caller, roles):
            raise _unknown(offering_id)
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
    *,
    service: str | None,
    provider: PartyId | None,
    after: str | None,
    limit: int,
) -> Sequence[Offering]:
    """What is offered to the viewer, and what it offers itself."""
    async with offerings.open() as stall:
        return await stall.page(
            viewer, roles, service=service, provider=provider, after=after, limit=limit
        )


def _unknown(offering_id: str) -> UnknownOffering:
    return UnknownOffering(
        "no such offering is made to you", field="offering_id", value=offering_id[:100]
    )
