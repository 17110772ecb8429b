"""How statements are drawn up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from clearinghouse.netting.model import Period
from clearinghouse.settlement.model import Item, Statement, draw_up, draw_up_all
from clearinghouse.settlement.ports import After, Books
from roaming.money import places_of
from roaming.party import PartyId


async def statement(party: PartyId, period: Period, currency: str, *, books: Books) -> Statement:
    """What `party` owes and is owed for the period. Raises BadMoney for an unknown currency."""
    places_of(currency)
    async with books.read() as book:
        owed = await book.obligations(period, currency, None)
    # Clearing everybody may take a second or two: not the event loop's.
    return await asyncio.to_thread(draw_up, party, period, currency, owed)


async def statements(period: Period, currency: str, *, books: Books) -> Mapping[PartyId, Statement]:
    """Everybody's statements of a period from one look at the ledger; see `statement`."""
    places_of(currency)
    async with books.read() as book:
        owed = await book.obligations(period, currency, None)
    return await asyncio.to_thread(draw_up_all, period, currency, owed)


async def items(
    party: PartyId,
    period: Period,
    currency: str,
    *,
    after: After | None,
    limit: int,
    books: Books,
) -> Sequence[Item]:
    """The charges behind a statement, by their end, a page at a time."""
    places_of(currency)
    async with books.read() as book:
        return await book.items(party, period, currency, after=after, limit=limit)
