"""A month is billed once, in however many parts, whenever use is told and wherever it breaks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from documents.invoice import Category, Kind, Vat
from marketplace.billing import flows, looking
from marketplace.billing.fees import Fee
from marketplace.billing.model import BadCutOff, OtherRunUnderWay, State
from marketplace.offerings.model import ServiceTerms
from roaming.month import Month
from roaming.party import PartyId
from tests.documents.norm import broken_rules
from tests.marketplace.billing.market import HUB, MONTH, PROVIDER, REQUESTER, Market, day, plan

PER_CALL = ServiceTerms.parse({"currency": "EUR", "price_per_call_minor": 5})
SEPTEMBER, NOVEMBER = Month(2026, 9), Month(2026, 11)


@pytest.fixture
def market(database: object) -> Market:
    return Market(database)  # type: ignore[arg-type]


async def test_what_was_called_is_invoiced_and_the_norm_holds(market: Market) -> None:
    terms = plan(
        one_time="25.00",
        recurring={"price": "31.00", "every": "month"},
        per_call=[{"up_to": 10, "price": "0"}, {"price": "0.015"}],
    )
    contract = await market.contract(terms, begins=day(11, hour=0))
    await market.calls(contract, day(20), 110)
    run = await market.bill()
    assert (run.state, run.tally.invoices, run.tally.contracts) == (State.DONE, 1, 1)
    [found] = await market.documents()
    made = found.invoice
    assert made.number == "FRPD1-S2026-000001"
    assert [line.amount_minor for line in made.lines] == [2500, 2100, 0, 150]
    assert (made.seller.party, made.buyer.party) == (PROVIDER, REQUESTER)
    assert made.due_on == market.now.date() + timedelta(days=30)
    assert "EU*GRD, the marketplace, in the name" in made.notes[0]
    assert broken_rules(found.xml) == []


async def test_billed_again_it_is_billed_once(market: Market) -> None:
    contract = await market.contract(PER_CALL)
    await market.calls(contract, day(20), 3)
    await market.bill()
    again = await market.bill()
    assert again.tally.invoices == again.tally.credit_notes == 0
    assert [one.invoice.net_minor for one in await market.documents()] == [15]


async def test_use_that_is_told_after_the_cut_off_is_on_the_next_invoice_by_its_month(
    market: Market,
) -> None:
    contract = await market.contract(PER_CALL)
    await market.calls(contract, day(20), 3)
    await market.bill()
    await market.calls(contract, day(31, hour=23), 2)
    await market.calls(contract, day(4, month=11), 4)
    market.now = day(2, month=12)
    run = await market.bill(NOVEMBER)
    assert run.earlier == (MONTH,)
    _, later = await market.documents()
    assert [(line.description, line.amount_minor) for line in later.invoice.lines] == [
        ("Calls: tariff-info v1, late use of 2026-10", 10),
        ("Calls: tariff-info v1, 2026-11", 20),
    ]
    assert later.invoice.first_day == MONTH.starts_at.date()


async def test_a_month_that_was_never_billed_is_not_late_use_of_it(market: Market) -> None:
    contract = await market.contract(PER_CALL)
    await market.calls(contract, day(20, month=9), 3)
    run = await market.bill()
    assert run.earlier == ()
    assert await market.documents() == []


async def test_an_invoice_in_the_middle_of_the_month_takes_what_there_is(market: Market) -> None:
    terms = plan(recurring={"price": "31.00", "every": "month"}, per_call="0.10", minimum="40")
    contract = await market.contract(terms)
    await market.calls(contract, day(3), 7)
    market.now = day(12)
    await market.bill(up_to=day(11, hour=0))
    await market.calls(contract, day(11), 100)
    market.now = day(2, month=11)
    await market.bill()
    first, last = await market.documents()
    assert first.invoice.net_minor == 1290  # ten days of the minimum
    assert first.invoice.last_day.isoformat() == "2026-10-10"
    assert await market.sums() == {(contract.contract_id, MONTH): 4170}
    # What was lacking to the minimum is no more: it is taken back on the same invoice.
    assert min(line.amount_minor for line in last.invoice.lines) < 0
    assert broken_rules(last.xml) == []


@pytest.mark.parametrize(
    ("month", "up_to", "rule"),
    [
        (NOVEMBER, None, "a month that is over"),
        (NOVEMBER, day(9, month=11), "before"),
        (MONTH, day(2, month=11), "at the latest"),
        (MONTH, MONTH.starts_at, "after"),
        (MONTH, day(15), "not before"),
    ],
)
async def test_a_cut_off_lies_in_its_month_and_never_goes_back(
    market: Market, month: Month, up_to: datetime | None, rule: str
) -> None:
    await market.bill(up_to=day(20))
    with pytest.raises(BadCutOff) as refused:
        await market.bill(month, up_to)
    assert rule in str(refused.value.rule)


async def test_a_month_that_was_looked_at_for_late_use_is_whole(market: Market) -> None:
    market.now = day(12)
    await market.bill(up_to=day(11))
    market.now = day(3, month=12)
    await market.bill(NOVEMBER)
    with pytest.raises(BadCutOff):
        await market.bill(up_to=day(30))


async def test_one_run_bills_at_a_time_and_the_same_is_gone_on_with(market: Market) -> None:
    begun = await flows.begin(MONTH, None, HUB, house=market.house)
    assert await flows.begin(MONTH, None, HUB, house=market.house) == begun
    with pytest.raises(OtherRunUnderWay):
        await flows.begin(SEPTEMBER, None, HUB, house=market.house)
    assert await flows.step(begun.run_id, "one", house=market.house) is not None
    assert await flows.step(begun.run_id, "other", house=market.house) is None
    market.now += flows.LEASE + timedelta(seconds=1)
    assert await flows.step(begun.run_id, "other", house=market.house) is not None


async def test_what_was_tried_out_or_failed_or_is_free_is_not_billed(market: Market) -> None:
    contract = await market.contract(PER_CALL)
    free = await market.contract(ServiceTerms(), service="free")
    await market.calls(contract, day(3), 5, sandbox=True)
    await market.calls(contract, day(3), 5, billable=False, status=500)
    await market.calls(free, day(3), 5, billable=False)
    run = await market.bill()
    assert run.tally.contracts == 1
    assert await market.documents() == []


async def test_who_has_left_is_billed_for_what_was_used_and_for_its_days(market: Market) -> None:
    terms = plan(recurring={"price": "31.00", "every": "month"}, per_call="0.10")
    contract = await market.contract(terms, ends=day(11, hour=0))
    await market.calls(contract, day(3), 7)
    await market.bill()
    assert await market.sums() == {(contract.contract_id, MONTH): 1070}


async def test_what_nobody_can_be_invoiced_for_waits_and_says_what_is_wanted(
    market: Market,
) -> None:
    contract = await market.contract(PER_CALL)
    await market.calls(contract, day(20), 3)
    market.papers.silent = {REQUESTER}
    run = await market.bill()
    assert (run.tally.invoices, run.tally.not_invoiced) == (0, 1)
    [waiting] = await looking.uninvoiced(REQUESTER, house=market.house)
    assert waiting.wanted == ("buyer: business details",)
    assert (waiting.net_minor, waiting.months) == (15, (MONTH,))
    assert await looking.uninvoiced(PartyId("NL*XXX"), house=market.house) == []
    market.papers.silent, market.papers.vat = set(), None
    await market.bill()
    [waiting] = await looking.uninvoiced(PROVIDER, house=market.house)
    assert waiting.wanted == ("2026-10: VAT details by which a rule decides (see docs/vat.md)",)
    # Who has told its details since then may tell what held before.
    market.papers.since = {REQUESTER: market.now}
    await market.bill()
    [waiting] = await looking.uninvoiced(PROVIDER, house=market.house)
    assert waiting.wanted == (
        "2026-10: buyer: business details that held then, told with their valid_from",
    )
    market.papers.since = {}
    market.papers.vat = Vat(Category.STANDARD, Decimal(20), "domestic-service")
    await market.bill()
    assert await looking.uninvoiced(REQUESTER, house=market.house) == []
    [found] = await market.documents()
    assert (found.invoice.net_minor, found.invoice.vat_minor) == (15, 3)


async def test_what_waits_is_told_until_it_is_invoiced_however_old_it_is(market: Market) -> None:
    contract = await market.contract(PER_CALL, begins=day(1, month=5))
    await market.calls(contract, day(20, month=5), 3)
    market.papers.silent = {REQUESTER}
    await market.bill(Month(2026, 5))
    market.now += timedelta(days=1)
    await market.calls(contract, day(20), 2)
    await market.bill()
    waiting = await looking.uninvoiced(REQUESTER, house=market.house)
    assert [(one.net_minor, one.months) for one in waiting] == [
        (15, (Month(2026, 5),)),
        (10, (MONTH,)),
    ]
    # Told again of October, it is told once; May waits for a run of its own.
    await market.bill()
    assert len(await looking.uninvoiced(REQUESTER, house=market.house)) == 2
    market.papers.silent = set()
    await market.bill()
    assert [one.net_minor for one in await looking.uninvoiced(REQUESTER, house=market.house)] == [
        15
    ]
    await market.bill(Month(2026, 5))
    assert await looking.uninvoiced(REQUESTER, house=market.house) == []
    assert [one.invoice.net_minor for one in await market.documents()] == [10, 15]


async def test_use_that_turns_out_to_cost_nothing_is_credited(market: Market) -> None:
    contract = await market.contract(PER_CALL)
    await market.calls(contract, day(20), 3)
    await market.bill()
    async with market.database.hot() as connection:
        await connection.execute("UPDATE gateway.usage SET billable = false")
    run = await market.bill()
    assert run.tally.credit_notes == 1
    invoice, note = await market.documents()
    assert (note.invoice.kind, note.invoice.net_minor) == (Kind.CREDIT_NOTE, 15)
    assert note.invoice.number == "FRPD1-SC2026-000001"
    assert [one.number for one in note.invoice.preceding] == [invoice.invoice.number]
    assert broken_rules(note.xml) == []
    assert invoice.standing.credited_minor == 15


async def test_a_chain_of_contracts_is_asked_its_one_time_price_once(market: Market) -> None:
    """25, then 10, then 40, each in another's place: 25 and 15."""
    months = (10, 11, 12)
    chain = None
    for month, price in zip(months, ("25", "10", "40"), strict=True):
        begins, ends = Month(2026, month).starts_at, Month(2026, month).ends_at
        terms = plan(one_time=price)
        chain = await market.contract(terms, begins=begins, ends=ends, replaces=chain)
    market.now = datetime(2027, 1, 3, tzinfo=UTC)
    for month in months:
        await market.bill(Month(2026, month))
    assert [one.invoice.net_minor for one in await market.documents()] == [2500, 1500]
    [last] = await looking.unbilled(REQUESTER, Month(2026, 12), house=market.house)
    assert ([item.amount_minor for item in last.items], list(last.due)) == ([1500], [])


async def test_what_was_never_in_force_or_asked_other_money_asked_nothing_before(
    market: Market,
) -> None:
    franc = ServiceTerms.parse({"currency": "CHF", "plan": {"one_time": "99"}})
    begins = MONTH.starts_at
    first = await market.contract(franc, begins=begins - timedelta(days=1), ends=begins)
    never = await market.contract(plan(one_time="25"), begins=begins, ends=begins, replaces=first)
    await market.contract(plan(one_time="20"), begins=begins, replaces=never)
    await market.bill()
    assert [one.invoice.net_minor for one in await market.documents()] == [2000]


async def test_packs_are_billed_when_they_are_bought(market: Market) -> None:
    terms = ServiceTerms.parse({"currency": "EUR", "pack": {"calls": 100, "price_minor": 900}})
    contract = await market.contract(terms)
    async with market.database.hot() as connection:
        await connection.execute(
            "INSERT INTO gateway.pack_purchase VALUES ('p1', $1, 2, 200, 1800, 'EUR', $2, 'k'),"
            " ('p2', $1, 1, 100, 900, 'EUR', $3, 'l')",
            *(contract.contract_id, day(3), day(3, month=11)),
        )
    await market.bill()
    [found] = await market.documents()
    [line] = found.invoice.lines
    assert (line.amount_minor, line.quantity[0]) == (1800, Decimal(2))


async def test_use_by_the_time_of_day_has_the_price_of_its_quarter(market: Market) -> None:
    night = {"from": "22:00", "until": "06:00", "price": "0.01"}
    times = {"per": "call", "time_zone": "Europe/Paris", "rules": [night], "otherwise": "0.10"}
    contract = await market.contract(plan(time_of_use=times))
    # Paris is two hours ahead until the 25th, then one.
    await market.calls(contract, datetime(2026, 10, 24, 20, 10, tzinfo=UTC), 3)
    await market.calls(contract, datetime(2026, 10, 25, 20, 10, tzinfo=UTC), 5)
    await market.bill()
    assert await market.sums() == {(contract.contract_id, MONTH): 3 + 50}


async def test_the_marketplace_asks_its_fee_of_the_provider_in_the_same_run(
    market: Market,
) -> None:
    market.now = day(30)
    await looking.set_fee(Fee(MONTH, Decimal("2.5"), 30, "EUR"), HUB, house=market.house)
    market.now = day(3, month=11)
    contracts = [
        await market.contract(PER_CALL, requester=PartyId(f"DE*XY{number}")) for number in range(3)
    ]
    for contract in contracts:
        await market.calls(contract, day(20), 77)
    run = await market.bill(at_once=2)
    assert run.tally.invoices == 4
    *sales, fee = await market.documents()
    assert (fee.invoice.seller.party, fee.invoice.buyer.party) == (HUB, PROVIDER)
    assert fee.invoice.number == "EUGRD-S2026-000001"
    sold = sum(one.invoice.net_minor for one in sales)
    each = 30 + round(Fraction(385 * 25, 1000))
    assert (sold, fee.invoice.net_minor) == (3 * 385, 3 * each)
    assert broken_rules(fee.xml) == []
    async with market.database.hot() as connection:
        row = await connection.fetchrow(
            "SELECT sum(net_minor), sum(provider_minor + fee_minor) FROM marketplace.billing_share"
        )
    assert list(row or ()) == [sold, sold]
    # A further run asks it of nobody again.
    assert (await market.bill()).tally.invoices == 0


async def test_a_fee_waits_too_where_it_cannot_be_invoiced(market: Market) -> None:
    market.now = day(30)
    await looking.set_fee(Fee(MONTH, Decimal(10)), HUB, house=market.house)
    market.now = day(3, month=11)
    await market.calls(await market.contract(PER_CALL), day(20), 20)
    market.papers.silent = {HUB}
    assert (await market.bill()).tally.not_invoiced == 1
    [waiting] = await looking.uninvoiced(PROVIDER, house=market.house)
    assert (waiting.seller, waiting.net_minor) == (HUB, 10)
    market.papers.silent = set()
    await market.bill()
    assert await looking.uninvoiced(PROVIDER, house=market.house) == []
    assert (await market.documents())[-1].invoice.net_minor == 10
