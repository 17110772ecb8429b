"""What happens to partners: they register, are listed, and say where they are to be called."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kit.outside_url import check_url
from kit.secrets import new_secret
from marketplace.partners import model
from marketplace.partners.model import (
    Endpoint,
    NotYourEndpoint,
    Partner,
    Purpose,
    Role,
    UnknownPartner,
)
from marketplace.partners.ports import Contracts, Hasher, Partners
from roaming.party import PartyId


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
        await book.save(partner, now, changed=partner != known)
        client_id = await book.add_client_secret(party, secret_hash, now)
        if known is not None and known.roles - partner.roles:
            await book.end_tokens(party, now)
        contract_ids = await book.accept_public_offerings(partner, now)
    if contracts is not None:
        await contracts.refresh()
    return Registration(partner, client_id, secret, tuple(contract_ids))


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
