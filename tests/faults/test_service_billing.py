"""A billing run that is broken off anywhere goes on where it was, and bills nothing twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

import pytest

from kit.database import Database
from marketplace.billing import flows, looking
from marketplace.billing.fees import Fee
from marketplace.billing.model import State
from marketplace.billing.ports import Book, Books, House
from marketplace.offerings.model import ServiceTerms
from roaming.party import PartyId
from tests.marketplace.billing.market import HUB, MONTH, Market, day

PER_CALL = ServiceTerms.parse({"currency": "EUR", "price_per_call_minor": 5})
CONTRACTS = 5
EXPECTED = [5, 10, 15, 20, 25]


class Killed(BaseException):
    """The process is gone."""


@dataclass(slots=True)
class Frail:
    """Books of a process that is killed before it commits its n-th transaction."""

    books: Books
    transactions: int

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Book]:
        async with self.books.open() as book:
            yield book
            self.transactions -= 1
            if self.transactions < 0:
                raise Killed


async def month_of_calls(database: Database) -> Market:
    market = Market(database)
    market.now = day(30)
    await looking.set_fee(Fee(MONTH, Decimal(10)), HUB, house=market.house)
    market.now = day(3, month=11)
    for number in range(CONTRACTS):
        contract = await market.contract(PER_CALL, requester=PartyId(f"DE*XY{number}"))
        await market.calls(contract, day(20), number + 1)
    return market


async def assert_billed_once(market: Market) -> None:
    documents = await market.documents()
    sales = [one for one in documents if one.invoice.seller.party != HUB]
    [fee] = [one for one in documents if one.invoice.seller.party == HUB]
    assert sorted(one.invoice.net_minor for one in sales) == EXPECTED
    numbers = [one.invoice.number for one in sales]
    assert numbers == [f"FRPD1-S2026-{number:06}" for number in range(1, CONTRACTS + 1)]
    assert fee.invoice.net_minor == 9  # 1 + 1 + 2 + 2 + 3, each rounded once


@pytest.mark.parametrize("transactions", range(0, 16, 2))
async def test_killed_between_any_two_transactions_it_is_gone_on_with(
    database: Database, transactions: int
) -> None:
    market = await month_of_calls(database)
    begun = await flows.begin(MONTH, None, HUB, house=market.house)
    house: House = replace(market.house, books=Frail(market.house.books, transactions))
    killed = False
    try:
        await flows.work(begun.run_id, "one", house=house, contracts_at_once=2)
    except Killed:
        killed = True
    if killed:
        # Nobody takes it over while it may still live.
        assert await flows.step(begun.run_id, "other", house=market.house) is None or (
            transactions == 0
        )
    market.now += flows.LEASE + timedelta(seconds=1)
    done = await flows.work(begun.run_id, "other", house=market.house, contracts_at_once=2)
    assert done.state is State.DONE
    await assert_billed_once(market)


async def test_who_comes_back_after_its_lease_finds_that_others_went_on(
    database: Database,
) -> None:
    market = await month_of_calls(database)
    begun = await flows.begin(MONTH, None, HUB, house=market.house)
    slow = await flows.step(begun.run_id, "slow", house=market.house, contracts_at_once=2)
    assert slow is not None
    market.now += flows.LEASE + timedelta(seconds=1)
    await flows.work(begun.run_id, "quick", house=market.house, contracts_at_once=2)
    # What it thought to be the run is the past: it writes nothing.
    page = await flows._bill_contracts(slow, market.house, 2)
    assert page is None
    await assert_billed_once(market)
