"""What a proposal says, and what comes of it on paper.

A proposal says what its maker tells, and of all else what was said before: in the proposal that it
answers, or first in the offering, or in the contract that is to be replaced.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kit.encoding import encode_json
from marketplace.contracts import model as contract_model
from marketplace.contracts.model import Contract, UnknownContract
from marketplace.framework import completing
from marketplace.framework.completing import Asked
from marketplace.framework.document import OnPaper, canonical, contract_document
from marketplace.framework.model import BadClause, Clauses, Library, check_plain
from marketplace.negotiations.model import Draft, Negotiation, Proposal
from marketplace.negotiations.ports import Desk
from marketplace.offerings import model as offering_model
from marketplace.offerings.model import Audience, Offering, Terms, UnknownOffering, parse_terms
from marketplace.offerings.model import Status as OfferingStatus
from marketplace.partners.model import UnknownPartner, check_present
from marketplace.partners.standing import UNTROUBLED
from marketplace.services.model import (
    ROAMING,
    UNPUBLISHED,
    Service,
    UnknownService,
    is_name,
)
from roaming.party import PartyId

Validity = tuple[datetime | None, datetime | None]
"""From and until; None: from the last signature on, and without an end."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a proposal is to say; None: as it was before. `clauses`: all that it has, each as for an
    offering; required ones that are not named are taken in their standard form."""

    terms: Any = None
    clauses: Asked | None = None
    validity: Validity | None = None
    stands_until: datetime | None = None
    says: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What a negotiation is to be about, as its beginner says it. `requester` given: the beginner
    provides, and offers."""

    service: str | None = None
    major: int = 1
    provider: PartyId | None = None
    requester: PartyId | None = None
    offering_id: str | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What was said before."""

    terms: Terms | None = None
    clauses: Clauses | None = None
    validity: Validity = (None, None)

    @classmethod
    def of(cls, proposal: Proposal) -> Said:
        validity = proposal.valid_from, proposal.valid_until
        return cls(proposal.terms, proposal.clauses, validity)


async def said_before(desk: Desk, offering: Offering | None, replaced: Contract | None) -> Said:
    """What is taken as said where the first proposal says nothing else."""
    if replaced is not None:
        clauses = await desk.clauses(replaced.clauses_digest)
        return Said(replaced.terms, clauses, (None, replaced.valid_until))
    if offering is not None:
        clauses = await desk.clauses(offering.clauses_digest)
        return Said(offering.terms, clauses, (offering.valid_from, offering.valid_until))
    return Said()


async def offering_of(
    desk: Desk, caller: PartyId, roles: Collection[str], subject: Subject
) -> Offering | None:
    if subject.offering_id is None:
        return None
    offering = await desk.offering(subject.offering_id)
    if offering is None or not offering.seen_by(caller, roles):
        raise UnknownOffering(
            "no such offering is made to you",
            field="offering_id",
            value=subject.offering_id[:100],
        )
    if offering.sandbox:
        raise _only_tried("offering_id", offering.offering_id)
    return offering


async def replaced_by(desk: Desk, caller: PartyId, subject: Subject) -> Contract | None:
    if subject.replaces is None:
        return None
    contract = await desk.contracts.find(subject.replaces, caller)
    if contract is None:
        raise UnknownContract(
            "no such contract is yours", field="replaces", value=subject.replaces[:100]
        )
    if contract.sandbox:
        raise _only_tried("replaces", contract.contract_id)
    return contract


def _only_tried(field: str, value: str) -> offering_model.BadOffering:
    """A contract that comes of a negotiation counts."""
    return offering_model.BadOffering(
        "what is made for the sandbox is not negotiated",
        field=field,
        value=value,
        rule="accept it as it is, or terminate it: it costs nothing",
    )


async def between(
    desk: Desk,
    caller: PartyId,
    subject: Subject,
    offering: Offering | None,
    replaced: Contract | None,
) -> tuple[PartyId, PartyId, str, int]:
    """Requester, provider, service and major version."""
    if replaced is not None:
        return replaced.requester, replaced.provider, replaced.service, replaced.major
    name, major = subject.service or "", subject.major
    if offering is not None:
        name, major = offering.service, offering.major
    provider = subject.provider
    if subject.requester is not None and subject.requester != caller:
        return subject.requester, caller, name, major
    if provider is None and offering is not None:
        provider = offering.provider
    if provider is None and name != ROAMING:
        service = await desk.service(name, major) if is_name(name) else None
        provider = None if service is None else service.provider
    if provider is None:
        raise UnknownService(
            "who is to provide what?",
            field="provider",
            value=name[:100],
            rule="a service of the catalogue; for roaming, the operator as `provider`",
        )
    return caller, provider, name, major


async def service_between(
    desk: Desk, requester: PartyId, provider: PartyId, name: str, major: int, now: datetime
) -> Service:
    """The service, where this party may provide it to that one now."""
    service = await desk.service(name, major) if is_name(name) else None
    if service is None or service.status in UNPUBLISHED:
        raise UnknownService(
            "the catalogue has no such service", field="service", value=f"{name[:100]} v{major}"
        )
    standings = await desk.contracts.standings({requester, provider})
    for field, party in (("provider", provider), ("requester", requester)):
        if await desk.roles_of(party) is None:
            raise UnknownPartner(f"{party} is not registered here", field=field, value=party)
        check_present(party, standings.get(party, UNTROUBLED), now, field)
    roles = await desk.roles_of(provider) or frozenset()
    offering_model.may_offer(name, service.provider, provider, roles)
    offering_model.check_going_on(service)
    return service


async def draft(
    desk: Desk,
    service: Service,
    provider: PartyId,
    requester: PartyId,
    wish: Wish,
    said: Said,
    now: datetime,
) -> Draft:
    """What a wish comes to, held to the rules of offerings. BadTerms, BadClause, BadOffering,
    OfferingIncomplete."""
    terms = said.terms
    if wish.terms is not None or terms is None:
        terms = parse_terms(service.name, {} if wish.terms is None else wish.terms)
    valid_from, valid_until = wish.validity or said.validity
    as_offered = Offering(
        offering_id="",
        service=service.name,
        major=service.major,
        provider=provider,
        terms=terms,
        audience=Audience.of_parties([requester]),
        valid_from=valid_from,
        valid_until=valid_until,
        status=OfferingStatus.PUBLISHED,
        published_at=now,
    )
    offering_model.checked(as_offered)
    offering_model.check_operations(as_offered, [one.name for one in service.operations])
    offering_model.check_limits(as_offered, callable=service.callable)
    library = await desk.library()
    asked = wish.clauses
    if asked is None:
        asked = {} if said.clauses is None else _as_asked(said.clauses, library)
    check_plain(asked, "clauses", BadClause)
    worded = completing.draft(
        library,
        offering_model.kind_of(service),
        asked,
        offering_model.said(as_offered, service),
    )
    return Draft(
        terms=terms,
        clauses=worded.complete(),
        valid_from=valid_from,
        valid_until=valid_until,
        stands_until=wish.stands_until,
        says=wish.says,
    )


def _as_asked(clauses: Clauses, library: Library) -> Mapping[str, Any]:
    """What was asked for, so that it is asked for again: in the versions that it had; but what
    follows from the terms follows from those that are proposed now."""
    asked = {}
    for one in clauses.chosen:
        from_terms = library.find(one.name, one.version).from_terms
        asked[one.name] = (
            None if from_terms else {"version": one.version, "parameters": dict(one.parameters)}
        )
    return asked


def contract(negotiation: Negotiation, contract_id: str, now: datetime) -> Contract:
    """The contract that the latest proposal comes to when both have signed now."""
    proposal = negotiation.latest
    return Contract(
        contract_id=contract_id,
        offering_id=negotiation.offering_id,
        provider=negotiation.provider,
        requester=negotiation.requester,
        service=negotiation.service,
        major=negotiation.major,
        terms=proposal.terms,
        valid_from=proposal.valid_from or now,
        valid_until=proposal.valid_until,
        history=(
            contract_model.StatusChange(
                contract_model.Status.AGREED, now, negotiation.requester, now
            ),
        ),
        suspended_by=frozenset(),
        version=1,
        clauses_digest=None if proposal.clauses is None else proposal.clauses.digest,
        negotiation_id=negotiation.negotiation_id,
        replaces=negotiation.replaces,
    )


def document(
    negotiation: Negotiation, provider: OnPaper, requester: OnPaper, now: datetime
) -> bytes:
    """The bytes that both sides sign (RFC 8785)."""
    proposal = negotiation.latest
    return canonical(
        contract_document(
            provider=provider,
            requester=requester,
            service=negotiation.service,
            major=negotiation.major,
            terms=json.loads(encode_json(proposal.terms.to_json())),
            clauses=() if proposal.clauses is None else proposal.clauses.chosen,
            valid_from=proposal.valid_from,
            valid_until=proposal.valid_until,
            environment=negotiation.environment,
            negotiation_id=negotiation.negotiation_id,
            offering_id=negotiation.offering_id,
            agreed_at=now,
            replaces=negotiation.replaces,
        )
    )
