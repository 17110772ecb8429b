"""What was bought stays bought, once; calls are taken from it one by one and never more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from gateway.packs.model import Balance, Bargain, Purchase
from gateway.packs.store import SqlBooks, give_back, take
from kit.database import Database
from kit.event_log import START, read
from kit.sortable_id import sortable_id
from roaming.events import EventType
from roaming.party import PartyId

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
BARGAIN = Bargain("C-1", PartyId("FR*PD1"), PartyId("NL*FCS"), None, in_force=True)


def pack(number: int = 0) -> Purchase:
    at = NOW + timedelta(minutes=number)
    return Purchase(sortable_id(at), "C-1", 2, 200, 1998, "EUR", at)


async def bought(database: Database, one: Purchase, key: str | None = None) -> Purchase:
    async with SqlBooks(database).open() as book:
        return await book.buy(one, BARGAIN, key)


async def balance(database: Database) -> Balance:
    async with SqlBooks(database).open() as book:
        return await book.balance("C-1")


async def test_calls_of_all_purchases_are_one_balance(database: Database) -> None:
    assert await balance(database) == Balance(0, 0)
    await bought(database, pack(0))
    await bought(database, pack(1))
    assert await balance(database) == Balance(400, 0)


async def test_a_purchase_is_told_in_the_log(database: Database) -> None:
    one = await bought(database, pack())
    async with database.hot() as connection:
        [event] = await read(connection, START, limit=10)
    assert (event.type, event.party) == (EventType.PACK_BOUGHT, "FR*PD1")
    assert event.body == {
        "contract": "C-1",
        "purchase_id": one.purchase_id,
        "requester": "FR*PD1",
        "provider": "NL*FCS",
        "packs": 2,
        "calls": 200,
        "price_minor": 1998,
        "currency": "EUR",
    }


async def test_the_same_key_buys_once_however_often_it_comes(database: Database) -> None:
    told = await asyncio.gather(*(bought(database, pack(n), "key-1") for n in range(8)))
    assert len({one.purchase_id for one in told}) == 1
    assert await balance(database) == Balance(200, 0)
    await bought(database, pack(9), "key-2")
    assert await balance(database) == Balance(400, 0)


async def test_the_history_goes_back_page_by_page(database: Database) -> None:
    every = [await bought(database, pack(number)) for number in range(3)]
    async with SqlBooks(database).open() as book:
        first = await book.purchases("C-1", before=None, limit=2)
        assert list(first) == [every[2], every[1]]
        rest = await book.purchases("C-1", before=first[-1].purchase_id, limit=2)
        assert list(rest) == [every[0]]
        assert await book.purchases("C-2", before=None, limit=2) == []


async def test_no_more_is_taken_than_was_bought(database: Database) -> None:
    await bought(database, pack())
    async with database.hot() as connection:
        assert await take(connection, "C-1", 150) == (200, 150, 150)
        assert await take(connection, "C-1", 150) == (200, 200, 50)
        assert await take(connection, "C-1", 1) == (200, 200, 0)
        await give_back(connection, "C-1", 3)
        assert await take(connection, "C-1", 10) == (200, 200, 3)
        assert await take(connection, "C-2", 1) == (0, 0, 0)
    assert await balance(database) == Balance(200, 200)
