"""Invoices of a month: their sums are the ledger's, to the cent, whatever was taken back."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from clearinghouse.fees.flows import set_schedule
from clearinghouse.fees.model import Payer
from clearinghouse.fees.store import SqlBooks as FeeBooks
from clearinghouse.invoicing import flows
from clearinghouse.invoicing.model import UnknownInvoice
from clearinghouse.invoicing.store import SqlBooks
from clearinghouse.ledger.store import SqlLedger
from clearinghouse.periods import flows as period_flows
from clearinghouse.periods.model import Month
from clearinghouse.periods.store import SqlBooks as Periods
from documents.invoice import Kind
from kit.database import Database, Hot
from tests.clearinghouse.cdrs.fakes import (
    EVSP,
    OPERATOR,
    OTHER_CONTRACT,
    OTHER_EVSP,
    OTHER_OPERATOR,
    many,
    submission,
)
from tests.clearinghouse.fees.test_model import schedule
from tests.clearinghouse.invoicing.fakes import FEBRUARY, HUB, JANUARY, Months, papers
from tests.clearinghouse.tax.test_model import Paper
from tests.documents.norm import broken_rules
from tests.documents.samples import SELLER


async def assert_sums_agree(months: Months, month: Month) -> None:
    """Invoices less credit notes, and what could not be invoiced, are what the pairs owe."""
    told: defaultdict[tuple[str, str], int] = defaultdict(int)
    for one in await months.invoices(month=month):
        made = one.invoice
        sign = -1 if made.kind is Kind.CREDIT_NOTE else 1
        told[made.seller.party, made.buyer.party] += sign * made.gross_minor
    for wanting in await flows.uninvoiced(
        party=HUB, hub=HUB, period_id=str(month), books=SqlBooks(months.database)
    ):
        dealing = wanting.dealing
        told[dealing.seller, dealing.buyer] += wanting.net_minor + wanting.vat_minor
    assert {pair: owed for pair, owed in told.items() if owed} == await months.pair_totals(month)
    audit = await SqlLedger(months.database).audit()
    assert list(audit.faults) == []


async def test_a_month_has_one_invoice_for_each_seller_and_buyer(database: Database) -> None:
    months = Months(database)
    await months.book(
        [
            *many(3, energy_wh=2_000),
            submission(
                "O-1",
                contract_id=str(OTHER_CONTRACT),
                start="2025-01-20T12:00:00Z",
                end="2025-01-20T13:00:00Z",
            ),
        ]
    )
    await months.close()
    first, second = await months.invoices()
    made = first.invoice
    assert (made.number, made.seller.party, made.buyer.party) == (
        "FRPD1-2025-000001",
        OPERATOR,
        EVSP,
    )
    assert (made.net_minor, made.vat_minor, made.vat_rounding_minor) == (300, 60, 0)
    (line,) = made.lines
    assert (line.charges, line.energy_wh, line.agreement_id) == (3, 6_000, "agreement-1")
    assert made.first_day.isoformat() == "2025-01-01"
    assert made.last_day.isoformat() == "2025-01-31"
    assert second.invoice.buyer.party == OTHER_EVSP
    assert second.invoice.number == "FRPD1-2025-000002"
    for found in (first, second):
        assert broken_rules(found.xml) == []
    await assert_sums_agree(months, JANUARY)


async def test_what_vat_on_the_sum_is_more_than_that_of_the_charges_is_posted(
    database: Database,
) -> None:
    months = Months(database)
    # 0.13 each: VAT of 20 % is 0.03 each, 0.09 in all; on 0.39 it is 0.08.
    await months.book(many(3, energy_wh=260))
    await months.close()
    (found,) = await months.invoices()
    made = found.invoice
    assert (made.net_minor, made.vat_minor, made.vat_rounding_minor) == (39, 8, -1)
    assert await months.pair_totals(JANUARY) == {(OPERATOR, EVSP): 47}
    await assert_sums_agree(months, JANUARY)


async def test_what_is_taken_back_in_its_month_is_on_no_paper(database: Database) -> None:
    months = Months(database)
    await months.book(
        [
            submission("A-1"),
            submission("A-2", start="2025-01-16T12:00:00Z", end="2025-01-16T13:00:00Z"),
        ]
    )
    await months.book([submission("A-1-back", credit_reference_id="A-1", credit=True)])
    await months.close()
    (found,) = await months.invoices()
    (line,) = found.invoice.lines
    assert (line.charges, line.amount_minor) == (1, 500)
    await assert_sums_agree(months, JANUARY)


async def test_what_is_taken_back_of_an_earlier_month_is_a_credit_note(
    database: Database,
) -> None:
    months = Months(database)
    await months.book([submission("A-1")])
    await months.close()
    await months.book([submission("A-1-back", credit_reference_id="A-1", credit=True)])
    await months.close(FEBRUARY)
    invoice, note = await months.invoices()
    assert note.invoice.kind is Kind.CREDIT_NOTE
    assert note.invoice.number == "FRPD1-C2025-000001"
    assert note.invoice.gross_minor == invoice.invoice.gross_minor == 600
    assert [one.number for one in note.invoice.preceding] == [invoice.invoice.number]
    assert note.invoice.lines[0].description == "Charging, 2025-01"
    assert broken_rules(note.xml) == []
    await assert_sums_agree(months, FEBRUARY)
    assert await months.pair_totals(FEBRUARY) == {(OPERATOR, EVSP): -600}


async def test_what_cost_nothing_and_is_taken_back_is_on_a_credit_note_too(
    database: Database,
) -> None:
    """And on no invoice: one for a charge less than none is none."""
    months = Months(database)
    await months.book([submission("A-1", energy_wh=0)])
    await months.close()
    await months.book([submission("A-1C", energy_wh=0, credit=True, credit_reference_id="A-1")])
    await months.close(FEBRUARY)
    (note,) = await months.invoices(month=FEBRUARY)
    assert note.invoice.kind is Kind.CREDIT_NOTE
    assert [(one.charges, one.amount_minor) for one in note.invoice.lines] == [(1, 0)]
    assert broken_rules(note.xml) == []


async def test_without_business_details_it_is_told_what_is_wanted_and_owed_all_the_same(
    database: Database,
) -> None:
    months = Months(database, known=papers(EVSP))
    await months.book(many(2))
    await months.close()
    assert await months.invoices() == []
    (wanting,) = await flows.uninvoiced(
        party=EVSP, hub=HUB, period_id=None, books=SqlBooks(database)
    )
    assert wanting.wanted == ("buyer: business details",)
    assert (wanting.net_minor, wanting.vat_minor) == (1_000, 200)
    await assert_sums_agree(months, JANUARY)


async def test_an_empty_month_has_none(database: Database) -> None:
    months = Months(database)
    await months.close()
    assert await months.invoices() == []


async def test_a_closing_that_breaks_off_leaves_no_gap_in_the_numbers(database: Database) -> None:
    months = Months(database)
    await months.book(many(2))

    async def breaks(connection: Hot, month: Month, now: datetime) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk"):
        await period_flows.close(
            JANUARY,
            hub=HUB,
            books=Periods(database, [months.issue, breaks]),
            clock=lambda: JANUARY.ends_at,
        )
    assert await months.invoices() == []
    await months.close()
    assert [one.invoice.number for one in await months.invoices()] == ["FRPD1-2025-000001"]
    # Asked again, a closed month is issued nothing more.
    await months.close()
    assert len(await months.invoices()) == 1


async def test_an_invoice_is_for_its_two_sides_and_the_hub(database: Database) -> None:
    months = Months(database)
    await months.book(many(1))
    await months.close()
    books = SqlBooks(database)
    for party in (OPERATOR, EVSP, HUB):
        found = await flows.show("FRPD1-2025-000001", party=party, hub=HUB, books=books)
        assert found.invoice.number == "FRPD1-2025-000001"
    with pytest.raises(UnknownInvoice):
        await flows.show("FRPD1-2025-000001", party=OTHER_OPERATOR, hub=HUB, books=books)
    assert await months.invoices(OTHER_OPERATOR) == []


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_months_bring_the_sums_agree_and_the_norm_holds(
    database: Database, seed: int
) -> None:
    dice = random.Random(seed)
    months = Months(database, known=papers(*dice.sample([EVSP, OTHER_EVSP], dice.randint(0, 1))))
    booked = [
        submission(
            f"R-{number}",
            operator=OPERATOR,
            contract_id=str(OTHER_CONTRACT) if dice.random() < 0.4 else "DEBETC00000001",
            start=f"2025-01-{day:02}T{hour:02}:00:00Z",
            end=f"2025-01-{day:02}T{hour:02}:50:00Z",
            energy_wh=dice.randint(1, 15_000),
        )
        for number, (day, hour) in enumerate(
            (day, hour) for day in range(2, 12) for hour in range(0, 20, 4)
        )
    ]
    await months.book(booked)

    def back(number: int) -> object:
        was = booked[number]
        return submission(
            f"R-{number}-back",
            contract_id=str(was.contract_id),
            start=was.start.isoformat(),
            end=was.end.isoformat(),
            energy_wh=was.energy_wh,
            credit=True,
            credit_reference_id=f"R-{number}",
        )

    await months.book([back(n) for n in range(0, 10)])  # type: ignore[misc]
    await months.close()
    await assert_sums_agree(months, JANUARY)
    await months.book([back(n) for n in range(10, 25)])  # type: ignore[misc]
    await months.close(FEBRUARY)
    await assert_sums_agree(months, FEBRUARY)
    found = await months.invoices()
    assert {one.invoice.kind for one in found} == set(Kind)
    for one in found:
        assert broken_rules(one.xml) == []


async def test_the_hub_s_own_fees_are_invoiced_by_the_hub(database: Database) -> None:
    months = Months(database)
    months.known[HUB] = replace(SELLER, party=HUB, legal_name="The Hub NV")
    months.world.papers = {HUB: Paper("BE"), EVSP: Paper("DE"), OPERATOR: Paper("BE")}
    await set_schedule(
        schedule(Payer.EVSP, per_cdr="0.05"),
        hub=HUB,
        books=FeeBooks(database),
        now=datetime(2024, 12, 1, tzinfo=UTC),
    )
    await months.book(many(3))
    await months.close()
    found = {one.invoice.seller.party: one.invoice for one in await months.invoices(EVSP)}
    fee = found[HUB]
    assert (fee.number, fee.net_minor, fee.vat_minor) == ("EUGRD-2025-000001", 15, 0)
    assert fee.lines[0].vat.rule == "reverse-charge-service"
    assert fee.notes == ()
    for one in await months.invoices():
        assert broken_rules(one.xml) == []
    await assert_sums_agree(months, JANUARY)


async def test_a_fee_without_a_vat_rule_is_not_invoiced_and_owed_all_the_same(
    database: Database,
) -> None:
    months = Months(database)
    await set_schedule(
        schedule(Payer.EVSP, per_cdr="0.05"),
        hub=HUB,
        books=FeeBooks(database),
        now=datetime(2024, 12, 1, tzinfo=UTC),
    )
    await months.book(many(3))
    await months.close()
    (wanting,) = await flows.uninvoiced(
        party=EVSP, hub=HUB, period_id="2025-01", books=SqlBooks(database)
    )
    assert wanting.wanted == ("seller: business details", "fee schedule: one VAT rate")
    await assert_sums_agree(months, JANUARY)
