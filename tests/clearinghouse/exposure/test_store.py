"""Holds on a real PostgreSQL: never beyond the cap, whoever asks at once, in whatever process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from clearinghouse.authorisation.decision import decide as record_of
from clearinghouse.authorisation.model import (
    Authorisation,
    Facts,
    IdentificationType,
    Question,
    Reason,
    Terms,
    authorisation_id,
    identify,
)
from clearinghouse.authorisation.rules import claim_of
from clearinghouse.authorisation.store import SqlDecisions
from clearinghouse.customers.model import Limits, draw_up
from clearinghouse.exchange.model import Rate
from clearinghouse.exchange.store import SqlBooks as ExchangeRates
from clearinghouse.exposure import flows
from clearinghouse.exposure.flows import Exposure
from clearinghouse.exposure.model import (
    Deposit,
    DepositTooSmall,
    ReferenceUsed,
    Weighed,
    limit_of,
    movement_of,
)
from clearinghouse.exposure.store import Holds, SqlBooks, release
from clearinghouse.ledger.store import SqlLedger
from kit import event_log
from kit.database import Database
from kit.event_log import NewEvent
from roaming.evse_id import EvseId
from roaming.money import Money
from roaming.party import PartyId

HUB, PD1, XYZ, ABC = map(PartyId, ("EU*GRD", "FR*PD1", "FR*XYZ", "DE*ABC"))
NOON = datetime(2025, 1, 7, 12, tzinfo=UTC)
EVSE = EvseId("FR*PD1*E1")


def eur(amount: str) -> Money:
    return Money.of(Decimal(amount), "EUR")


@dataclass
class House:
    """One process of the hub: its own pool, its own batches."""

    database: Database
    decisions: SqlDecisions
    books: SqlBooks
    now: datetime = NOON
    fails: bool = False

    def clock(self) -> datetime:
        return self.now

    async def cap(
        self, amount: str, hold: str = "1000.00", evsp: PartyId = XYZ, **more: Any
    ) -> Exposure:
        limit = limit_of(evsp, eur(amount), eur(hold), by="operator", now=self.now, **more)
        return await flows.set_limit(limit, books=self.books, clock=self.clock)

    async def asks(
        self,
        charge_id: str | None = None,
        limits: Limits | None = None,
        contract: str = "FRXYZ000000001",
        limited: bool = True,
        at: datetime | None = None,
        evse_id: EvseId = EVSE,
    ) -> Authorisation:
        """One question, answered as the flow answers it."""
        question = Question(
            operator=PD1,
            evse_id=evse_id,
            identification=identify(IdentificationType.CONTRACT_ID, contract),
            services=("charging",),
            at=at or self.now,
            at_given=False,
            charge_id=charge_id,
        )
        terms = Terms("agreement-1", "EUR", {"elements": []}, None)
        facts = Facts(PD1, draw_up(contract, limits=limits), terms, limited=limited)
        ours = authorisation_id(self.now, next(_chances))
        claim = claim_of(question, facts, ours)
        assert claim is not None

        def decide(hold: Weighed) -> tuple[Authorisation, NewEvent]:
            if self.fails:
                raise ConnectionError
            decided = record_of(
                question, replace(facts, hold=hold), authorisation_id=ours, now=self.now
            )
            return decided, NewEvent("asked", "asked", PD1, {"says": decided.reason}, self.now)

        return await self.decisions.record_within_limits(claim, decide)

    async def shown(self) -> Exposure:
        return await flows.show(XYZ, books=self.books, clock=self.clock)

    async def held(self) -> Money:
        figures = (await self.shown()).figures
        assert figures is not None
        return Money(figures.held_minor, figures.currency)

    async def left(self) -> Money:
        figures = (await self.shown()).figures
        assert figures is not None
        return Money(figures.left_minor, figures.currency)

    async def told(self) -> list[tuple[str, str]]:
        async with self.database.hot() as connection:
            events = await event_log.read(connection, event_log.START)
        return [(one.party, one.type) for one in events if one.type.startswith("exposure-")]

    async def pays_in(self, reference: str, amount: str, deposit: str = "prepayment") -> Exposure:
        movement = movement_of(reference, XYZ, Deposit(deposit), eur(amount))
        return await flows.deposit(movement, books=self.books, clock=self.clock)

    async def takes_out(self, reference: str, amount: str) -> Exposure:
        movement = movement_of(reference, XYZ, Deposit.PREPAYMENT, -eur(amount))
        return await flows.withdraw(movement, books=self.books, clock=self.clock)


_chances = (number.to_bytes(10) for number in range(10**6))


@pytest.fixture
async def new_house(database_url: str) -> AsyncIterator[Callable[[], Any]]:
    async with AsyncExitStack() as stack:

        async def make() -> House:
            database = await Database.open(database_url, pool_size=4)
            stack.push_async_callback(database.close)
            holds = Holds(HUB)
            house = House(database, None, SqlBooks(database, holds))  # type: ignore[arg-type]
            house.decisions = SqlDecisions(database, holds, house.clock)
            stack.push_async_callback(house.decisions.close)
            return house

        yield make


@pytest.fixture
async def house(new_house: Callable[[], Any]) -> House:
    made: House = await new_house()
    return made


def accepted(decided: Authorisation) -> bool:
    assert decided.reason in (None, Reason.OVER_LIMIT)
    return decided.reason is None


async def test_six_holds_of_1000_on_a_cap_of_5000_and_the_sixth_is_refused(house: House) -> None:
    await house.cap("5000.00")
    assert [accepted(await house.asks()) for _ in range(6)] == [True] * 5 + [False]
    assert await house.held() == eur("5000.00")
    refused = await house.asks()
    assert refused.details[Reason.OVER_LIMIT] == (
        "cap 5000.00, owed 0.00, held 5000.00, left 0.00 EUR; asked 1000.00 EUR"
    )


async def test_six_at_once_from_two_processes_are_no_more_than_five(
    house: House, new_house: Callable[[], Any]
) -> None:
    await house.cap("5000.00")
    other = await new_house()
    for _ in range(10):
        answers = await asyncio.gather(
            *(one.asks() for one in (house, other, house, other, house, other))
        )
        assert sorted(map(accepted, answers)) == [False] + [True] * 5
        await ended(house, *(one.authorisation_id for one in answers))
        assert await house.left() == eur("5000.00")


async def ended(house: House, *authorisation_ids: str) -> None:
    async with house.database.hot() as connection:
        await release(connection, [(PD1, one) for one in authorisation_ids], [], house.now)


async def test_a_charge_that_is_asked_about_again_holds_once(
    house: House, new_house: Callable[[], Any]
) -> None:
    await house.cap("5000.00")
    other = await new_house()
    answers = await asyncio.gather(
        *(one.asks("charge-1") for one in (house, other, house, other, house, other))
    )
    assert len({one.authorisation_id for one in answers}) == 1
    assert await house.held() == eur("1000.00")
    again = await other.asks("charge-1")
    assert again.authorisation_id == answers[0].authorisation_id
    assert await house.held() == eur("1000.00")


async def test_a_charge_that_is_claimed_for_two_evsps_at_once_holds_for_one(
    house: House, new_house: Callable[[], Any]
) -> None:
    await house.cap("100000.00")
    await house.cap("100000.00", evsp=ABC)
    other = await new_house()
    for number in range(20):
        await asyncio.gather(
            house.asks(f"charge-{number}"),
            other.asks(f"charge-{number}", contract="DEABC000000001"),
        )
    async with house.database.hot() as connection:
        held = await connection.fetch(
            "SELECT h.authorisation_id FROM clearinghouse.exposure_hold AS h"
            " JOIN clearinghouse.authorisation AS a USING (authorisation_id)"
        )
        assert len(held) == 20
        assert await connection.fetchval("SELECT count(*) FROM clearinghouse.exposure_hold") == 20


async def test_a_decision_that_cannot_be_kept_holds_nothing_and_comes_again(house: House) -> None:
    await house.cap("1000.00")
    house.fails = True
    with pytest.raises(ConnectionError):
        await house.asks("charge-1")
    assert await house.held() == eur("0.00")
    house.fails = False
    assert accepted(await house.asks("charge-1"))


async def test_a_repeated_refusal_stays_one_also_when_there_is_room_now(house: House) -> None:
    await house.cap("0.00")
    assert not accepted(await house.asks("charge-1"))
    await house.cap("5000.00")
    assert not accepted(await house.asks("charge-1"))
    assert accepted(await house.asks("charge-2"))


async def test_a_hold_ends_once_and_not_before_its_record(house: House) -> None:
    await house.cap("5000.00")
    first = await house.asks()
    await house.asks()
    for _ in range(2):
        await ended(house, first.authorisation_id, "another")
        assert await house.held() == eur("1000.00")


async def test_nobody_ends_the_hold_of_another_operator(house: House) -> None:
    await house.cap("5000.00")
    asked = await house.asks()
    async with house.database.hot() as connection:
        await release(connection, [(PartyId("NL*STR"), asked.authorisation_id)], [], house.now)
    assert await house.held() == eur("1000.00")


async def test_a_record_without_authorisation_ends_the_oldest_hold_of_its_contract_there(
    house: House,
) -> None:
    await house.cap("5000.00")
    elsewhere = EvseId("FR*PD1*E2")
    contract = draw_up("FRXYZ000000001").contract_id
    await house.asks(at=NOON)
    await house.asks(at=NOON + timedelta(hours=3))
    await house.asks(at=NOON, evse_id=elsewhere)
    await house.asks(at=NOON, contract="FRXYZ000000002")

    async def booked(over_at: datetime) -> None:
        async with house.database.hot() as connection:
            await release(connection, [], [(contract, EVSE, over_at)], NOON)

    await booked(NOON - timedelta(minutes=1))
    assert await house.held() == eur("4000.00")
    await booked(NOON + timedelta(hours=1))
    assert await house.held() == eur("3000.00")
    await booked(NOON + timedelta(hours=1))
    assert await house.held() == eur("3000.00")
    await booked(NOON + timedelta(hours=4))
    assert await house.held() == eur("2000.00")


async def test_a_hold_that_waits_too_long_counts_no_more(house: House) -> None:
    await house.cap("5000.00", hold_days=2)
    for _ in range(5):
        await house.asks()
    house.now = NOON + timedelta(days=2) - timedelta(seconds=1)
    assert not accepted(await house.asks())
    house.now = NOON + timedelta(days=2)
    assert accepted(await house.asks())
    assert await house.held() == eur("1000.00")
    await flows.watch(XYZ, books=house.books, clock=house.clock)
    assert await house.held() == eur("1000.00")
    async with house.database.hot() as connection:
        ends = await connection.fetch(
            "SELECT ended_by, count(*) FROM clearinghouse.exposure_hold GROUP BY 1 ORDER BY 1"
        )
    assert [tuple(row) for row in ends] == [("expiry", 5), (None, 1)]


async def test_it_is_warned_once_at_80_percent_and_again_only_after_a_relief(house: House) -> None:
    await house.cap("5000.00", "500.00")
    known = [("FR*XYZ", "exposure-limit-set")]
    ids = [(await house.asks()).authorisation_id for _ in range(7)]
    assert await house.told() == known
    ids += [(await house.asks()).authorisation_id for _ in range(2)]
    known += [("FR*XYZ", "exposure-warning"), ("EU*GRD", "exposure-warning")]
    assert sorted(await house.told()) == sorted(known)
    # 90 to 75 percent and back: a little up and down is no news.
    await ended(house, *ids[:2])
    await flows.watch(XYZ, books=house.books, clock=house.clock)
    for _ in range(2):
        await house.asks()
    assert sorted(await house.told()) == sorted(known)
    await house.asks()
    known += [("FR*XYZ", "exposure-exhausted"), ("EU*GRD", "exposure-exhausted")]
    assert not accepted(await house.asks())
    assert sorted(await house.told()) == sorted(known)
    await ended(house, *ids)
    await flows.watch(XYZ, books=house.books, clock=house.clock)
    known += [("FR*XYZ", "exposure-eased"), ("EU*GRD", "exposure-eased")]
    assert sorted(await house.told()) == sorted(known)


async def test_a_deposit_raises_what_is_left_at_once_and_is_in_the_ledger(house: House) -> None:
    await house.cap("1000.00")
    assert accepted(await house.asks())
    assert not accepted(await house.asks())
    await house.pays_in("bank-1", "1000.00")
    await house.pays_in("bank-2", "500.00", "collateral")
    assert await house.left() == eur("1500.00")
    assert accepted(await house.asks())
    ledger = SqlLedger(house.database)
    assert {(one.account, one.counterparty, one.amount) for one in await ledger.balances(XYZ)} == {
        ("prepayment-receivable", HUB, eur("1000.00")),
        ("collateral-receivable", HUB, eur("500.00")),
    }
    assert not (await ledger.audit()).faults


async def test_a_deposit_comes_once_under_one_reference(house: House) -> None:
    await house.cap("0.00")
    for _ in range(2):
        await house.pays_in("bank-1", "1000.00")
    assert await house.left() == eur("1000.00")
    with pytest.raises(ReferenceUsed):
        await house.pays_in("bank-1", "1000.01")
    with pytest.raises(ReferenceUsed):
        await house.pays_in("bank-1", "1000.00", "collateral")
    assert await house.left() == eur("1000.00")


async def test_what_is_needed_for_what_is_held_cannot_be_taken_out(house: House) -> None:
    await house.cap("500.00")
    await house.pays_in("bank-1", "1000.00")
    assert accepted(await house.asks())
    for amount in ("500.01", "1000.01"):
        with pytest.raises(DepositTooSmall):
            await house.takes_out("back-1", amount)
    for _ in range(2):
        await house.takes_out("back-1", "500.00")
    assert await house.left() == eur("0.00")
    with pytest.raises(DepositTooSmall):
        await house.takes_out("back-2", "0.01")


async def test_without_a_limit_nothing_is_held(house: House) -> None:
    assert accepted(await house.asks())
    async with house.database.hot() as connection:
        assert await connection.fetchval("SELECT count(*) FROM clearinghouse.exposure_hold") == 0


async def test_a_limit_that_is_lifted_limits_nothing(house: House) -> None:
    await house.cap("0.00")
    assert not accepted(await house.asks())
    await flows.lift_limit(XYZ, by="operator", books=house.books, clock=house.clock)
    assert accepted(await house.asks())


async def test_a_customers_day_is_full_whatever_its_evsp_may_owe(house: House) -> None:
    limits = Limits("EUR", per_charge_minor=40_00, per_day_minor=100_00, per_month_minor=130_00)

    async def asks(days: int = 0) -> bool:
        at = NOON + timedelta(days=days)
        return accepted(await house.asks(limits=limits, limited=False, at=at))

    assert [await asks() for _ in range(3)] == [True, True, False]
    # Another day of the same month has room for one; another month for two.
    assert [await asks(1), await asks(1)] == [True, False]
    assert [await asks(31), await asks(31), await asks(31)] == [True, True, False]


async def test_a_customer_without_a_limit_a_charge_holds_what_is_left_of_the_day(
    house: House,
) -> None:
    limits = Limits("EUR", per_day_minor=80_00)
    answers = [await house.asks(limits=limits, limited=False) for _ in range(3)]
    assert [accepted(one) for one in answers] == [True, True, False]
    async with house.database.hot() as connection:
        amounts = await connection.fetch(
            "SELECT amount_minor FROM clearinghouse.exposure_hold ORDER BY amount_minor"
        )
    assert [row["amount_minor"] for row in amounts] == [30_00, 50_00]


async def test_debts_in_another_currency_count_at_the_published_rate(house: House) -> None:
    limits = Limits("GBP", per_charge_minor=100_00, per_day_minor=1_000_00)
    await house.cap("300.00")
    unknown = await house.asks(limits=limits)
    assert not accepted(unknown)
    assert "no exchange rate for GBP" in unknown.details[Reason.OVER_LIMIT]
    async with ExchangeRates(house.database).open() as book:
        await book.add([Rate("EUR", "GBP", Decimal("0.8"), date(2025, 1, 6), "ECB")], NOON)
    assert [accepted(await house.asks(limits=limits)) for _ in range(3)] == [True, True, False]
    assert await house.held() == eur("250.00")
