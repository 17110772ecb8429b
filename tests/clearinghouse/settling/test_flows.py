"""A month settled on a real ledger: once, whole or not at all, and paid to the last cent."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.exchange.model import NoRate, Rate
from clearinghouse.exchange.store import SqlBooks as ExchangeRates
from clearinghouse.ledger.model import Kind, Posting, Subject, mirrored
from clearinghouse.ledger.store import SqlLedger, post
from clearinghouse.netting.model import Period, Strategy
from clearinghouse.netting.store import SqlBooks as Clearings
from clearinghouse.periods import flows as period_flows
from clearinghouse.periods.model import Month, PeriodCannot, State
from clearinghouse.periods.store import SqlBooks as Periods
from clearinghouse.settling import flows
from clearinghouse.settling.default import NothingFailed, Rule
from clearinghouse.settling.flows import House
from clearinghouse.settling.model import (
    AtRate,
    BadReceipt,
    NotPayee,
    NotSettled,
    Payment,
    PaymentCannot,
    PaymentState,
    PaysTooMuch,
    SourceReused,
    UnknownPayment,
)
from clearinghouse.settling.store import SqlBooks
from gridroam.answers import RatesForSettling
from kit import event_log
from kit.database import Database
from kit.event_log import START, NewEvent
from roaming.events import EventType
from roaming.money import BadMoney, Money
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import (
    EVSP,
    OPERATOR,
    OTHER_CONTRACT,
    OTHER_EVSE,
    OTHER_EVSP,
    OTHER_OPERATOR,
    FakeAgreement,
    World,
    intake_of,
    keep_customer,
    submission,
)

HUB = PartyId("EU*GRD")
JANUARY = Month(2025, 1)
NOW = datetime(2025, 2, 3, 9, tzinfo=UTC)


class Terms:
    """The operator's agreement with EVSP says 14 days, with OTHER_EVSP 45."""

    def days_to_pay(self, creditor: PartyId, debtor: PartyId, at: datetime) -> int | None:
        return {(OPERATOR, EVSP): 14, (OPERATOR, OTHER_EVSP): 45}.get((creditor, debtor))


def house_of(database: Database) -> House:
    return House(
        books=SqlBooks(database, HUB),
        terms=Terms(),
        rates=RatesForSettling(ExchangeRates(database)),
        hub=HUB,
        clock=lambda: NOW,
    )


def in_pairs() -> World:
    """All agreements say that debts are cleared pair by pair."""
    world = World()
    for pair, agreement in world.agreements.items():
        world.agreements[pair] = replace(agreement, clearing_group="bilateral")
    return world


async def booked(database: Database, world: World | None = None) -> None:
    """EVSP owes OPERATOR 5.00 + 1.00 VAT and OTHER_OPERATOR 3.00 + 0.60, OTHER_EVSP owes 2.00."""
    await keep_customer(database)
    await keep_customer(database, OTHER_CONTRACT, token_uid=None)
    outcomes = await cdr_flows.receive(
        [
            submission("A-1"),
            submission("A-3", energy_wh=4_000, contract_id=str(OTHER_CONTRACT)),
            submission("B-1", energy_wh=6_000, operator=OTHER_OPERATOR, evse_id=str(OTHER_EVSE)),
        ],
        intake=intake_of(database, world or in_pairs()),
    )
    assert all(one.cdr.booked for one in outcomes)


async def close(database: Database, month: Month = JANUARY) -> None:
    await period_flows.close(month, hub=HUB, books=Periods(database), clock=lambda: NOW)


async def settled(database: Database, world: World | None = None) -> House:
    await booked(database, world)
    await close(database)
    house = house_of(database)
    await flows.settle(JANUARY, house=house)
    return house


async def all_payments(house: House) -> list[Payment]:
    return list(
        await flows.payments(None, month=None, state=None, after=None, limit=100, books=house.books)
    )


async def balances(database: Database, party: PartyId) -> dict[tuple[str, PartyId], int]:
    return {
        (one.account.value, one.counterparty): one.amount.minor
        for one in await SqlLedger(database).balances(party)
        if one.amount.minor
    }


async def sound(database: Database) -> None:
    audit = await SqlLedger(database).audit()
    assert audit.faults == []


async def events(database: Database, type_: EventType) -> list[event_log.Event]:
    async with database.hot() as connection:
        return await event_log.read(connection, START, types=[type_])


async def test_99_00_posted_once_leaves_99_each_way_and_nothing_after_settlement(
    database: Database,
) -> None:
    await keep_customer(database)
    free = World(agreements={(OPERATOR, EVSP): FakeAgreement(vat_percent=Decimal(0))})
    await cdr_flows.receive(
        [submission("A-1", energy_wh=198_000)], intake=intake_of(database, free)
    )
    assert await balances(database, OPERATOR) == {("charge-receivable", EVSP): 9_900}
    assert await balances(database, EVSP) == {("charge-payable", OPERATOR): -9_900}
    await close(database)
    house = house_of(database)
    done = await flows.settle(JANUARY, house=house)
    assert done.period.state is State.SETTLED
    assert await balances(database, OPERATOR) == {("settlement-receivable", EVSP): 9_900}
    assert await balances(database, EVSP) == {("settlement-payable", OPERATOR): -9_900}
    [payment] = await all_payments(house)
    await flows.record_payment(payment.payment_id, Money(9_900, "EUR"), NOW, "bank", house=house)
    assert await balances(database, OPERATOR) == await balances(database, EVSP) == {}
    await sound(database)


async def test_pairs_become_payments_with_a_day_and_a_reference(database: Database) -> None:
    house = await settled(database)
    payments = await all_payments(house)
    assert {(one.payer, one.payee, one.amount_minor) for one in payments} == {
        (EVSP, OPERATOR, 600),
        (EVSP, OTHER_OPERATOR, 360),
        (OTHER_EVSP, OPERATOR, 240),
    }
    # 45 days from the day of settlement: the longest of the terms that the group agreed on.
    assert {one.due_on for one in payments} == {date(2025, 3, 20)}
    assert len({one.reference for one in payments}) == 3
    [posted] = await events(database, EventType.SETTLEMENT_POSTED)
    assert (posted.body["total_minor"], posted.body["paid_minor"]) == (1_200, 1_200)
    told = {
        one.party: one.body["payments"] for one in await events(database, EventType.PAYMENTS_DUE)
    }
    assert {party: len(theirs) for party, theirs in told.items()} == {
        EVSP: 2,
        OPERATOR: 2,
        OTHER_EVSP: 1,
        OTHER_OPERATOR: 1,
    }
    await sound(database)


async def test_settling_twice_is_settling_once(database: Database) -> None:
    house = await settled(database)
    before = await all_payments(house)
    once = await flows.settle(JANUARY, house=house)
    both = await asyncio.gather(*(flows.settle(JANUARY, house=house) for _ in range(5)))
    assert all(one == once for one in both)
    assert await flows.plan(JANUARY, house=house) == once
    assert await all_payments(house) == before
    assert len(await events(database, EventType.SETTLEMENT_POSTED)) == 1


async def test_many_at_once_settle_once(database: Database) -> None:
    await booked(database)
    await close(database)
    house = house_of(database)
    done = await asyncio.gather(*(flows.settle(JANUARY, house=house) for _ in range(5)))
    assert {one.period for one in done} == {done[0].period}
    assert len(await all_payments(house)) == 3
    assert len(await events(database, EventType.PERIOD_SETTLED)) == 1
    await sound(database)


async def test_an_empty_month_is_settled(database: Database) -> None:
    await close(database)
    house = house_of(database)
    done = await flows.settle(JANUARY, house=house)
    assert (done.period.state, done.settlements) == (State.SETTLED, [])
    assert await all_payments(house) == []


async def test_only_a_closed_month_is_settled_but_any_is_planned(database: Database) -> None:
    await booked(database)
    house = house_of(database)
    with pytest.raises(PeriodCannot):
        await flows.settle(JANUARY, house=house)
    planned = await flows.plan(JANUARY, house=house)
    assert [len(one.payments) for one in planned.settlements] == [3]
    assert await all_payments(house) == []
    with pytest.raises(NotSettled):
        await flows.set_offs(JANUARY, EVSP, books=house.books)
    await close(database)
    assert (await flows.settle(JANUARY, house=house)).settlements == planned.settlements


async def test_what_the_month_came_to_is_the_same_after_its_settlement(database: Database) -> None:
    await booked(database)
    await close(database)
    month = Period(JANUARY.starts_at, JANUARY.ends_at)

    async def owed() -> set[object]:
        async with Clearings(database).open() as book:
            return set(await book.obligations(month, "EUR", None))

    before, totals = await owed(), await period_flows.show(JANUARY, books=Periods(database))
    await flows.settle(JANUARY, house=house_of(database))
    assert await owed() == before != set()
    after = await period_flows.show(JANUARY, books=Periods(database))
    assert after.totals == totals.totals


async def test_groups_and_currencies_are_settled_apart(database: Database) -> None:
    world = in_pairs()
    world.agreements[OPERATOR, OTHER_EVSP] = FakeAgreement("x", clearing_group="cycles:north")
    world.agreements[OTHER_OPERATOR, EVSP] = FakeAgreement("y", currency="CHF", time_zone=None)
    house = await settled(database, world)
    found = {
        (one.clearing_group, one.currency): one.strategy
        for one in (await flows.settle(JANUARY, house=house)).settlements
    }
    assert found == {
        ("cycles:north", "EUR"): Strategy.CYCLES,
        ("bilateral", "EUR"): Strategy.BILATERAL,
        ("multilateral", "CHF"): Strategy.MULTILATERAL,
    }
    await sound(database)


async def test_all_is_settled_in_one_currency_where_there_is_a_rate(database: Database) -> None:
    world = in_pairs()
    world.agreements[OTHER_OPERATOR, EVSP] = replace(
        world.agreements[OTHER_OPERATOR, EVSP], currency="CHF"
    )
    await booked(database, world)
    await close(database)
    with pytest.raises(NoRate):
        await flows.settle(JANUARY, into="EUR", house=house_of(database))
    with pytest.raises(BadMoney):
        await flows.plan(JANUARY, into="XYZ", house=house_of(database))
    published = Rate("CHF", "EUR", Decimal("1.0619"), date(2025, 1, 30), "by hand")
    async with ExchangeRates(database).open() as rates:
        await rates.add([published], NOW)
    house = house_of(database)
    [one] = (await flows.settle(JANUARY, into="EUR", house=house)).settlements
    assert one.currency == "EUR"
    assert one.rates == {
        "CHF": AtRate(Fraction("1.0619"), "1 CHF = 1.0619 EUR (by hand, 2025-01-30)")
    }
    # 3.60 CHF are 3.82284 EUR.
    assert {(p.payer, p.payee, p.amount_minor) for p in one.payments} == {
        (EVSP, OPERATOR, 600),
        (EVSP, OTHER_OPERATOR, 382),
        (OTHER_EVSP, OPERATOR, 240),
    }
    assert await flows.settle(JANUARY, house=house) == await flows.plan(JANUARY, house=house)
    await sound(database)


async def test_a_settlement_that_is_broken_off_has_never_been(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await booked(database)
    await close(database)
    house = house_of(database)
    before = await balances(database, OPERATOR)
    for step in ("keep_settled", "unsettled", "tell", "post"):
        books = BreaksAfter(database, step)
        with pytest.raises(ConnectionError):
            await flows.settle(JANUARY, house=replace(house, books=books))
        assert await balances(database, OPERATOR) == before
        assert await all_payments(house) == []
        assert (await flows.plan(JANUARY, house=house)).period.state is State.CLOSED
    await flows.settle(JANUARY, house=house)
    assert len(await all_payments(house)) == 3
    await sound(database)


async def test_a_month_in_which_only_one_side_owes_is_not_settled(database: Database) -> None:
    await booked(database)
    await close(database)
    async with database.hot() as connection:
        await connection.execute(
            "INSERT INTO clearinghouse.ledger_entry (posting_id, account, party, counterparty,"
            " currency, amount_minor, value_at, cdrs, clearing_group)"
            " VALUES (99, 'charge-payable', $1, $2, 'EUR', -5, $4, 0, ''),"
            " (99, 'charge-payable', $3, $2, 'EUR', 5, $4, 0, '')",
            EVSP,
            OPERATOR,
            OTHER_EVSP,
            JANUARY.starts_at,
        )
    house = house_of(database)
    with pytest.raises(AssertionError, match="2 accounts"):
        await flows.settle(JANUARY, house=house)
    assert await all_payments(house) == []


class BreaksAfter(SqlBooks):
    """The connection is lost after one of the steps of a settlement."""

    def __init__(self, database: Database, step: str) -> None:
        super().__init__(database, HUB)
        self._step = step

    def settling(self, month: Month):  # type: ignore[no-untyped-def]
        return _Broken(super().settling(month), self._step)


class _Broken:
    def __init__(self, inner, step: str) -> None:  # type: ignore[no-untyped-def]
        self._inner, self._step = inner, step

    async def __aenter__(self):  # type: ignore[no-untyped-def]
        book = await self._inner.__aenter__()
        done = getattr(book, self._step)

        async def and_then_lost(*arguments: object) -> None:
            await done(*arguments)
            raise ConnectionError(f"lost after {self._step}")

        setattr(book, self._step, and_then_lost)
        return book

    async def __aexit__(self, *error: object) -> None:
        await self._inner.__aexit__(*error)


async def test_money_comes_in_parts_counts_once_and_never_too_much(database: Database) -> None:
    house = await settled(database)
    [payment] = [one for one in await all_payments(house) if one.amount_minor == 600]

    async def pay(minor: int, source: str, by: PartyId | None = None) -> Payment:
        return await flows.record_payment(
            payment.payment_id, Money(minor, "EUR"), NOW, source, by=by, house=house
        )

    part = await pay(250, "line 1", by=OPERATOR)
    assert (part.state, part.open_minor) == (PaymentState.PART_PAID, 350)
    assert await pay(250, "line 1") == part
    with pytest.raises(SourceReused):
        await pay(251, "line 1")
    with pytest.raises(PaysTooMuch):
        await pay(351, "line 2")
    with pytest.raises(NotPayee):
        await pay(350, "line 2", by=EVSP)
    with pytest.raises(UnknownPayment):
        await pay(350, "line 2", by=OTHER_OPERATOR)
    assert (await pay(350, "line 2")).state is PaymentState.PAID
    assert (await pay(-350, "line 2 returned")).state is PaymentState.PART_PAID
    assert (await balances(database, OPERATOR))["settlement-receivable", EVSP] == 350
    again = await asyncio.gather(*(pay(350, "line 3") for _ in range(5)))
    assert {one.state for one in again} == {PaymentState.PAID}
    assert ("settlement-receivable", EVSP) not in await balances(database, OPERATOR)
    # 2025-01 and 2025-02: money that comes now belongs to the month that is open now.
    async with database.hot() as connection:
        months = await connection.fetch(
            "SELECT DISTINCT to_char(value_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month"
            " FROM clearinghouse.ledger_posting WHERE kind = 'payment'"
        )
    assert [row["month"] for row in months] == ["2025-02"]
    await sound(database)


async def test_a_payee_gives_up_what_is_open_and_nobody_owes_it(database: Database) -> None:
    house = await settled(database)
    [payment] = [one for one in await all_payments(house) if one.amount_minor == 600]
    pays = (payment.payment_id, Money(100, "EUR"), NOW)
    await flows.record_payment(*pays, "bank", house=house)
    for stranger, refusal in ((EVSP, NotPayee), (OTHER_EVSP, UnknownPayment)):
        with pytest.raises(refusal):
            await flows.write_off(payment.payment_id, by=stranger, house=house)
    given_up = await flows.write_off(payment.payment_id, by=OPERATOR, house=house)
    assert (given_up.state, given_up.paid_minor) == (PaymentState.WRITTEN_OFF, 100)
    assert await flows.write_off(payment.payment_id, by=OPERATOR, house=house) == given_up
    assert ("settlement-receivable", EVSP) not in await balances(database, OPERATOR)
    [told] = await events(database, EventType.PAYMENT_WRITTEN_OFF)
    assert (told.party, told.body["given_up_minor"]) == (EVSP, 500)
    with pytest.raises(PaymentCannot):
        await flows.record_payment(*pays, "bank again", house=house)
    await sound(database)


async def test_a_dry_run_of_a_default_changes_nothing(database: Database) -> None:
    house = await settled(database)
    before = await all_payments(house)
    for rule in Rule:
        told = await flows.default(EVSP, JANUARY, rule, confirm=False, house=house)
        [one] = told.corrections
        assert [(loss.party, loss.loses_minor) for loss in one.losses] == [
            (OPERATOR, 600),
            (OTHER_OPERATOR, 360),
        ]
    assert await all_payments(house) == before
    assert await events(database, EventType.PARTNER_DEFAULTED) == []
    with pytest.raises(NothingFailed):
        await flows.default(OPERATOR, JANUARY, Rule.UNWIND, confirm=True, house=house)


async def test_an_unwound_settlement_is_taken_back_and_told_to_all(database: Database) -> None:
    house = await settled(database)
    await flows.default(EVSP, JANUARY, Rule.UNWIND, confirm=True, house=house)
    payments = await all_payments(house)
    assert sorted(
        (one.payer, one.payee, one.amount_minor, one.state.value) for one in payments
    ) == [
        *((EVSP, OPERATOR, 600, "failed"), (EVSP, OPERATOR, 600, "unwound")),
        *((EVSP, OTHER_OPERATOR, 360, "failed"), (EVSP, OTHER_OPERATOR, 360, "unwound")),
        *((OTHER_EVSP, OPERATOR, 240, "due"), (OTHER_EVSP, OPERATOR, 240, "unwound")),
    ]
    assert (await balances(database, OPERATOR))["settlement-receivable", EVSP] == 600
    told = await events(database, EventType.PARTNER_DEFAULTED)
    assert {one.party: one.body["loses_minor"] for one in told} == {
        EVSP: 0,
        OPERATOR: 600,
        OTHER_EVSP: 0,
        OTHER_OPERATOR: 360,
    }
    with pytest.raises(NothingFailed):
        await flows.default(EVSP, JANUARY, Rule.CLEARING_VECTOR, confirm=True, house=house)
    # What the settlement itself came to is told as it was.
    [one] = (await flows.settle(JANUARY, house=house)).settlements
    assert (one.total_minor, one.paid_minor) == (1_200, 1_200)
    await sound(database)


async def test_collateral_is_shared_out_before_anybody_loses(database: Database) -> None:
    house = await settled(database)
    await deposited(database, EVSP, 480)
    told = await flows.default(EVSP, JANUARY, Rule.CLEARING_VECTOR, confirm=True, house=house)
    [one] = told.corrections
    assert [(loss.party, loss.loses_minor) for loss in one.losses] == [
        (OPERATOR, 300),
        (OTHER_OPERATOR, 180),
    ]
    assert sorted(
        (one.payer, one.payee, one.open_minor, one.state.value) for one in await all_payments(house)
    ) == [
        *((EVSP, OPERATOR, 300, "failed"), (EVSP, OTHER_OPERATOR, 180, "failed")),
        *((HUB, OPERATOR, 300, "due"), (HUB, OTHER_OPERATOR, 180, "due")),
        (OTHER_EVSP, OPERATOR, 240, "due"),
    ]
    assert await balances(database, EVSP) == {
        ("settlement-payable", OPERATOR): -300,
        ("settlement-payable", OTHER_OPERATOR): -180,
    }
    assert await balances(database, HUB) == {
        ("settlement-payable", OPERATOR): -300,
        ("settlement-payable", OTHER_OPERATOR): -180,
    }
    await sound(database)


async def test_what_collateral_paid_is_told_by_the_house_alone(database: Database) -> None:
    house = await settled(database)
    await deposited(database, EVSP, 480)
    [payment] = [one for one in await all_payments(house) if one.amount_minor == 600]

    async def told(minor: int, source: str) -> Payment:
        return await flows.record_payment(
            payment.payment_id, Money(minor, "EUR"), NOW, source, by=OPERATOR, house=house
        )

    # Who could use its name would keep the default from ever being posted.
    with pytest.raises(BadReceipt):
        await told(1, "collateral")
    await flows.default(EVSP, JANUARY, Rule.CLEARING_VECTOR, confirm=True, house=house)
    # The hub owes these 3.00 now: they are not the defaulter's debt once more.
    with pytest.raises(PaysTooMuch):
        await told(-1, "went back")
    assert (await told(300, "came at last")).state is PaymentState.PAID
    # A defaulter's payment that bounces has failed, as before, and needs no second default.
    assert (await told(-300, "bounced")).state is PaymentState.FAILED
    with pytest.raises(NothingFailed):
        await flows.default(EVSP, JANUARY, Rule.CLEARING_VECTOR, confirm=True, house=house)
    await sound(database)


async def deposited(database: Database, party: PartyId, minor: int) -> None:
    """The party has put so much down with the hub."""
    async with database.hot() as connection:
        [place] = await event_log.append(
            connection, [NewEvent("deposits", "deposit", party, {}, NOW)]
        )
        entries = mirrored(
            Subject.COLLATERAL, creditor=party, debtor=HUB, amount=Money(minor, "EUR")
        )
        # The other side of a deposit is the bank's; here it is enough that both sides know of it.
        made = Posting(place.position, Kind.DEPOSIT, HUB, None, None, NOW, entries)
        await post(connection, [made], NOW)


@pytest.mark.parametrize("delay_s", [0, 0.002, 0.004, 0.006, 0.008, 0.012])
async def test_a_payment_that_comes_while_a_default_is_posted_is_not_lost(
    database: Database, delay_s: float
) -> None:
    house = await settled(database)
    [payment] = [one for one in await all_payments(house) if one.amount_minor == 240]

    async def pays() -> None:
        # Once the default has all payments; it is the first posting of its month, as the other is.
        await asyncio.sleep(delay_s)
        await flows.record_payment(payment.payment_id, Money(240, "EUR"), NOW, "bank", house=house)

    fails = flows.default(EVSP, JANUARY, Rule.CLEARING_VECTOR, confirm=True, house=house)
    await asyncio.gather(pays(), fails)
    states = {one.amount_minor: one.state.value for one in await all_payments(house)}
    assert states == {600: "failed", 360: "failed", 240: "paid"}
    assert (await balances(database, OPERATOR)) == {("settlement-receivable", EVSP): 600}
    await sound(database)
