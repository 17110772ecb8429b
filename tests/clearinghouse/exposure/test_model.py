"""The rules of exposure: what fits under a cap, what is told of it, and the laws in any history."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from clearinghouse.customers.model import Limits
from clearinghouse.exposure import model
from clearinghouse.exposure.model import (
    BadLimit,
    Claim,
    Deposit,
    DepositTooSmall,
    Figures,
    Level,
    Spending,
    Sums,
    Weighing,
    figures_of,
    level_after,
    limit_of,
    may_leave,
    movement_of,
    reached,
)
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.money import Money
from roaming.party import PartyId

PD1, XYZ = PartyId("FR*PD1"), PartyId("FR*XYZ")
CUSTOMER = ContractId("FRXYZ000000001")
NOON = datetime(2025, 1, 7, 12, tzinfo=UTC)
CAP = limit_of(XYZ, Money(5_000_00, "EUR"), Money(1_000_00, "EUR"), by="operator", now=NOON)
CLAIM = Claim("a", PD1, None, XYZ, CUSTOMER, EvseId("FR*PD1*E1"), NOON)
DAILY = Limits("EUR", per_day_minor=100_00, per_month_minor=150_00)


def figures(owed: int = 0, held: int = 0, cap: int = 5_000_00) -> Figures:
    return Figures("EUR", cap, owed_minor=owed, held_minor=held)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


@pytest.mark.parametrize(
    ("used", "most", "granted"),
    [
        (4_000_00, None, True),
        (4_000_01, None, False),
        (4_000_01, eur(999_99), True),
        (5_000_00, eur(1), False),
        # A charge that would cost nothing needs room, too: there is none.
        (5_000_00, eur(0), False),
        (6_000_00, eur(0), False),
    ],
)
def test_a_charge_fits_if_its_hold_is_not_more_than_what_is_left(
    used: int, most: Money | None, granted: bool
) -> None:
    for found in (figures(owed=used), figures(held=used)):
        assert model.weigh(replace(CLAIM, most=most), CAP, found, None, {}).granted is granted


def test_deposits_make_room() -> None:
    found = replace(figures(5_000_00), prepaid_minor=600_00, collateral_minor=400_00)
    weighed = model.weigh(CLAIM, CAP, found, None, {})
    assert weighed.held == CAP.hold
    assert weighed.says == (
        "cap 5000.00, prepaid 600.00, collateral 400.00, owed 5000.00, held 0.00, left 1000.00 EUR;"
        " holds 1000.00 EUR"
    )


def test_looking_holds_nothing() -> None:
    weighed = model.weigh(replace(CLAIM, takes=False), CAP, figures(), None, {})
    assert (weighed.granted, weighed.held) == (True, None)


@pytest.mark.parametrize(
    ("spending", "most", "held"),
    [
        (Spending(0, 0), None, 50_00),
        (Spending(60_00, 60_00), None, 40_00),
        (Spending(60_00, 60_00), eur(40_01), None),
        (Spending(60_00, 60_00), eur(40_00), 40_00),
        (Spending(0, 120_00), None, 30_00),
        (Spending(100_00, 100_00), None, None),
        (Spending(0, 0, ("GBP",)), eur(1), None),
    ],
)
def test_a_customer_spends_no_more_than_day_and_month_allow(
    spending: Spending, most: Money | None, held: int | None
) -> None:
    claim = replace(CLAIM, limits=DAILY, most=most)
    weighed = model.weigh(claim, None, None, spending, {})
    assert weighed.granted is (held is not None)
    assert weighed.held == (None if held is None else eur(held))


def test_a_customers_small_remainder_is_all_that_its_evsp_holds() -> None:
    claim = replace(CLAIM, limits=DAILY)
    weighed = model.weigh(claim, CAP, figures(owed=4_900_00), Spending(40_00, 40_00), {})
    assert weighed.held == eur(60_00)
    assert not model.weigh(claim, CAP, figures(owed=4_950_00), Spending(40_00, 40_00), {}).granted


def test_other_currencies_count_rounded_against_who_owes() -> None:
    rates = {("JPY", "EUR"): Fraction(1, 163), ("GBP", "EUR"): Fraction(6, 5)}
    sums = Sums(
        owed=(eur(10_00), Money(1_000, "JPY")),
        held=(Money(10_00, "GBP"),),
        prepaid=(Money(1_000, "JPY"),),
        collateral=(Money(5_00, "CHF"),),
    )
    found = figures_of("EUR", 0, sums, rates)
    assert (found.owed_minor, found.held_minor) == (10_00 + 6_14, 12_00)
    # A deposit is rounded down, and one that nobody can convert counts as none.
    assert (found.prepaid_minor, found.collateral_minor) == (6_13, 0)
    assert found.unrated == ()
    unknown = figures_of("EUR", 10**9, Sums(owed=(Money(1, "CHF"),)), rates)
    assert unknown.unrated == ("CHF",)
    refused = model.weigh(CLAIM, CAP, unknown, None, rates)
    assert not refused.granted
    assert refused.says is not None
    assert refused.says.endswith("no exchange rate for CHF")


@given(st.integers(-(10**6), 10**6), st.fractions("1/1000", 1000))
def test_rounding_is_never_in_favour_of_who_owes(minor: int, rate: Fraction) -> None:
    counted = model.converted(Money(minor, "JPY"), "EUR", {("JPY", "EUR"): rate})
    assert counted is not None
    assert 0 <= counted - minor * rate * 100 < 1


def test_levels_are_reached_at_80_and_100_percent_and_left_ten_points_below() -> None:
    level, told = Level.WITHIN, []
    for percent in (79, 80, 75, 81, 70, 69, 80, 99, 100, 95, 100, 89, 100, 71, 69):
        after = level_after(level, figures(owed=percent * 50_00))
        told += [(percent, one.value) for one in reached(level, after)]
        level = after
    assert told == [
        (80, "warned"),
        (69, "within"),
        (80, "warned"),
        (100, "exhausted"),
        (89, "warned"),
        (100, "exhausted"),
        (71, "warned"),
        (69, "within"),
    ]


def test_a_jump_tells_of_each_level_that_was_crossed_and_a_refusal_is_the_end() -> None:
    assert reached(Level.WITHIN, Level.EXHAUSTED) == (Level.WARNED, Level.EXHAUSTED)
    assert level_after(Level.WITHIN, figures(), refused=True) is Level.EXHAUSTED
    assert level_after(Level.WITHIN, figures(cap=0)) is Level.EXHAUSTED


def test_a_limit_and_a_movement_have_rules_of_their_own() -> None:
    for cap, hold, days in ((-1, 1, 1), (1, -1, 1), (10**15 + 1, 1, 1), (1, 1, 0), (1, 1, 91)):
        with pytest.raises(BadLimit):
            limit_of(XYZ, eur(cap), eur(hold), hold_days=days, by="operator", now=NOON)
    with pytest.raises(BadLimit):
        limit_of(XYZ, eur(1), Money(1, "GBP"), by="operator", now=NOON)
    for reference, minor in (("", 1), ("x" * 101, 1), ("\n", 1), ("x", 0)):
        with pytest.raises(BadLimit):
            movement_of(reference, XYZ, Deposit.PREPAYMENT, eur(minor))


def test_days_and_months_are_those_of_the_hub() -> None:
    late = datetime.fromisoformat("2025-02-01T00:30:00+01:00")
    assert model.day_of(late) == datetime(2025, 1, 31, tzinfo=UTC)
    assert model.month_of(late) == datetime(2025, 1, 1, tzinfo=UTC)
    assert model.next_month(late) == datetime(2025, 2, 1, tzinfo=UTC)
    assert model.next_month(datetime(2024, 12, 31, tzinfo=UTC)) == datetime(2025, 1, 1, tzinfo=UTC)


class Histories(RuleBasedStateMachine):
    """Any order of claims, records, deposits and withdrawals of one EVSP with one customer."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.figures = figures(cap=1_000)
        self.limits = Limits("EUR", per_day_minor=700, per_month_minor=900)
        self.open: dict[int, tuple[Money, datetime]] = {}
        self.booked: list[tuple[int, datetime]] = []
        self.taken = 0

    def spent(self, day: datetime) -> Spending:
        every = [(one.minor, at) for one, at in self.open.values()] + self.booked
        return Spending(
            sum(minor for minor, at in every if model.day_of(at) == model.day_of(day)),
            sum(minor for minor, at in every if model.month_of(at) == model.month_of(day)),
        )

    @rule(
        target=holds,
        amounts=st.lists(st.none() | st.integers(0, 400), min_size=1, max_size=4),
        days=st.integers(0, 40),
        limited=st.booleans(),
    )
    def several_ask_at_once(self, amounts: list[int | None], days: int, limited: bool) -> int:
        at = NOON + timedelta(days=days)
        limits = self.limits if limited else None
        claims = [
            replace(CLAIM, charge_at=at, limits=limits, most=None if one is None else eur(one))
            for one in amounts
        ]
        limit = replace(CAP, cap=eur(1_000), hold=eur(150))
        spendings = {(CUSTOMER, model.day_of(at)): self.spent(at)} if limited else {}
        weighing = Weighing({XYZ: limit}, {XYZ: self.figures}, spendings)
        for claim in claims:
            before = weighing.figures[XYZ], dict(weighing.spendings)
            weighed = weighing.weigh(claim)
            after = weighing.figures[XYZ], dict(weighing.spendings)
            if not weighed.granted:
                assert weighed.held is None
                assert before == after, "a refused action changes nothing"
                continue
            assert weighed.held is not None
            self.taken += 1
            self.open[self.taken] = weighed.held, at
            self.figures = after[0]
            assert self.figures.left_minor >= 0, "never beyond cap and deposits"
            assert weighed.held.minor <= before[0].left_minor
            if limited:
                assert self.spent(at) == after[1][CUSTOMER, model.day_of(at)]
                assert self.spent(at).day_minor <= 700
                assert self.spent(at).month_minor <= 900
        return self.taken

    @rule(number=consumes(holds), price=st.integers(0, 600))
    def a_record_is_booked(self, number: int, price: int) -> None:
        """Once: a second record of the same charge finds no hold."""
        for _ in range(2):
            found = self.open.pop(number, None)
            if found is not None:
                held, at = found
                self.booked.append((price, at))
                self.figures = replace(
                    self.figures,
                    held_minor=self.figures.held_minor - held.minor,
                    owed_minor=self.figures.owed_minor + price,
                )

    @rule(minor=st.integers(1, 500))
    def the_evsp_pays_in(self, minor: int) -> None:
        left = self.figures.left_minor
        self.figures = replace(self.figures, prepaid_minor=self.figures.prepaid_minor + minor)
        assert self.figures.left_minor == left + minor

    @rule(minor=st.integers(1, 500))
    def the_evsp_takes_out(self, minor: int) -> None:
        movement = movement_of("x", XYZ, Deposit.PREPAYMENT, eur(-minor))
        there, left = self.figures.prepaid_minor, self.figures.left_minor
        try:
            may_leave(movement, there, self.figures)
        except DepositTooSmall:
            assert minor > min(there, max(left, 0))
            return
        self.figures = replace(self.figures, prepaid_minor=there - minor)
        assert self.figures.left_minor >= 0

    @invariant()
    def what_is_held_is_the_sum_of_the_open_holds(self) -> None:
        assert self.figures.held_minor == sum(one.minor for one, _ in self.open.values())


TestHistories = Histories.TestCase
