"""Money by the day, and levels kept or broken: by example and by law."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.reports.model import (
    DAY,
    Amount,
    BadQuestion,
    Counts,
    Every,
    Level,
    Measure,
    Question,
    Spending,
    UsedOn,
    amounts,
    by_price,
    checked,
    compare,
    money,
    months,
)
from marketplace.offerings.price import PricePlan
from marketplace.offerings.rating import Quarter, Use, days_in_force, rate, round_lines
from roaming.party import PartyId
from tests.gateway.reports.samples import MAY, OPERATOR, PROVIDER, STRANGER, agreed
from tests.marketplace.offerings.plans import plans, used, whole

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def spending(use: Use) -> Spending:
    """The same use, day by day."""
    daily = [UsedOn(one.begins_at.date(), one.calls, one.bytes, one.units) for one in use.quarters]
    return Spending(daily, use.quarters)


def billed(plan: PricePlan, use: Use) -> int:
    return sum(line.minor for line in round_lines(rate(plan, use), "EUR"))


@given(plans(), used(), some.integers(0, 400))
def test_days_months_and_the_whole_come_to_the_bill_of_the_month(
    plan: PricePlan, use: Use, begins: int
) -> None:
    """Whatever the plan, and on whatever day the contract begins."""
    agreement = replace(agreed(), plan=plan, begins_at=BEGIN + begins * DAY)
    first = date(use.year, use.month, 1)
    last = first.replace(day=monthrange(use.year, use.month)[1])
    begun = agreement.begins_at.date()
    bill = whole(
        use.year,
        use.month,
        days_in_force(agreement.begins_at, None, first, last + DAY),
        tuple(use.quarters),
        first=first <= begun <= last,
    )
    for every in Every:
        told = money(agreement, spending(use), Question(OPERATOR, first, last, every=every))
        assert sum(told.values()) == billed(plan, bill), every


@given(plans(), used(), some.data())
def test_a_time_that_is_told_in_parts_comes_to_the_same(
    plan: PricePlan, use: Use, data: some.DataObject
) -> None:
    agreement = replace(agreed(), plan=plan, begins_at=BEGIN)
    first = date(use.year, use.month, 1)
    asked = Question(OPERATOR, first, first + 40 * DAY)
    cut = data.draw(some.integers(0, 39))
    parts = [
        replace(asked, last=first + cut * DAY),
        replace(asked, first=first + (cut + 1) * DAY),
    ]
    spent = spending(use)
    told = [money(agreement, spent, part) for part in parts]
    assert {**told[0], **told[1]} == money(agreement, spent, asked)


def daily(plan: dict[str, Any], *counts: tuple[int, int], **changes: Any) -> dict[int, int]:
    agreement = agreed(plan=plan, **changes)
    spent = Spending([UsedOn(date(2026, 5, day), calls) for day, calls in counts])
    told = money(agreement, spent, replace(MAY, last=date(2026, 5, 4)))
    return {day.day: minor for day, minor in told.items()}


@pytest.mark.parametrize(
    ("plan", "counts", "told"),
    [
        ({"per_call": "0.01"}, [(1, 10), (3, 5)], {1: 10, 3: 5}),
        # Half a cent each day: the cent is told on the day on which the month comes to it.
        ({"per_call": "0.005"}, [(1, 1), (2, 1), (3, 1), (4, 1)], {1: 1, 3: 1}),
        # The second step is reached on the third day.
        (
            {"per_call": [{"up_to": 10, "price": "1"}, {"price": "0.1"}]},
            [(1, 6), (3, 6)],
            {1: 600, 3: 420},
        ),
        ({"recurring": {"price": "31", "every": "month"}}, [], {1: 100, 2: 100, 3: 100, 4: 100}),
        # While the minimum is not reached, each day costs its part of it.
        ({"per_call": "1", "minimum": "31"}, [(3, 10)], {1: 100, 2: 100, 3: 800}),
    ],
    ids=str,
)
def test_a_day_costs_what_its_month_came_to_behind_it_less_what_it_came_to_before(
    plan: dict[str, Any], counts: list[tuple[int, int]], told: dict[int, int]
) -> None:
    assert daily(plan, *counts) == told


def test_a_contract_costs_nothing_before_it_begins_and_after_it_has_ended() -> None:
    plan: dict[str, Any] = {"one_time": "5", "recurring": {"price": "31", "every": "month"}}
    begins = datetime(2026, 5, 2, 10, tzinfo=UTC)
    ends = datetime(2026, 5, 4, 10, tzinfo=UTC)
    assert daily(plan, begins_at=begins, ends_at=ends) == {2: 600, 3: 100}


def test_what_ended_before_it_began_costs_nothing_as_on_a_bill() -> None:
    begins = datetime(2026, 5, 2, 10, tzinfo=UTC)
    assert daily({"one_time": "5"}, begins_at=begins, ends_at=begins) == {}


def test_a_day_of_quarters_is_rated_by_its_prices_and_costs_the_same() -> None:
    rule = {"from": "07:00", "until": "19:00", "price": "0.02"}
    times = {"time_zone": "Europe/Paris", "rules": [rule], "otherwise": "0.01"}
    plan = PricePlan.parse({"time_of_use": times})
    assert plan.time_of_use is not None
    begins = datetime(2026, 5, 1, tzinfo=UTC)
    quarters = [Quarter(begins + n * DAY / 96, n, n * 7, n % 3) for n in range(2 * 96)]
    merged = by_price(plan.time_of_use, quarters)
    assert len(merged) == 2 * 2
    told, expected = (rate(plan, Use(2026, 5, 31, quarters=use)) for use in (merged, quarters))
    assert told == expected
    days_told = money(replace(agreed(), plan=plan), Spending(quarters=quarters), MAY)
    assert days_told == {date(2026, 5, 1): 6_648, date(2026, 5, 2): 20_472}


def test_packs_cost_when_they_are_bought() -> None:
    bought = Spending(packs=[(date(2026, 5, 2), 1999), (date(2026, 6, 2), 1)])
    told = money(agreed(plan=None), bought, MAY)
    assert told == {date(2026, 5, 2): 1999}


def test_a_party_is_owed_what_it_provides_and_owes_what_it_requests() -> None:
    costs = [
        (agreed("C-1"), 100),
        (agreed("C-2", provider=OPERATOR, requester=STRANGER), 7),
        (agreed("C-3", currency="CHF"), 1),
    ]
    told: dict[PartyId | None, Sequence[Amount]] = {
        OPERATOR: [Amount("CHF", 0, 1), Amount("EUR", 7, 100)],
        PROVIDER: [Amount("CHF", 1, 0), Amount("EUR", 100, 0)],
        None: [Amount("CHF", 1, 1), Amount("EUR", 107, 107)],
    }
    for party, expected in told.items():
        assert list(amounts(party, costs)) == expected


def test_what_was_agreed_stands_beside_what_was_measured() -> None:
    level = Level(availability_percent=99.5, p95_ms=200, error_share_percent=0.5)
    counts = Counts(calls=1000, provider_errors=6, p95_us=150_000)
    found = compare(level, counts)
    assert [(one.measure, one.agreed, one.measured) for one in found] == [
        (Measure.AVAILABILITY, 99.5, 99.4),
        (Measure.P95, 200, 150.0),
        (Measure.ERROR_SHARE, 0.5, 0.6),
    ]
    assert [one.by for one in found] == pytest.approx([-0.1, 50.0, -0.1])
    assert [one.kept for one in compare(level, counts)] == [False, True, False]


def test_a_level_that_is_met_exactly_is_kept_and_one_that_nobody_tried_is_none() -> None:
    level = Level(error_share_percent=0.5)
    assert [one.kept for one in compare(level, Counts(calls=200, provider_errors=1))] == [True]
    assert compare(level, Counts()) == ()
    assert compare(Level(), Counts(calls=1, p95_us=1)) == ()


@pytest.mark.parametrize(
    ("first", "last", "field"),
    [
        (date(2026, 5, 2), date(2026, 5, 1), "last"),
        (date(2024, 5, 1), date(2026, 5, 2), "first"),
    ],
)
def test_a_time_that_cannot_be_told_of_is_refused(first: date, last: date, field: str) -> None:
    with pytest.raises(BadQuestion) as refused:
        checked(replace(MAY, first=first, last=last))
    assert refused.value.field == field
    assert checked(replace(MAY, first=date(2024, 5, 2), last=date(2026, 5, 2)))


def test_months_are_told_by_their_first_days_across_a_year_and_a_leap_day() -> None:
    told = list(months(date(2027, 12, 31), date(2028, 3, 1)))
    assert told == [date(2027, 12, 1), date(2028, 1, 1), date(2028, 2, 1), date(2028, 3, 1)]
