"""What use comes to: by paper, by example, and by law."""

from __future__ import annotations

import json
import re
from calendar import monthrange
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from marketplace.offerings.price import Per, PricePlan, Steps
from marketplace.offerings.rating import (
    Charge,
    Quarter,
    Use,
    What,
    days_in_force,
    rate,
    round_lines,
)
from roaming.money import Money
from tests.marketplace.offerings.plans import plans, used, whole

ROOT = Path(__file__).parents[3]
ROW = re.compile(
    r"\| `(\{.*\})` \| (\d{4})-(\d\d), (\d+) days(, the first)? \| (.+) \| ([0-9.]+) \|"
)
OCTOBER = datetime(2026, 10, 20, tzinfo=UTC)
CALLS_AT = re.compile(r"(\d+) calls at (\S+)Z")


def total(charges: tuple[Charge, ...]) -> Fraction:
    return sum((charge.amount for charge in charges), Fraction(0))


def bill(plan: PricePlan, use: Use, currency: str = "EUR") -> Money:
    return Money.total(round_lines(rate(plan, use), currency), currency)


def _use(year: str, month: str, days: str, first: str | None, told: str) -> Use:
    quarters = tuple(
        Quarter(datetime.fromisoformat(f"{at}:00+00:00"), calls=int(calls))
        for calls, at in CALLS_AT.findall(told)
    )
    if quarters:
        return whole(int(year), int(month), int(days), quarters, bool(first))
    counts = {unit: int(number) for number, unit in re.findall(r"(\d+) (\w+)", told)}
    return Use(
        int(year), int(month), int(days), bool(first),
        counts.get("calls", 0), counts.get("bytes", 0), counts.get("units", 0),
    )  # fmt: skip


def test_the_worked_examples_of_the_docs_come_to_what_they_say() -> None:
    rows = ROW.findall((ROOT / "docs" / "prices.md").read_text())
    assert len(rows) == 13
    for plan, *use, amount in rows:
        assert bill(PricePlan.parse(json.loads(plan)), _use(*use)).figure == amount, plan


def one_by_one(steps: Steps, count: int) -> Fraction:
    """Each for itself: what the n-th of a month costs."""
    amount = Fraction(0)
    for n in range(1, count + 1):
        price = next(s.price for s in steps if s.up_to is None or n <= s.up_to)
        amount += Fraction(price)
    return amount


@given(plans(), some.integers(0, 500))
def test_tiers_come_to_what_their_calls_come_to_one_by_one(plan: PricePlan, calls: int) -> None:
    steps = plan.per_call
    charges = rate(PricePlan(per_call=steps), Use(2026, 11, 30, calls=calls))
    assert total(charges) == one_by_one(steps, calls if steps else 0)
    assert sum(charge.quantity for charge in charges) == (calls if steps else 0)


@given(plans(), used())
def test_time_of_use_comes_to_what_its_quarters_come_to_one_by_one(
    plan: PricePlan, use: Use
) -> None:
    tariff = plan.time_of_use
    if tariff is None:
        return
    prices = [*(rule.price for rule in tariff.rules), tariff.otherwise]
    expected = Fraction(0)
    for one in use.quarters:
        told = {
            Per.CALL: Fraction(one.calls),
            Per.KILOBYTE: Fraction(one.bytes, 1000),
            Per.TOLD: Fraction(one.units),
        }
        expected += told[tariff.per] * Fraction(prices[tariff.band(one.begins_at)])
    assert total(rate(PricePlan(time_of_use=tariff), use)) == expected


@given(plans(), used())
def test_every_line_is_its_quantity_times_its_price_and_has_a_key_of_its_own(
    plan: PricePlan, use: Use
) -> None:
    charges = rate(plan, use)
    assert len({charge.key for charge in charges}) == len(charges)
    for charge in charges:
        assert isinstance(charge.amount, Fraction)
        assert isinstance(charge.quantity, Fraction)
        assert charge.quantity > 0
        assert (charge.price is None) == (charge.what is What.MINIMUM)
        if charge.price is not None:
            assert isinstance(charge.price, Decimal)
            assert charge.amount == charge.quantity * Fraction(charge.price)


@given(plans(), used(), some.data())
def test_days_add_up_to_the_month_to_the_cent(
    plan: PricePlan, use: Use, data: some.DataObject
) -> None:
    """A part of a month costs what the month comes to behind it, less what it came to before."""
    end = monthrange(use.year, use.month)[1]
    cuts = sorted(data.draw(some.sets(some.integers(1, end), max_size=4)) | {end})
    begin = datetime(use.year, use.month, 1, tzinfo=UTC)
    parts, before = [], Money.zero("EUR")
    for cut in cuts:
        until = begin + timedelta(days=cut)
        quarters = tuple(one for one in use.quarters if one.begins_at < until)
        now = bill(plan, whole(use.year, use.month, cut, quarters, use.first))
        parts.append(now - before)
        before = now
    assert Money.total(parts, "EUR") == bill(plan, replace(use, days=end))


@given(plans(), used(), used())
def test_more_use_never_costs_less(plan: PricePlan, use: Use, other: Use) -> None:
    quarters = tuple(
        Quarter(one.begins_at, one.calls + 1, one.bytes + 10, one.units + 1) for one in use.quarters
    )
    more = whole(use.year, use.month, use.days, quarters, use.first)
    assert total(rate(plan, more)) >= total(rate(plan, use))
    assert bill(plan, more) >= bill(plan, use) - Money(len(rate(plan, use)) + 1, "EUR")
    longer = replace(use, days=use.days_in_month)
    assert total(rate(plan, longer)) >= total(rate(plan, use))


@given(plans(), used(), some.sampled_from(["EUR", "JPY", "KWD"]))
def test_a_month_never_comes_to_a_cent_less_than_its_minimum(
    plan: PricePlan, use: Use, currency: str
) -> None:
    if plan.minimum is None:
        return
    charges = rate(plan, use)
    lines = round_lines(charges, currency)
    month = Money.total(
        (money for line, money in zip(charges, lines, strict=True) if line.what != What.ONE_TIME),
        currency,
    )
    share = Fraction(use.days, use.days_in_month)
    assert month >= Money.of(Fraction(plan.minimum) * share, currency)
    assert all(money.minor >= 0 for money in lines)


def test_each_line_is_rounded_once_and_the_minimum_takes_up_the_rest() -> None:
    plan = PricePlan.parse(
        {
            "per_call": "0.0004",
            "per_unit": {"unit": "told", "price": "0.0004"},
            "minimum": "10",
        }
    )
    charges = rate(plan, Use(2026, 11, 30, calls=10, units=10))
    # 0.004 and 0.004 are nothing each, and 9.992 would be 9.99.
    assert [money.figure for money in round_lines(charges, "EUR")] == ["0.00", "0.00", "10.00"]


def test_lines_can_be_read() -> None:
    plan = PricePlan.parse(
        {
            "recurring": {"price": "49", "every": "month"},
            "per_call": [{"up_to": 10, "price": "1"}, {"up_to": 20, "price": "2"}, {"price": "3"}],
            "time_of_use": {
                "per": "told",
                "time_zone": "UTC",
                "rules": [{"days": ["sunday"], "from": "08:00", "price": "1"}],
                "otherwise": "2",
            },
        }
    )
    sunday = datetime(2026, 11, 22, 9, tzinfo=UTC)
    quarters = (Quarter(sunday, 15, 0, 4), Quarter(sunday + timedelta(days=1), 10, 0, 1))
    charges = rate(plan, whole(2026, 11, 15, quarters))
    assert [(charge.key, charge.text, charge.quantity, charge.unit) for charge in charges] == [
        ("recurring", "Each month, for 15 of 30 days", Fraction(1, 2), "month"),
        ("call.0", "Calls up to 10", 10, "call"),
        ("call.1", "Calls above 10 up to 20", 10, "call"),
        ("call.2", "Calls above 20", 5, "call"),
        ("time.0", "Units, sunday from 08:00 until 00:00", 4, "unit"),
        ("time.otherwise", "Units, at other times", 1, "unit"),
    ]


def test_a_price_that_is_due_once_is_due_in_the_first_month() -> None:
    plan = PricePlan.parse({"one_time": "25", "per_call": "1", "minimum": "10"})
    assert [c.key for c in rate(plan, Use(2026, 11, 0, first=True))] == ["one-time"]
    assert bill(plan, Use(2026, 11, 30, first=True)).figure == "35.00"
    assert bill(plan, Use(2026, 12, 31)).figure == "10.00"


def test_a_year_comes_to_its_price_and_a_leap_year_too() -> None:
    plan = PricePlan.parse({"recurring": {"price": "1000", "every": "year"}})
    for year in (2026, 2028):
        months = (Use(year, month, monthrange(year, month)[1]) for month in range(1, 13))
        assert sum(total(rate(plan, use)) for use in months) == 1000


@pytest.mark.parametrize(
    ("begins", "ends", "days"),
    [
        ("2026-10-05T12:00:00+00:00", None, 30),
        ("2026-11-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00", 30),
        ("2026-11-11T08:00:00+00:00", None, 20),
        ("2026-11-11T08:00:00+00:00", "2026-11-11T09:00:00+00:00", 0),
        ("2026-10-01T00:00:00+00:00", "2026-11-11T08:00:00+00:00", 10),
        ("2026-10-01T00:00:00+00:00", "2026-10-11T08:00:00+00:00", 0),
        ("2026-12-01T00:00:00+00:00", None, 0),
        # Days are those of UTC, whatever the offset in which a time is told.
        ("2026-11-11T01:00:00+02:00", None, 21),
    ],
)
def test_a_day_is_paid_by_whose_contract_is_in_force_at_its_end(
    begins: str, ends: str | None, days: int
) -> None:
    found = days_in_force(
        datetime.fromisoformat(begins),
        None if ends is None else datetime.fromisoformat(ends),
        date(2026, 11, 1),
        date(2026, 12, 1),
    )
    assert found == days


@given(some.integers(0, 60 * 24 * 50).map(lambda minutes: OCTOBER + timedelta(minutes=minutes)))
def test_where_one_contract_takes_the_place_of_another_each_day_is_paid_once(
    at: datetime,
) -> None:
    begins = datetime(2026, 10, 1, tzinfo=UTC)
    first, behind = date(2026, 11, 1), date(2026, 12, 1)
    assert days_in_force(begins, at, first, behind) + days_in_force(at, None, first, behind) == 30
