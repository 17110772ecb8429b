"""What happens to partners: they register, are listed, and say where they are to be called."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kit.outside_url import check_url
from kit.secrets import new_secret
from marketplace.partners import model, standing
from marketplace.partners.model import (
    Endpoint,
    NotYourEndpoint,
    NotYourStanding,
    Partner,
    Purpose,
    Role,
    RoleNotHeld,
    UnknownPartner,
)
from marketplace.partners.ports import Contracts, Hasher, Partners, Register
from marketplace.partners.standing import ABSENT, Action, PartnerStatus
from roaming.party import PartyId

AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Registration:
    """A partner, its credentials (told this once), and the contracts that came with joining."""

    partner: Partner
    client_id: str
    client_secret: str
    contract_ids: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Registration({self.partner!r}, {self.client_id!r})"


async def register(
    partners: Partners,
    party: PartyId,
    roles: frozenset[Role],
    name: str,
    *,
    hasher: Hasher,
    now: datetime,
    contracts: Contracts | None = None,
) -> Registration:
    """Register a party, or bring its name and roles up to date. Safe to repeat.

    Each time the party's API client gets a further secret; the earlier ones stay good for a while
    (marketplace.access.model.SECRET_OVERLAP), so that a secret is replaced without a gap. The hub's
    public offerings for the party's roles are accepted in the same transaction: a partner that
    joined may call at once, under a contract.
    """
    secret = new_secret()
    secret_hash = await hasher.hash(secret)
    async with partners.open() as book:
        known = await book.find_to_change(party)
        partner = model.registered(known, party, roles, name, now)
        contract_ids = await admit(book, known, partner, now)
        client_id = await book.add_client_secret(party, secret_hash, now)
    if contracts is not None:
        await contracts.refresh()
    return Registration(partner, client_id, secret, tuple(contract_ids))


async def admit(
    book: Register, known: Partner | None, partner: Partner, now: datetime
) -> Sequence[str]:
    """A partner takes part from here on, or in other roles than before (`known`), in the open
    transaction; the hub's public offerings for its roles become contracts: their ids.
    """
    await book.save(partner, now, changed=partner != known)
    if known is not None and known.roles - partner.roles:
        await book.end_tokens(partner.party, now)
    if partner.status_at(now) in ABSENT:
        return ()
    return await book.accept_public_offerings(partner, now)


async def register_hub(
    partners: Partners, hub: PartyId, name: str, *, hasher: Hasher, now: datetime
) -> Registration:
    """A further client secret for the hub's own operator, who calls as the hub itself.

    The hub holds no role in its market, and has no contract with itself.
    """
    secret = new_secret()
    secret_hash = await hasher.hash(secret)
    async with partners.open() as book:
        known = await book.find_to_change(hub)
        roles = frozenset[Role]() if known is None else known.roles
        partner = model.registered(known, hub, roles, name, now)
        await book.save(partner, now, changed=partner != known)
        client_id = await book.add_client_secret(hub, secret_hash, now)
    return Registration(partner, client_id, secret, ())


async def change_standing(
    partners: Partners,
    caller: PartyId,
    party: PartyId,
    action: Action,
    *,
    hub: PartyId,
    memory: Contracts,
    now: datetime,
    role: Role | None = None,
    reason: str | None = None,
) -> Partner:
    """Suspend a partner or one of its roles, restore it, or let it go; repeating changes nothing.

    A suspension counts at once and for all its party ids: tokens end, contracts say no. One that
    leaves is bound for the longest notice that a contract of its asks for, and its contracts end
    with it. NotYourStanding, UnknownPartner, RoleNotHeld, StandingCannot.
    """
    if caller != hub and (caller != party or action is not Action.LEAVE):
        raise NotYourStanding(
            "the hub's operator suspends and restores; a partner itself may leave",
            field="action",
            value=action,
            rule="leave, for the caller's own party",
        )
    async with partners.open() as book:
        every = await _lock_all(book, party, hub)
        asked = next(one for one in every if one.party == party)
        if role is not None and role not in asked.roles:
            raise RoleNotHeld(
                f"{party} does not hold the role {role}",
                field="role",
                value=role,
                rule=", ".join(sorted(asked.roles)),
            )
        # Who looked at the clock first may be the one that comes second.
        now = max([now, *(turn.recorded_at for one in every for turn in one.standing.history)])
        leaves_at = await _leaves_at(book, every, now) if action is Action.LEAVE else None
        for one in every:
            turned = standing.changed(
                one.standing,
                action,
                caller,
                now,
                role=role,
                leaves_at=leaves_at,
                reason=reason,
            )
            if turned is not one.standing:
                after = replace(one, standing=turned)
                asked = after if after.party == party else asked
                await _turn(book, after, action, role, caller, now)
    await memory.refresh()
    return asked


async def _turn(
    book: Register,
    partner: Partner,
    action: Action,
    role: Role | None,
    by: PartyId,
    now: datetime,
) -> None:
    ends = partner.standing.leaves_at
    if action is Action.LEAVE and ends is not None:
        await book.end_contracts(partner.party, ends, now)
    await book.change_standing(partner, action, role, by, now)
    if action is Action.SUSPEND:
        # Tokens say roles and scopes, which are fewer now.
        await book.end_tokens(partner.party, now)
    elif action is Action.LEAVE and ends == now:
        await _take_leave(book, partner, now)
    # A role may be restored to a partner that is away as a whole, and agrees to nothing till then.
    if action is Action.RESTORE and partner.status_at(now) not in ABSENT:
        await book.accept_public_offerings(partner, now)


async def _lock_all(book: Register, party: PartyId, hub: PartyId) -> list[Partner]:
    """The partner under each of its ids; nobody else changes it until we are done."""
    known = None if party == hub else await book.find(party)
    if known is None:
        raise UnknownPartner(f"{party} is not registered here", field="party", value=party)
    # In one order, whoever asks by whichever of them.
    every = [await book.find_to_change(one) for one in await book.ids_of(known.belongs_to)]
    return [one for one in every if one is not None]


async def _leaves_at(book: Register, every: Sequence[Partner], now: datetime) -> datetime:
    days = [await book.notice_days(one.party, now) for one in every]
    return now + timedelta(days=max(days))


async def take_leave(partners: Partners, *, now: datetime) -> bool:
    """Of partners whose notice has run: what they offer is withdrawn, their tokens end, and their
    counterparties are told. True: there may be more. Each in a transaction of its own.
    """
    async with partners.open() as book:
        due = await book.leavers(now, AT_ONCE)
    for party in due:
        async with partners.open() as book:
            partner = await book.find_to_change(party)
            assert partner is not None, "partners are never deleted"
            await _take_leave(book, partner, now)
    return len(due) == AT_ONCE


async def _take_leave(book: Register, partner: Partner, now: datetime) -> None:
    ends = partner.standing.leaves_at
    if ends is not None and partner.status_at(now) is PartnerStatus.LEFT:
        # What was agreed while the notice ran, too.
        await book.end_contracts(partner.party, ends, now)
        # From here on its tokens read, and do nothing else.
        await book.end_tokens(partner.party, now)
    await book.take_leave(partner, now)


async def standing_of(
    partners: Partners, caller: PartyId, party: PartyId, *, hub: PartyId
) -> Partner:
    """A partner with its whole history, for itself and the hub. NotYourStanding, UnknownPartner."""
    if caller not in (party, hub):
        raise NotYourStanding(
            "a partner's history is for itself and the hub", field="party", value=party
        )
    return await find(partners, party)


async def find(partners: Partners, party: PartyId) -> Partner:
    """One partner as all others see it; UnknownPartner."""
    async with partners.open() as book:
        partner = await book.find(party)
    if partner is None:
        raise UnknownPartner(f"{party} is not registered here", field="party", value=party)
    return partner


async def page(partners: Partners, after: PartyId | None, limit: int) -> Sequence[Partner]:
    """The directory in the order of party ids, behind `after`. Names and roles are for all."""
    async with partners.open() as book:
        return await book.page(after, limit)


async def set_endpoint(
    partners: Partners,
    caller: PartyId,
    party: PartyId,
    purpose: Purpose,
    url: str,
    headers: Mapping[str, str],
    *,
    allow_loopback: bool,
    now: datetime,
) -> Endpoint:
    """A party says where the hub calls it. BadUrl, BadEndpoint, NotYourEndpoint, UnknownPartner."""
    _own(caller, party)
    check_url(url, allow_loopback=allow_loopback)
    asked = model.endpoint(party, purpose, url, headers)
    async with partners.open() as book:
        if await book.find(party) is None:
            raise UnknownPartner(f"{party} is not registered here", field="party", value=party)
        await book.save_endpoint(asked, now)
    return asked


async def endpoints(partners: Partners, caller: PartyId, party: PartyId) -> Sequence[Endpoint]:
    """A party's own endpoints; NotYourEndpoint for anybody else's."""
    _own(caller, party)
    async with partners.open() as book:
        return await book.endpoints(party)


async def endpoint_to_call(partners: Partners, party: PartyId, purpose: Purpose) -> Endpoint | None:
    """Where the hub itself is to call a partner, headers and all. Not for any partner's eyes."""
    async with partners.open() as book:
        return await book.endpoint(party, purpose)


async def endpoints_to_call(
    partners: Partners, parties: Collection[PartyId], purpose: Purpose
) -> Mapping[PartyId, Endpoint]:
    """As `endpoint_to_call`, for many partners at once: of those that have one."""
    async with partners.open() as book:
        return {one.party: one for one in await book.endpoints_for(parties, purpose)}


def _own(caller: PartyId, party: PartyId) -> None:
    if caller != party:
        raise NotYourEndpoint(
            "a party sees and sets its own endpoints only", field="party", value=party
        )
