"""After its issue an invoice is credited, paid, reminded of; nothing of it is ever changed."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from documents.invoice import Category, Kind, Vat
from kit import event_log
from kit.database import Database
from marketplace.billing import corrections, looking
from marketplace.billing.fees import Fee
from marketplace.billing.model import NotForYou, UnknownInvoice
from marketplace.billing.ports import Found
from marketplace.billing.standing import BadCredit, BadPayment, Entry, NothingToCredit, State, Way
from marketplace.offerings.model import ServiceTerms
from roaming.events import EventType
from roaming.party import PartyId
from tests.documents.norm import broken_rules
from tests.marketplace.billing.market import HUB, MONTH, PROVIDER, REQUESTER, Market, day, plan

PER_CALL = ServiceTerms.parse({"currency": "EUR", "price_per_call_minor": 5})


@pytest.fixture
async def sold(database: Database) -> tuple[Market, Found]:
    """An invoice of 10.00, a tenth of which is the marketplace's."""
    market = Market(database)
    market.now = day(30)
    await looking.set_fee(Fee(MONTH, Decimal(10)), HUB, house=market.house)
    market.now = day(3, month=11)
    await market.calls(await market.contract(PER_CALL), day(20), 200)
    await market.bill()
    return market, (await market.documents())[0]


async def credited(
    market: Market, number: str, lines: dict[int, int] | None = None, *, again: bool = False
) -> Found:
    return await corrections.credit(
        *(number, PROVIDER), reason="so", lines=lines, bill_again=again, house=market.house
    )


async def test_what_is_credited_is_not_billed_again_unless_it_is_asked_for(
    sold: tuple[Market, Found],
) -> None:
    market, found = sold
    number = found.invoice.number
    note = await credited(market, number, {1: 400})
    assert (note.invoice.kind, note.invoice.net_minor) == (Kind.CREDIT_NOTE, 400)
    assert note.invoice.preceding[0].number == number
    assert broken_rules(note.xml) == []
    # Of the fee on what was credited, the marketplace's part goes back.
    assert (await market.bill()).tally.credit_notes == 1
    assert (await market.documents())[-1].invoice.net_minor == 40
    await credited(market, number, again=True)
    with pytest.raises(NothingToCredit):
        await credited(market, number)
    await market.bill()
    sales = [one for one in await market.documents() if one.invoice.seller.party == PROVIDER]
    assert [one.invoice.net_minor for one in sales] == [1000, 400, 600, 600]
    # What is on paper for the month: what it comes to, less what was given away.
    sums = await market.sums()
    assert sorted(sums.values()) == [60, 600]


async def test_what_a_run_has_taken_back_is_not_credited_once_more(
    sold: tuple[Market, Found],
) -> None:
    market, found = sold
    number = found.invoice.number
    async with market.database.hot() as connection:
        await connection.execute(
            "UPDATE gateway.usage SET billable = false WHERE request_id IN"
            " (SELECT request_id FROM gateway.usage LIMIT 150)"
        )
    assert (await market.bill()).tally.credit_notes == 2
    with pytest.raises(BadCredit) as refused:
        await credited(market, number, {1: 251})
    assert "at most 250" in str(refused.value.rule)
    assert (await credited(market, number)).invoice.net_minor == 250
    with pytest.raises(NothingToCredit):
        await credited(market, number)
    after = await looking.find(number, REQUESTER, house=market.house)
    assert after.standing.credited_minor == after.standing.gross_minor


async def test_however_many_parts_an_invoice_is_credited_in_their_vat_is_its_vat(
    database: Database,
) -> None:
    market = Market(database)
    market.papers.vat = Vat(Category.STANDARD, Decimal("19"), "domestic-service")
    await market.calls(await market.contract(PER_CALL), day(20), 3)
    await market.bill()
    [found] = await market.documents()
    assert (found.invoice.net_minor, found.invoice.vat_minor) == (15, 3)
    parts = [await credited(market, found.invoice.number, {1: minor}) for minor in (2, 2, 2, 2)]
    parts.append(await credited(market, found.invoice.number))
    # Each rounded by itself would be nothing but for the last one's, which would be 1.
    assert [one.invoice.vat_minor for one in parts] == [0, 1, 0, 1, 1]
    assert [broken_rules(one.xml) for one in parts] == [[]] * 5
    after = await looking.find(found.invoice.number, REQUESTER, house=market.house)
    assert after.standing.credited_minor == after.standing.gross_minor == 18


async def test_what_a_run_takes_back_of_a_month_with_several_invoices_is_taken_of_each(
    database: Database,
) -> None:
    market = Market(database)
    market.papers.vat = Vat(Category.STANDARD, Decimal("19"), "domestic-service")
    contract = await market.contract(PER_CALL)
    await market.calls(contract, day(3), 20)
    market.now = day(12)
    await market.bill(up_to=day(11, hour=0))
    await market.calls(contract, day(13), 10)
    market.now = day(3, month=11)
    await market.bill()
    async with market.database.hot() as connection:
        await connection.execute("UPDATE gateway.usage SET billable = extract(day FROM at) = 13")
        await connection.execute(
            "UPDATE gateway.usage SET billable = false WHERE request_id IN"
            " (SELECT request_id FROM gateway.usage WHERE billable LIMIT 7)"
        )
    assert (await market.bill()).tally.credit_notes == 2
    first, second, *notes = await market.documents()
    corrected = {one.invoice.preceding[0].number: one.invoice.net_minor for one in notes}
    assert corrected == {first.invoice.number: 85, second.invoice.number: 50}
    assert all(broken_rules(one.xml) == [] for one in notes)
    assert (first.standing.open_minor, second.standing.state(market.now.date())) == (
        (100 + 19) - (85 + 16),
        State.CREDITED,
    )
    assert await market.sums() == {(contract.contract_id, MONTH): 15}
    # What is left of the first is the seller's to give away, to the cent.
    await credited(market, first.invoice.number, {1: 15})
    first = await looking.find(first.invoice.number, REQUESTER, house=market.house)
    assert first.standing.open_minor == 0


async def test_what_was_given_away_is_not_taken_back_once_more_by_a_run(
    sold: tuple[Market, Found],
) -> None:
    market, found = sold
    await credited(market, found.invoice.number, {1: 400})
    async with market.database.hot() as connection:
        await connection.execute("UPDATE gateway.usage SET billable = false")
    await market.bill()
    after = await looking.find(found.invoice.number, REQUESTER, house=market.house)
    assert after.standing.credited_minor == after.standing.gross_minor
    # Asked again, nothing more is given: that of the first run took all that was left.
    assert (await market.bill()).tally.credit_notes == 0


async def test_what_a_later_invoice_took_back_is_credited_with_the_whole_of_it_alone(
    database: Database,
) -> None:
    """What was lacking to a minimum on an interim invoice is a line below zero on the next."""
    market = Market(database)
    await looking.set_fee(Fee(MONTH.next, Decimal(10)), HUB, house=market.house)
    market.now = day(3, month=12)
    terms = plan(per_call="0.10", minimum="40")
    contract = await market.contract(terms, begins=day(1, month=11, hour=0))
    await market.bill(MONTH.next, up_to=day(11, month=11, hour=0))
    await market.calls(contract, day(20, month=11), 500)
    await market.bill(MONTH.next)
    every = await market.documents()
    [_, last] = [one for one in every if one.invoice.seller.party == PROVIDER]
    assert last.invoice.net_minor == 5000 - 1333
    with pytest.raises(BadCredit):
        await credited(market, last.invoice.number, {1: 5000})
    whole = await credited(market, last.invoice.number)
    assert whole.invoice.net_minor == last.invoice.net_minor


async def test_a_fee_is_credited_but_never_billed_again(sold: tuple[Market, Found]) -> None:
    market, _ = sold
    fee = (await market.documents(HUB))[-1].invoice.number
    asked: dict[str, Any] = {"reason": "so", "lines": None, "house": market.house}
    with pytest.raises(BadCredit) as refused:
        await corrections.credit(fee, HUB, bill_again=True, **asked)
    assert refused.value.field == "bill_again"
    note = await corrections.credit(fee, HUB, bill_again=False, **asked)
    assert note.invoice.net_minor == 100


async def test_the_books_of_a_sale_and_of_its_fee_add_up_after_every_correction(
    sold: tuple[Market, Found],
) -> None:
    market, found = sold
    for part in (333, 1, 666):
        await credited(market, found.invoice.number, {1: part})
    await market.bill()
    async with market.database.hot() as connection:
        sums = await connection.fetchrow(
            "SELECT sum(net_minor), sum(fee_minor), sum(provider_minor)"
            " FROM marketplace.billing_share"
        )
    assert list(sums or ()) == [0, 0, 0]
    after = await looking.find(found.invoice.number, REQUESTER, house=market.house)
    assert after.standing.state(market.now.date()) is State.CREDITED


async def test_a_buyer_corrects_nothing_and_a_stranger_finds_nothing(
    sold: tuple[Market, Found],
) -> None:
    market, found = sold
    payment = Entry("1", Way.PAYMENT, 100, date(2026, 11, 3))
    for party, refusal in ((REQUESTER, NotForYou), (PartyId("NL*XXX"), UnknownInvoice)):
        with pytest.raises(refusal):
            await corrections.record(found.invoice.number, party, payment, house=market.house)
    with pytest.raises(BadCredit):
        await corrections.credit(
            *(found.invoice.number, PROVIDER),
            reason=" ",
            lines=None,
            bill_again=False,
            house=market.house,
        )


async def test_who_has_not_paid_is_reminded_once_for_each_level(
    sold: tuple[Market, Found],
) -> None:
    market, found = sold
    due = found.invoice.due_on
    assert due is not None
    sent = []
    for days in (0, 6, 7, 8, 40, 41):
        market.now = day(3, month=11) + timedelta(days=30 + days)
        sent.append(await corrections.remind(house=market.house))
    # Of the sale and of the fee; after forty days the second and the third are told at once.
    assert sent == [0, 0, 2, 0, 2, 0]
    async with market.database.begin() as connection:
        told = await event_log.read(
            connection, event_log.START, limit=1_000, types=[EventType.SERVICE_PAYMENT_REMINDED]
        )
    sale = [one for one in told if one.body["number"] == found.invoice.number]
    for party in (PROVIDER, REQUESTER):
        assert [one.body["level"] for one in sale if one.party == party] == [1, 2, 3]


async def test_both_sides_hear_of_all_that_happens_to_an_invoice(
    sold: tuple[Market, Found],
) -> None:
    market, found = sold
    number, house = found.invoice.number, market.house
    market.now = day(30, month=12)
    await credited(market, number, {1: 400})
    await corrections.record(
        *(number, PROVIDER), Entry("1", Way.PAYMENT, 100, market.now.date()), house=house
    )
    await corrections.write_off(number, PROVIDER, "insolvent", house=house)
    async with market.database.begin() as connection:
        log = await event_log.read(connection, event_log.START, limit=1_000)
    told = [one for one in log if one.stream == f"service-invoices/{PROVIDER}"]
    sellers, buyers = (
        [(one.type, one.body) for one in told if one.party == party]
        for party in (PROVIDER, REQUESTER)
    )
    assert sellers == buyers
    assert [kind for kind, _ in buyers] == [
        EventType.SERVICE_INVOICE_ISSUED,
        EventType.SERVICE_CREDIT_NOTE_ISSUED,
        EventType.SERVICE_PAYMENT_RECORDED,
        EventType.SERVICE_INVOICE_WRITTEN_OFF,
    ]


async def test_what_is_written_off_is_open_no_more_and_reminded_of_no_more(
    sold: tuple[Market, Found],
) -> None:
    market, found = sold
    number = found.invoice.number
    market.now = day(30, month=12)
    written, new = await corrections.write_off(number, PROVIDER, "insolvent", house=market.house)
    assert (new, written.standing.state(market.now.date())) == (True, State.WRITTEN_OFF)
    assert not (await corrections.write_off(number, HUB, "again", house=market.house))[1]
    assert await corrections.remind(house=market.house) == 1  # of the fee alone


async def test_a_fee_of_one_provider_alone_is_told_to_it(sold: tuple[Market, Found]) -> None:
    market, _ = sold
    for provider in (None, PROVIDER):
        fee = Fee(MONTH.next, Decimal(3), provider=provider)
        await looking.set_fee(fee, HUB, house=market.house)
    async with market.database.begin() as connection:
        log = await event_log.read(
            connection, event_log.START, limit=1_000, types=[EventType.MARKETPLACE_FEE_SET]
        )
    assert [one.party for one in log][-3:] == [HUB, HUB, PROVIDER]


async def test_what_is_paid_after_it_was_written_off_is_recorded_and_written_off_no_more(
    sold: tuple[Market, Found],
) -> None:
    market, found = sold
    number, house = found.invoice.number, market.house
    market.now = day(30, month=12)
    gross = found.standing.gross_minor

    async def pay(reference: str, minor: int) -> Found:
        entry = Entry(reference, Way.PAYMENT, minor, market.now.date())
        return (await corrections.record(number, PROVIDER, entry, house=house))[0]

    await pay("1", 100)
    await corrections.write_off(number, PROVIDER, "insolvent", house=house)
    # Part of it comes, goes back to the bank, and is given up once more on the same day.
    assert (await pay("2", 300)).standing.written_off_minor == gross - 400
    assert (await pay("2 returned", -300)).standing.open_minor == 300
    written, new = await corrections.write_off(number, PROVIDER, "insolvent", house=house)
    assert (new, written.standing.written_off_minor) == (True, gross - 100)
    with pytest.raises(BadPayment):
        await pay("3", gross - 99)
    paid = await pay("4", gross - 100)
    assert (paid.standing.written_off_minor, paid.standing.state(market.now.date())) == (
        *(0, State.PAID),
    )
    kept = await looking.find(number, REQUESTER, house=house)
    assert kept.standing == paid.standing
