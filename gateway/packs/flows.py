"""What happens to packs: they are bought, and looked at by both sides of the contract."""

from __future__ import annotations

from datetime import datetime

from gateway.packs import model
from gateway.packs.model import Bargain, History, Purchase
from gateway.packs.ports import Bargains, Books
from kit.sortable_id import sortable_id
from roaming.party import PartyId


async def buy(
    party: PartyId,
    contract_id: str,
    packs: int,
    *,
    bargains: Bargains,
    books: Books,
    now: datetime,
    key: str | None = None,
) -> Purchase:
    """Buy packs for the calls of one's own contract. With the same `key` once, whatever happens.

    Unknown, BadPurchase, NotYoursToBuy, NothingPrepaid, NotInForce.
    """
    bargain = await bargains.find(party, contract_id)
    bought = model.purchase(bargain, party, packs, sortable_id(now), now)
    async with books.open() as book:
        return await book.buy(bought, bargain, key)


async def look(
    party: PartyId,
    contract_id: str,
    *,
    bargains: Bargains,
    books: Books,
    before: str | None,
    limit: int,
) -> tuple[Bargain, History]:
    """What was bought for a contract's calls, and what is left: for its two sides. Unknown."""
    bargain = await bargains.find(party, contract_id)
    async with books.open() as book:
        balance = await book.balance(contract_id)
        purchases = await book.purchases(contract_id, before=before, limit=limit)
    return bargain, History(balance, list(purchases))
