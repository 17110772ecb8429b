"""A month is billed by itself from its day on, once, and an open run is gone on with."""

from __future__ import annotations

from datetime import datetime

from kit.database import Database
from marketplace.billing import flows
from marketplace.billing.model import State
from marketplace.billing.tasks import biller
from marketplace.offerings.model import ServiceTerms
from tests.hub import until
from tests.marketplace.billing.market import HUB, MONTH, Market, day

PER_CALL = ServiceTerms.parse({"currency": "EUR", "price_per_call_minor": 5})


async def states(market: Market) -> list[State]:
    async with market.house.books.open() as book:
        return [run.state for run in await book.runs(None, 10)]


async def test_from_its_day_on_the_month_before_is_billed_once(database: Database) -> None:
    market = Market(database, datetime(2026, 11, 2, 23, tzinfo=MONTH.starts_at.tzinfo))
    await market.calls(await market.contract(PER_CALL), day(20), 2)
    house = market.house
    worker = biller(house, billing_day=3, idle_s=0.01)
    worker.start()
    try:
        for _ in range(3):
            # Each step looks; before its day it finds nothing to do.
            worker.wake()
            assert await states(market) == []
        market.now = day(3, month=11)

        async def done() -> bool:
            return await states(market) == [State.DONE]

        await until(done)
        [found] = await market.documents()
        assert found.invoice.net_minor == 10
    finally:
        await worker.close()
    again = biller(house, billing_day=3, idle_s=0.01)
    again.start()
    try:
        begun = await flows.begin(MONTH, None, HUB, house=house)

        async def both_done() -> bool:
            return await states(market) == [State.DONE, State.DONE]

        # What the operator begins is worked off here, too; nothing is begun besides.
        await until(both_done)
        assert begun.state is State.CONTRACTS
        assert len(await market.documents()) == 1
    finally:
        await again.close()
