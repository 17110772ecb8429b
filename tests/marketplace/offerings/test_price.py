"""Price plans: read, refused by the path of what is wrong, and written back alike."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.offerings.model import ServiceTerms
from marketplace.offerings.price import PricePlan, TimeOfUse
from marketplace.offerings.reading import BadTerms
from tests.marketplace.offerings.plans import plans

BY_TIME: dict[str, Any] = {
    "time_zone": "Europe/Paris",
    "rules": [{"from": "22:00", "until": "06:00", "price": "0.5"}],
    "otherwise": "1",
}


@given(plans())
def test_a_plan_comes_back_as_it_was_written(plan: PricePlan) -> None:
    assert PricePlan.parse(plan.to_json()) == plan


def test_equal_plans_are_one_text() -> None:
    one = PricePlan.parse({"per_call": "0.50", "minimum": "010.000000"})
    other = PricePlan.parse({"minimum": "10", "per_call": [{"price": "00.5"}]})
    assert list(one.to_json().items()) == list(other.to_json().items())
    assert one.to_json() == {"per_call": "0.5", "minimum": "10"}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ([], ""),
        ({}, ""),
        ({"per_hour": "1"}, ".per_hour"),
        ({"one_time": 25}, ".one_time"),
        ({"one_time": "-1"}, ".one_time"),
        ({"one_time": "0.0000001"}, ".one_time"),
        ({"one_time": "1e3"}, ".one_time"),
        ({"one_time": "1000000000"}, ".one_time"),
        ({"one_time": "\u0661"}, ".one_time"),
        ({"one_time": None}, ".one_time"),
        ({"recurring": "49"}, ".recurring"),
        ({"recurring": {"price": "49", "every": "week"}}, ".recurring.every"),
        ({"recurring": {"price": "49", "every": ["month"]}}, ".recurring.every"),
        ({"recurring": {"every": "month"}}, ".recurring.price"),
        ({"per_call": 0.005}, ".per_call"),
        ({"per_call": []}, ".per_call"),
        ({"per_call": ["1"]}, ".per_call.0"),
        ({"per_call": [{"up_to": 5, "price": "1"}]}, ".per_call.0.up_to"),
        ({"per_call": [{"price": "1"}, {"price": "2"}]}, ".per_call.0.up_to"),
        (
            {"per_call": [{"up_to": 5, "price": "1"}, {"up_to": 5, "price": "1"}, {"price": "2"}]},
            ".per_call.1.up_to",
        ),
        ({"per_unit": {"unit": "call", "price": "1"}}, ".per_unit.unit"),
        ({"per_unit": {"unit": "told"}}, ".per_unit.price"),
        ({"per_call": "1", "time_of_use": BY_TIME}, ".time_of_use.per"),
        (
            {
                "per_unit": {"unit": "told", "price": "1"},
                "time_of_use": BY_TIME | {"per": "kilobyte"},
            },
            ".time_of_use.per",
        ),
        ({"time_of_use": BY_TIME | {"per": "hour"}}, ".time_of_use.per"),
        ({"time_of_use": BY_TIME | {"time_zone": "Paris"}}, ".time_of_use.time_zone"),
        ({"time_of_use": BY_TIME | {"otherwise": None}}, ".time_of_use.otherwise"),
        ({"time_of_use": BY_TIME | {"rules": []}}, ".time_of_use.rules"),
        ({"minimum": "10"}, ".minimum"),
        ({"minimum": "10", "per_call": "0"}, ".minimum"),
    ],
    ids=str,
)
def test_a_bad_plan_is_refused_by_the_path_of_what_is_wrong(wrong: Any, field: str) -> None:
    with pytest.raises(BadTerms) as refused:
        PricePlan.parse(wrong)
    assert refused.value.field == f"terms.plan{field}"
    assert refused.value.rule


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"on": 1}, "on"),
        ({"days": []}, "days"),
        ({"days": ["caturday"]}, "days"),
        ({"days": [["monday"]]}, "days"),
        ({"from": "07:10"}, "from"),
        ({"from": "24:00"}, "from"),
        ({"from": "07:00", "until": "07:00"}, "until"),
    ],
    ids=str,
)
def test_a_bad_rule_of_time_is_refused_by_its_path(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(BadTerms) as refused:
        PricePlan.parse({"time_of_use": BY_TIME | {"rules": [{"price": "1", **wrong}]}})
    assert refused.value.field == f"terms.plan.time_of_use.rules.0.{field}"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"plan": {"per_call": "1"}}, "terms.currency"),
        (
            {"plan": {"per_call": "1"}, "price_per_call_minor": 1, "currency": "EUR"},
            "terms.price_per_call_minor",
        ),
        ({"plan": {"per_call": "1"}, "pack": {"calls": 5}, "currency": "EUR"}, "terms.plan"),
        ({"plan": "free"}, "terms.plan"),
    ],
    ids=str,
)
def test_terms_say_a_price_once_and_in_a_currency(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(BadTerms) as refused:
        ServiceTerms.parse(wrong)
    assert refused.value.field == field


def test_a_fixed_price_goes_with_packs() -> None:
    terms = ServiceTerms.parse(
        {"plan": {"recurring": {"price": "5", "every": "year"}}, "pack": {"calls": 5}}
        | {"currency": "EUR"}
    )
    assert ServiceTerms.parse(terms.to_json()) == terms
    assert terms.prices is not None
    assert not terms.prices.priced


def test_terms_without_a_plan_are_the_texts_that_they_were() -> None:
    assert "plan" not in ServiceTerms.parse({}).to_json()
    assert ServiceTerms.parse({"plan": None}) == ServiceTerms.parse({})
    assert ServiceTerms.parse({}).prices is None


@pytest.mark.parametrize(("currency", "price"), [("EUR", "0.05"), ("JPY", "5"), ("KWD", "0.005")])
def test_the_simple_way_is_a_plan_too(currency: str, price: str) -> None:
    terms = ServiceTerms.parse({"price_per_call_minor": 5, "currency": currency})
    assert terms.prices == PricePlan.parse({"per_call": price})


@pytest.mark.parametrize(
    ("plan", "priced"),
    [
        ({"recurring": {"price": "5", "every": "month"}}, False),
        ({"one_time": "5"}, False),
        ({"per_call": "0"}, False),
        ({"per_call": [{"up_to": 5, "price": "0"}, {"price": "0.000001"}]}, True),
        ({"per_unit": {"unit": "told", "price": "1"}}, True),
        ({"time_of_use": BY_TIME | {"otherwise": "0"}}, True),
    ],
    ids=str,
)
def test_calls_are_priced_where_any_of_them_can_cost_something(plan: Any, priced: bool) -> None:
    assert PricePlan.parse(plan).priced is priced


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"per_unit": {"unit": "told", "price": "1"}}, True),
        ({"per_unit": {"unit": "kilobyte", "price": "1"}}, False),
        ({"time_of_use": BY_TIME | {"per": "told"}}, True),
        ({"time_of_use": BY_TIME}, False),
        ({"per_call": "1"}, False),
    ],
    ids=str,
)
def test_units_are_told_where_a_plan_asks_for_them(plan: Any, told: bool) -> None:
    assert PricePlan.parse(plan).units_told is told


@pytest.mark.parametrize(
    ("moment", "covered"),
    [
        ("2026-01-10T20:45:00+00:00", False),  # 21:45 in Paris
        ("2026-01-10T21:00:00+00:00", True),  # 22:00
        ("2026-01-11T04:45:00+00:00", True),  # 05:45
        ("2026-01-11T05:00:00+00:00", False),  # 06:00
        ("2026-07-10T20:00:00+00:00", True),  # 22:00 in summer time
        # The night in which clocks go forward, and that in which they go back.
        ("2026-03-29T00:45:00+00:00", True),
        ("2026-03-29T03:45:00+00:00", True),  # 05:45 in summer time already
        ("2026-03-29T04:00:00+00:00", False),
        ("2026-10-25T00:30:00+00:00", True),  # 02:30
        ("2026-10-25T01:30:00+00:00", True),  # 02:30 once more
        ("2026-10-25T04:45:00+00:00", True),  # 05:45 in winter time
    ],
)
def test_a_night_goes_past_midnight_by_the_clock_of_its_place(moment: str, covered: bool) -> None:
    tariff = PricePlan.parse({"time_of_use": BY_TIME}).time_of_use
    assert isinstance(tariff, TimeOfUse)
    at = datetime.fromisoformat(moment).astimezone(UTC)
    assert (tariff.band(at) == 0) is covered


def test_the_first_rule_that_covers_a_moment_counts() -> None:
    tariff = PricePlan.parse(
        {
            "time_of_use": BY_TIME
            | {
                "rules": [
                    {"days": ["sunday"], "price": "0.1"},
                    {"from": "08:00", "until": "12:00", "price": "2"},
                ]
            }
        }
    ).time_of_use
    assert tariff is not None
    sunday, monday = datetime(2026, 11, 22, 9, tzinfo=UTC), datetime(2026, 11, 23, 9, tzinfo=UTC)
    evening = monday.replace(hour=20)
    assert [tariff.band(at) for at in (sunday, monday, evening)] == [0, 1, 2]


@given(st.lists(st.decimals(0, 1000, places=2), min_size=1, max_size=6))
def test_a_chain_of_contracts_asks_the_highest_of_its_one_time_prices_once(
    asked: list[Decimal],
) -> None:
    due = [
        PricePlan(one_time=one).after(max(asked[:place], default=Decimal(0))).one_time
        for place, one in enumerate(asked)
    ]
    assert sum(one or 0 for one in due) == max(asked)
    assert all(one is None or one >= 0 for one in due)


def test_nothing_but_the_one_time_price_is_less_for_what_was_asked_before() -> None:
    plan = PricePlan.parse({"one_time": "25", "per_call": "1", "minimum": "10"})
    assert plan.after(Decimal(30)) == PricePlan.parse({"per_call": "1", "minimum": "10"})
    assert plan.after(Decimal(0)) is plan
