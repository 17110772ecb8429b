"""Clearing by several strategies looks at the ledger once, and says what one by one would."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.ledger.store import SqlLedger
from clearinghouse.netting import flows
from clearinghouse.netting.model import Period, Strategy
from clearinghouse.netting.store import SqlBooks
from kit.database import Database
from roaming.money import BadMoney
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import EVSP, NOW, OPERATOR, intake_of, keep_customer, many

HUB = PartyId("EU*GRD")
JANUARY = Period.month("2025-01", ZoneInfo("UTC"))


@pytest.mark.parametrize("caller", [HUB, EVSP, OPERATOR, PartyId("NL*ALF")])
async def test_all_at_once_is_one_by_one(database: Database, caller: PartyId) -> None:
    await keep_customer(database)
    await cdr_flows.receive(many(9), intake=intake_of(database))
    books = SqlBooks(database)
    together = await flows.run_clearings(
        JANUARY, "EUR", list(Strategy), caller=caller, hub=HUB, books=books, clock=lambda: NOW
    )
    for strategy, run in zip(Strategy, together, strict=True):
        alone = await flows.run_clearing(
            JANUARY, "EUR", strategy, caller=caller, hub=HUB, books=books, clock=lambda: NOW
        )
        assert alone.clearing == run.clearing
        shown = await flows.show_run(run.run_id, caller=caller, hub=HUB, books=books)
        assert shown == run


async def test_clearing_moves_no_money_in_the_ledger(database: Database) -> None:
    await keep_customer(database)
    await cdr_flows.receive(many(3), intake=intake_of(database))
    ledger = SqlLedger(database)
    before = await ledger.balances(OPERATOR)
    await flows.run_clearings(
        JANUARY,
        "EUR",
        list(Strategy),
        caller=HUB,
        hub=HUB,
        books=SqlBooks(database),
        clock=lambda: NOW,
    )
    assert await ledger.balances(OPERATOR) == before


async def test_an_empty_period_clears(database: Database) -> None:
    century = Period(datetime(2001, 1, 1, tzinfo=UTC), datetime(2002, 1, 1, tzinfo=UTC))
    for run in await flows.run_clearings(
        century,
        "EUR",
        list(Strategy),
        caller=HUB,
        hub=HUB,
        books=SqlBooks(database),
        clock=lambda: NOW,
    ):
        assert run.clearing.payments == ()


async def test_a_currency_that_does_not_exist_is_refused(database: Database) -> None:
    with pytest.raises(BadMoney):
        await flows.run_clearing(
            JANUARY,
            "XYZ",
            Strategy.GROSS,
            caller=HUB,
            hub=HUB,
            books=SqlBooks(database),
            clock=lambda: NOW,
        )
