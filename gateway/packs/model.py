"""A pack is a number of calls that is paid for before the first of them is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, NotYours, Unknown

MOST_PACKS_AT_ONCE = 1_000


class BadPurchase(Malformed):
    """Not a number of packs that can be bought."""


class NotYoursToBuy(NotYours):
    """Who calls under a contract buys its packs, nobody else."""


class NothingPrepaid(Unknown):
    """The contract's calls are not sold in packs."""


class NotInForce(Clash):
    """Packs are bought under contracts that are in force."""


@dataclass(frozen=True, slots=True)
class Pack:
    """What the contract's terms say: so many calls for so much."""

    calls: int
    price_minor: int
    currency: str | None


@dataclass(frozen=True, slots=True)
class Bargain:
    """A contract as far as packs are concerned. `pack` None: its calls are not prepaid."""

    contract_id: str
    requester: PartyId
    provider: PartyId
    pack: Pack | None
    in_force: bool


@dataclass(frozen=True, slots=True)
class Purchase:
    """What was bought: all packs together have these calls, at this price."""

    purchase_id: str
    contract_id: str
    packs: int
    calls: int
    price_minor: int
    currency: str | None
    bought_at: datetime


@dataclass(frozen=True, slots=True)
class Balance:
    """Calls that were bought and used, all packs together."""

    bought: int = 0
    used: int = 0

    @property
    def left(self) -> int:
        return self.bought - self.used


class Sold(NamedTuple):
    """What was bought under a contract in some time, all purchases together."""

    contract_id: str
    packs: int
    price_minor: int


class History(NamedTuple):
    """What is left, and what was bought, the latest first."""

    balance: Balance
    purchases: list[Purchase]


def purchase(
    bargain: Bargain, buyer: PartyId, packs: int, purchase_id: str, now: datetime
) -> Purchase:
    """What buying so many packs comes to.

    BadPurchase, NotYoursToBuy, NothingPrepaid, NotInForce.
    """
    if not 1 <= packs <= MOST_PACKS_AT_ONCE:
        raise BadPurchase(
            "so many packs are not bought at once",
            field="packs",
            value=packs,
            rule=f"1 to {MOST_PACKS_AT_ONCE}",
        )
    if buyer != bargain.requester:
        raise NotYoursToBuy(
            "packs are bought by who calls under the contract",
            field="contract_id",
            value=bargain.contract_id,
            rule=f"ask {bargain.requester}, its requester",
        )
    pack = bargain.pack
    if pack is None:
        raise NothingPrepaid(
            "the terms of this contract have no packs",
            field="contract_id",
            value=bargain.contract_id,
            rule="a contract whose terms name a pack; under this one calls are made without",
        )
    if not bargain.in_force:
        raise NotInForce(
            "the contract is not in force now",
            field="contract_id",
            value=bargain.contract_id,
            rule="a contract that is agreed, has begun and has not ended",
        )
    return Purchase(
        purchase_id=purchase_id,
        contract_id=bargain.contract_id,
        packs=packs,
        calls=packs * pack.calls,
        price_minor=packs * pack.price_minor,
        currency=pack.currency,
        bought_at=now,
    )
