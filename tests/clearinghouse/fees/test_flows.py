"""A month that closes is charged: once, in the closer's transaction, and the ledger holds it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.fees import flows
from clearinghouse.fees.model import BadSchedule, Payer
from clearinghouse.fees.ports import Charged
from clearinghouse.fees.store import SqlBook, SqlBooks
from clearinghouse.ledger.store import SqlLedger
from clearinghouse.periods import flows as period_flows
from clearinghouse.periods.model import Month, Overview
from clearinghouse.periods.store import SqlBooks as Periods
from clearinghouse.tax.model import Business
from kit.database import Database, Hot
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import (
    EVSP,
    NOW,
    OPERATOR,
    OTHER_EVSE,
    OTHER_OPERATOR,
    intake_of,
    keep_customer,
    submission,
)
from tests.clearinghouse.fees.test_model import FEBRUARY, JANUARY, schedule
from tests.clearinghouse.tax.test_model import Paper

HUB = PartyId("BE*HUB")
BEFORE = datetime(2024, 12, 1, tzinfo=UTC)


class Papers:
    """Who has told what; for all time."""

    def __init__(self, **told: Paper) -> None:
        self._told = {PartyId(party): paper for party, paper in told.items()}

    def details_at(self, party: PartyId, at: datetime) -> Business | None:
        return self._told.get(party)


async def close(database: Database, papers: Papers, month: Month = JANUARY) -> Overview:
    async def charge(connection: Hot, month: Month, now: datetime) -> None:
        await flows.accrue_period(
            month, book=SqlBook(connection), businesses=papers, hub=HUB, now=now
        )

    return await period_flows.close(
        month, hub=HUB, books=Periods(database, [charge]), clock=lambda: NOW, early=True
    )


async def charged(database: Database, party: PartyId) -> list[Charged]:
    _, found = await flows.read(SqlBooks(database), party, JANUARY)
    return found


@pytest.fixture
async def busy(database: Database) -> Database:
    """Three records of 10 kWh of EVSP's in January, two at OPERATOR's and one elsewhere; one of
    OPERATOR's is credited again."""
    await keep_customer(database)
    intake = intake_of(database)
    records = [
        submission("A-1"),
        submission("A-2", start="2025-01-15T14:00:00Z", end="2025-01-15T15:00:00Z"),
        submission("B-1", operator=OTHER_OPERATOR, evse_id=str(OTHER_EVSE)),
    ]
    await cdr_flows.receive(records, intake=intake)
    credit = submission("A-1C", credit=True, credit_reference_id="A-1")
    (outcome,) = await cdr_flows.receive([credit], intake=intake)
    assert outcome.cdr.booked, outcome
    for payer, per_cdr, per_kwh in (
        (Payer.OPERATOR, "0", "0.0125"),
        (Payer.EVSP, "0.015", "0"),
    ):
        await flows.set_schedule(
            schedule(payer, per_cdr=per_cdr, per_kwh=per_kwh),
            hub=HUB,
            books=SqlBooks(database),
            now=BEFORE,
        )
    return database


async def test_a_closed_month_holds_the_fees_of_all_who_had_records(busy: Database) -> None:
    papers = Papers(BEHUB=Paper("BE"), DEBET=Paper("DE"), FRPD1=Paper("BE"))
    overview = await close(busy, papers)
    [evsp] = await charged(busy, EVSP)
    # Two records are left of three and a credit: 0.03; ten kWh at each operator: 0.125 each.
    assert (str(evsp.net), str(evsp.vat)) == ("0.03 EUR", "0.00 EUR")
    assert (evsp.vat_rule, evsp.vat_category) == ("reverse-charge-service", "AE")
    assert evsp.parts == [
        {"payer": "evsp", "cdrs": 2, "energy_wh": 20_000, "per_cdr": "0.015", "per_kwh": "0"}
    ]
    [operator] = await charged(busy, OPERATOR)
    assert (str(operator.net), str(operator.vat)) == ("0.13 EUR", "0.03 EUR")
    assert (operator.vat_rule, operator.vat_percent) == ("domestic-service", Decimal(21))
    [other] = await charged(busy, OTHER_OPERATOR)
    assert (str(other.net), str(other.vat), other.vat_rule) == (
        "0.13 EUR",
        "0.00 EUR",
        "agreed-rate",
    )
    [total] = overview.totals
    assert (total.fees_minor, total.fee_vat_minor) == (3 + 13 + 13, 3)
    ledger = SqlLedger(busy)
    assert (await ledger.ledger_sum("EUR")).minor == 0
    owed = {
        one.account.value: one.amount.minor
        for one in await ledger.balances(OPERATOR)
        if one.counterparty == HUB
    }
    assert owed == {"fee-payable": -13, "fee-vat-payable": -3}
    # Closed again it is charged nothing more, and the next month nothing for these.
    assert await close(busy, papers) == overview
    await close(busy, papers, FEBRUARY)
    assert len(await charged(busy, OPERATOR)) == 1


async def test_without_a_schedule_nobody_is_charged(database: Database) -> None:
    await keep_customer(database)
    await cdr_flows.receive([submission("A-1")], intake=intake_of(database))
    [total] = (await close(database, Papers())).totals
    assert (total.fees_minor, total.fee_vat_minor, total.charges_minor) == (0, 0, 500)


async def test_a_price_begins_with_a_month_to_come(database: Database) -> None:
    books = SqlBooks(database)
    begun = schedule(valid_from=Month.of(NOW))
    with pytest.raises(BadSchedule) as refused:
        await flows.set_schedule(begun, hub=HUB, books=books, now=NOW)
    assert refused.value.field == "valid_from"
    to_come = replace(begun, valid_from=Month.of(NOW).next, party=EVSP)
    await flows.set_schedule(to_come, hub=HUB, books=books, now=NOW)
    assert await flows.read(books, EVSP, Month.of(NOW)) == ([], [])
    assert await flows.read(books, EVSP, to_come.valid_from) == ([to_come], [])
    assert await flows.read(books, OPERATOR, to_come.valid_from) == ([], [])
