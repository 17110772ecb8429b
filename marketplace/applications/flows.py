"""What happens to applications: they come in, are decided role by role, and end in a client."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kit.idempotency import KeyReused
from kit.secrets import new_secret
from kit.sortable_id import sortable_id
from marketplace.applications import model
from marketplace.applications.model import (
    ApplicantUnknown,
    Application,
    Contact,
    Decision,
    NotYourApplication,
    OperatorOnly,
    PartyTaken,
    RoleIncomplete,
    RoleStatus,
    TooManyApplications,
    UnknownApplication,
)
from marketplace.applications.ports import Applications, Checker, Desk, Memory, Secrets
from marketplace.business.model import BusinessDetails
from marketplace.partners import flows as partner_flows
from marketplace.partners import model as partner_rules
from marketplace.partners.model import Role
from roaming.party import PartyId

# Nobody decides more than this, and a table that anybody can write to must not grow without end.
MOST_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class Receipt:
    """An application that came in. `secret` None: it came before, and was told then."""

    application: Application
    secret: str | None
    new: bool

    def __repr__(self) -> str:
        return f"Receipt({self.application.application_id!r}, new={self.new})"


@dataclass(frozen=True, slots=True)
class Seen:
    """An application, and those of its party ids that are another partner's by now."""

    application: Application
    taken: tuple[PartyId, ...]


async def submit(
    applications: Applications,
    asked: Application,
    *,
    key: str | None,
    secrets: Secrets,
    checker: Checker,
    hub: PartyId,
    now: datetime,
) -> Receipt:
    """Somebody applies. What says the same as one that is not refused is that one.

    The secret is told once, and again to who comes with the same `key` (Idempotency-Key): it is
    made of the key, so that nothing of it is kept but a hash. KeyReused, PartyTaken,
    TooManyApplications.
    """
    content = model.content_of(asked)
    secret = new_secret() if key is None else secrets.of(key, content)
    key_digest = None if key is None else hashlib.sha256(key.encode()).digest()
    async with applications.open() as desk:
        known = await _known(desk, content, key_digest)
    if known is None:
        secret_hash = await checker.hash(secret)
        async with applications.open() as desk:
            await desk.lock(key_digest or content)
            # Once more, for whoever came at the same moment.
            known = await _known(desk, content, key_digest)
            if known is None:
                await _check_room(desk)
                await _check_free(desk, asked, hub)
                await desk.add(asked, content, key=key_digest, secret_hash=secret_hash)
                return Receipt(asked, secret, new=True)
    found, by_key = known
    return Receipt(found, secret if by_key else None, new=False)


async def _known(desk: Desk, content: bytes, key: bytes | None) -> tuple[Application, bool] | None:
    """What was handed in before, and whether it came with this very key."""
    if key is not None:
        same_key = await desk.known_by_key(key)
        if same_key is not None:
            if same_key.content != content:
                raise KeyReused(
                    "this key belongs to another request",
                    field="Idempotency-Key",
                    rule="a new key for a new request",
                )
            return same_key.application, True
    same = await desk.known_by_content(content)
    if same is None or same.application.status is RoleStatus.REFUSED:
        return None
    return same.application, False


async def ask_for_roles(
    applications: Applications,
    caller: PartyId,
    party: PartyId,
    roles: Collection[Role],
    contacts: Sequence[Contact],
    *,
    now: datetime,
) -> Application:
    """A partner asks for further roles; its business details are those that hold now.

    NotYourApplication, RoleIncomplete, PartyTaken. Roles that it holds, or has asked for already,
    are not asked for once more.
    """
    if caller != party:
        raise NotYourApplication(
            "a partner asks for its own roles", field="party", value=party, rule=caller
        )
    async with applications.open() as desk:
        partner = await desk.register.find_to_change(party)
        assert partner is not None, "a caller is a partner"
        waiting = await desk.page(
            status=RoleStatus.REQUESTED, applicant=party, after=None, limit=1_000
        )
        wanted = frozenset(roles) - partner.roles - {r for one in waiting for r in one.waiting}
        if not wanted:
            same = [one for one in waiting if not set(roles).isdisjoint(one.waiting)]
            if same:
                return same[-1]
            raise model.BadApplication(
                "the partner holds these roles already",
                field="roles",
                value=", ".join(sorted(roles)),
                rule="a role that it does not hold",
            )
        details = await desk.file.find(party, now)
        if details is None:
            raise RoleIncomplete(
                "the partner has told no business details",
                field="roles",
                value=", ".join(sorted(wanted)),
                rule=f"PUT /marketplace/partners/{party}/business-details first",
            )
        every = await desk.register.ids_of(partner.belongs_to)
        ordered = [partner.belongs_to, *(one for one in every if one != partner.belongs_to)]
        asked = model.application(
            sortable_id(now), ordered, wanted, details, contacts, now, applicant=party
        )
        await desk.add(asked, model.content_of(asked), key=None, secret_hash=None)
    return asked


async def find(
    applications: Applications,
    application_id: str,
    *,
    caller: PartyId | None,
    secret: str | None,
    checker: Checker,
    hub: PartyId,
) -> Seen:
    """An application, for who made it and for the hub's operator.

    ApplicantUnknown, UnknownApplication, NotYourApplication.
    """
    async with applications.open() as desk:
        kept = await desk.find(application_id)
        owners = {} if kept is None else await desk.owners(kept.application.parties)
    if secret is not None:
        hashes = [] if kept is None or kept.secret_hash is None else [kept.secret_hash]
        if not await checker.matches(secret, hashes):
            raise _applicant_unknown()
    elif caller is None:
        raise _applicant_unknown()
    elif kept is None:
        raise _unknown(application_id)
    elif caller != hub and caller != kept.application.applicant:
        raise _not_yours(application_id)
    assert kept is not None, "no secret is good for what is not there"
    return Seen(kept.application, _taken(kept.application, owners, hub))


async def page(
    applications: Applications,
    caller: PartyId,
    *,
    hub: PartyId,
    status: RoleStatus | None,
    after: str | None,
    limit: int,
) -> Sequence[Seen]:
    """Applications in the order in which they came: all for the hub's operator, its own for a
    partner that asked for further roles.
    """
    applicant = None if caller == hub else caller
    async with applications.open() as desk:
        found = await desk.page(status=status, applicant=applicant, after=after, limit=limit)
        owners = await desk.owners({party for one in found for party in one.parties})
    return [Seen(one, _taken(one, owners, hub)) for one in found]


async def decide(
    applications: Applications,
    caller: PartyId,
    application_id: str,
    decision: Decision,
    *,
    role: Role | None,
    reason: str | None,
    hub: PartyId,
    memory: Sequence[Memory],
    now: datetime,
) -> Seen:
    """The hub's operator decides one role, or all that wait; repeating it changes nothing.

    With the first role that is approved the party ids are the partner's, and it takes part.
    OperatorOnly, UnknownApplication, RoleIncomplete, DecisionStands, PartyTaken.
    """
    if caller != hub:
        raise _operator_only()
    async with applications.open() as desk:
        before = await desk.find_to_change(application_id)
        if before is None:
            raise _unknown(application_id)
        after = before
        for one in before.waiting if role is None else (role,):
            after = model.decided(after, one, decision, caller, now, reason)
        if after is not before:
            if decision is Decision.APPROVE:
                await _take_in(desk, before, after, hub, now)
            await desk.save(after, now)
        owners = await desk.owners(after.parties)
    for one_memory in memory:
        await one_memory.refresh()
    return Seen(after, _taken(after, owners, hub))


async def _take_in(
    desk: Desk, before: Application, after: Application, hub: PartyId, now: datetime
) -> None:
    """The party ids become the partner's, in the roles approved; its details are kept."""
    approved = {one.role for one in after.roles if one.status is RoleStatus.APPROVED}
    # In one order, whoever claims which of them at the same moment.
    for party in sorted(after.parties):
        known = await desk.register.find_to_change(party)
        theirs = known is not None and not _is_own(before, known.belongs_to)
        if party == hub or theirs:
            raise _party_taken(party)
        name = after.details.legal_name if known is None else known.name
        roles = frozenset(approved if known is None else known.roles | approved)
        partner = partner_rules.registered(known, party, roles, name, now)
        if known is None and party != after.main:
            partner = replace(partner, main=after.main)
        await partner_flows.admit(desk.register, known, partner, now)
        if after.applicant is None:
            await _keep_details(desk, replace(after.details, party=party), hub, now)


def _is_own(asked: Application, belongs_to: PartyId) -> bool:
    """Whether a party id that is bound is bound to who applied: it is a partner already, or a role
    of this very application was approved before."""
    return belongs_to == asked.main and (
        asked.applicant is not None or asked.approved_at is not None
    )


async def _keep_details(desk: Desk, details: BusinessDetails, by: PartyId, now: datetime) -> None:
    await desk.file.lock(details.party)
    if not await desk.file.history(details.party):
        await desk.file.add(replace(details, valid_from=now), by, now)


async def fetch_credentials(
    applications: Applications,
    application_id: str,
    secret: str | None,
    party: PartyId | None,
    *,
    caller: PartyId | None,
    checker: Checker,
    now: datetime,
) -> tuple[PartyId, str, str]:
    """The applicant's first client: (party, client id, secret), the secret for the only time.

    Once more: a further secret of the same client, and the earlier ones end after a while.
    ApplicantUnknown, NotApproved, SecretExpired, NotYourApplication.
    """
    if secret is None and caller is not None:
        raise _not_yours(application_id)
    async with applications.open() as desk:
        kept = await desk.find(application_id)
    hashes = [] if kept is None or kept.secret_hash is None else [kept.secret_hash]
    if secret is None or not await checker.matches(secret, hashes):
        raise _applicant_unknown()
    assert kept is not None, "no secret is good for what is not there"
    model.check_fetchable(kept.application, now)
    whose = party or kept.application.main
    if whose not in kept.application.parties:
        raise NotYourApplication(
            "the application is not about this party id",
            field="party",
            value=whose,
            rule=", ".join(kept.application.parties),
        )
    client_secret = new_secret()
    secret_hash = await checker.hash(client_secret)
    async with applications.open() as desk:
        client_id = await desk.register.add_client_secret(whose, secret_hash, now)
    return whose, client_id, client_secret


async def _check_room(desk: Desk) -> None:
    if await desk.waiting() >= MOST_WAITING:
        raise TooManyApplications(
            "more applications wait than can be decided", rule="apply again in some days"
        )


async def _check_free(desk: Desk, asked: Application, hub: PartyId) -> None:
    owners = await desk.owners(asked.parties)
    for party in asked.parties:
        if party == hub or party in owners:
            raise _party_taken(party)


def _taken(
    asked: Application, owners: Mapping[PartyId, PartyId], hub: PartyId
) -> tuple[PartyId, ...]:
    return tuple(
        party
        for party in asked.parties
        if party == hub or (party in owners and not _is_own(asked, owners[party]))
    )


def _party_taken(party: PartyId) -> PartyTaken:
    return PartyTaken(
        f"the party id {party} belongs to another partner",
        field="parties",
        value=party,
        rule="a party id that nobody has; if it is yours, ask the hub's operator",
    )


def _applicant_unknown() -> ApplicantUnknown:
    return ApplicantUnknown(
        "this is not the application's secret",
        field="Authorization",
        rule="Authorization: Basic, with the application's id and the secret told with it",
    )


def _not_yours(application_id: str) -> NotYourApplication:
    return NotYourApplication(
        "an application is for who made it",
        field="application_id",
        value=application_id[:100],
        rule="its own secret, as HTTP Basic",
    )


def _operator_only() -> OperatorOnly:
    return OperatorOnly(
        "applications are for the hub's operator",
        field="party",
        rule="an access token of the hub's own client: gridroam operator add",
    )


def _unknown(application_id: str) -> UnknownApplication:
    return UnknownApplication(
        "there is no such application", field="application_id", value=application_id[:100]
    )
