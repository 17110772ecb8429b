"""The second opinion is itself held to the specification's own examples and to its invariants."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.independent.who_owes_whom import (
    Json,
    Period,
    half_up,
    multilateral,
    net_positions,
    price,
    price_and_vat,
    settle,
    statement,
    unpaid,
)

DAY = Path(__file__).parents[2] / "examples" / "roaming_day"
EXPECTED = Path(__file__).with_name("expected_day.json")
PARIS = ZoneInfo("Europe/Paris")


@pytest.fixture(scope="module")
def day() -> dict[str, Any]:
    return settle(DAY)


# The shipped day


def test_the_statement_of_the_shipped_day_is_the_one_on_record(day: dict[str, Any]) -> None:
    assert day == json.loads(EXPECTED.read_text(encoding="utf-8"))


def test_every_charge_of_the_day_is_in_exactly_one_bucket(day: dict[str, Any]) -> None:
    lines = (DAY / "charges.jsonl").read_text(encoding="utf-8").splitlines()
    assert day["charges"] == len(lines) == 2184
    assert day["charges"] == (
        day["duplicates"] + sum(day["refused"].values()) + sum(day["cdrs"].values())
    )
    assert sum(row["cdrs"] for row in day["gross"]) == day["cdrs"]["accepted"]


def test_the_day_has_each_kind_of_refusal_that_its_rule_promises(day: dict[str, Any]) -> None:
    assert set(day["refused"]) == {"unknown-contract", "no-roaming-agreement", "contract-blocked"}


def test_all_positions_of_the_day_sum_to_zero_and_are_what_the_gross_rows_say(
    day: dict[str, Any],
) -> None:
    positions = amounts(day["positions"])
    assert sum(positions.values()) == 0
    from_gross: Counter[str] = Counter()
    for row in day["gross"]:
        from_gross[row["creditor"]] += cents(row["amount"])
        from_gross[row["debtor"]] -= cents(row["amount"])
    assert {party: amount for party, amount in from_gross.items() if amount} == {
        party: amount for party, amount in positions.items() if amount
    }


@pytest.mark.parametrize("way", ["bilateral", "cycles", "multilateral"])
def test_the_payments_of_the_day_clear_every_position(day: dict[str, Any], way: str) -> None:
    payments = [(row["payer"], row["payee"], cents(row["amount"])) for row in day[way]]
    assert all(amount > 0 for _, _, amount in payments)
    assert len({frozenset(pair[:2]) for pair in payments}) == len(payments)
    assert unpaid(amounts(day["positions"]), payments) == {}


def test_netting_makes_fewer_payments_of_less_money(day: dict[str, Any]) -> None:
    paid = [sum(cents(row["amount"]) for row in day[way]) for way in WAYS]
    rows = [len(day[way]) for way in WAYS]
    assert paid == sorted(paid, reverse=True)
    assert rows == sorted(rows, reverse=True)
    assert paid[3] < paid[2] < paid[1] < paid[0]


def test_where_circles_are_cancelled_nobody_pays_whom_it_does_not_owe(day: dict[str, Any]) -> None:
    debts = {(row["debtor"], row["creditor"]): cents(row["amount"]) for row in day["gross"]}
    for row in day["cycles"]:
        assert cents(row["amount"]) <= debts[row["payer"], row["payee"]]


def test_some_parties_of_the_day_owe_each_other_both_ways(day: dict[str, Any]) -> None:
    pairs = {(row["debtor"], row["creditor"]) for row in day["gross"]}
    assert any((creditor, debtor) in pairs for debtor, creditor in pairs)


WAYS = ("gross", "bilateral", "cycles", "multilateral")


def cents(amount: str) -> int:
    return int(Decimal(amount) * 100)


def amounts(rows: list[dict[str, str]]) -> dict[str, int]:
    return {row["party"]: cents(row["amount"]) for row in rows}


# Prices: the examples of OCPI 2.2.1, mod_tariffs and mod_cdrs


def part(kind: str, price_per_unit: str, step_size: int = 1) -> dict[str, Any]:
    return {"type": kind, "price": Decimal(price_per_unit), "step_size": step_size}


def element(*parts: dict[str, Any], **restrictions: object) -> dict[str, Any]:
    return {"price_components": list(parts), "restrictions": restrictions or None}


def tariff(*elements: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"elements": list(elements), **more}


def course(start: str, *stretches: tuple[float, str] | tuple[float, str, bool]) -> list[Period]:
    """A charge from `start` (local) on: stretches of minutes, kWh and whether only parked."""
    now = datetime.fromisoformat(start).replace(tzinfo=PARIS)
    periods = []
    for minutes, kwh, *parking in stretches:
        end = now + timedelta(minutes=minutes)
        periods.append(Period(now, end, Fraction(kwh) * 1000, bool(parking and parking[0])))
        now = end
    return periods


def euros(rules: Json, periods: list[Period]) -> str:
    cent = half_up(price(rules, periods, PARIS) * 100)
    return f"{Decimal(cent) / 100:.2f}"


QUARTER = part("ENERGY", "0.25")
PARKED = True

SWITCHING = tariff(
    element(
        part("TIME", "1.20", 1800),
        part("PARKING_TIME", "1.00", 900),
        start_time="00:00",
        end_time="17:00",
    ),
    element(
        part("TIME", "2.40", 900),
        part("PARKING_TIME", "1.00", 900),
        start_time="17:00",
        end_time="20:00",
    ),
    element(part("TIME", "2.40", 900), start_time="20:00", end_time="00:00"),
)


def spec_examples() -> Iterator[Any]:
    def case(name: str, rules: Json, periods: list[Period], expected: str) -> Any:
        return pytest.param(rules, periods, expected, id=name)

    twenty = course("2024-12-19T10:00", (60, "20"))
    yield case("energy alone", tariff(element(QUARTER)), twenty, "5.00")
    start_fee = element(part("FLAT", "0.50"), QUARTER)
    yield case("energy and a start fee", tariff(start_fee), twenty, "5.50")
    least = tariff(element(QUARTER), min_price={"excl_vat": "0.50", "incl_vat": "0.55"})
    yield case("below the minimum", least, course("2024-12-19T10:00", (5, "1.9")), "0.50")
    yield case("above the minimum", least, twenty, "5.00")
    most = tariff(start_fee, max_price={"excl_vat": 10, "incl_vat": 11})
    yield case("above the maximum", most, course("2024-12-19T10:00", (60, "50")), "10.00")
    yield case("below the maximum", most, course("2024-12-19T10:00", (60, "30")), "8.00")
    parking = tariff(element(part("FLAT", "0.50"), QUARTER, part("PARKING_TIME", "2.00", 900)))
    forty_minutes = course("2024-12-19T10:00", (60, "20"), (40, "0", PARKED))
    yield case("parking in quarters of an hour", parking, forty_minutes, "7.00")
    by_hour = tariff(element(part("TIME", "2.00", 60)))
    yield case("time alone", by_hour, course("2024-12-19T10:00", (150, "20")), "5.00")
    dear = tariff(element(part("TIME", "3.00", 60), part("PARKING_TIME", "5.00", 300)))
    stay = course("2024-12-19T10:00", (150, "20"), (42, "0", PARKED))
    yield case("parking dearer than time", dear, stay, "11.25")
    tenths = tariff(element(part("FLAT", "0.50"), part("ENERGY", "0.25", 100)))
    # 0.50 + 20.5 kWh x 0.25 = 5.625, half up.
    yield case("energy by 100 Wh", tenths, course("2024-12-19T10:00", (60, "20.45")), "5.63")

    first = course("2024-12-19T16:55", (10, "1"), (2, "0", PARKED))
    yield case("another element, then parking", SWITCHING, first, "0.55")
    second = course("2024-12-19T16:35", (35, "5"))
    yield case("another element, same total of time", SWITCHING, second, "1.30")
    third = course("2024-12-19T19:40", (12, "1"), (20, "0", PARKED))
    yield case("parking becomes free at eight", SWITCHING, third, "0.73")

    supermarket = tariff(
        element(part("ENERGY", "0.00"), max_duration=1800),
        element(part("ENERGY", "0.25"), max_duration=3600),
        element(part("ENERGY", "0.40")),
    )
    shopping = course("2024-12-19T10:00", (30, "5"), (10, "1.2"))
    yield case("free for half an hour", supermarket, shopping, "0.30")
    by_power = tariff(
        element(part("ENERGY", "0.20"), max_power=16),
        element(part("ENERGY", "0.35"), max_power=32),
        element(part("ENERGY", "0.50")),
    )
    changing = course("2024-12-19T10:00", (10, "1"), (50, "40"), (7.5, "0.5"))
    yield case("dearer with more power", by_power, changing, "20.30")

    evening = tariff(
        element(part("ENERGY", "0.20", 500), end_time="17:00"),
        element(part("ENERGY", "0.27", 500), start_time="17:00"),
    )
    # 4.3 kWh x 0.20 + (1.1 + 0.1) kWh x 0.27 = 0.86 + 0.324
    yield case(
        "energy steps count once a charge",
        evening,
        course("2024-12-19T16:00", (60, "4.3"), (60, "1.1")),
        "1.18",
    )
    by_time = tariff(
        element(part("TIME", "5", 600), end_time="17:00"),
        element(part("TIME", "7", 600), start_time="17:00"),
    )
    # 6 minutes at 5 and 24 at 7 an hour.
    yield case(
        "time steps count once a charge",
        by_time,
        course("2024-12-19T16:54", (28, "5")),
        "3.30",
    )
    both = tariff(element(part("TIME", "1.00", 600), part("PARKING_TIME", "2.00", 600)))
    # 21 minutes at 1 and 20 at 2 an hour = 0.35 + 0.666…
    yield case(
        "only parking is stepped when it comes last",
        both,
        course("2024-12-19T10:00", (21, "5"), (16, "0", PARKED)),
        "1.02",
    )


@pytest.mark.parametrize(("rules", "periods", "expected"), list(spec_examples()))
def test_an_example_of_the_specification_costs_what_it_says(
    rules: Json, periods: list[Period], expected: str
) -> None:
    assert euros(rules, periods) == expected


def test_every_started_watt_hour_step_is_paid() -> None:
    """mod_tariffs, PriceComponent: 115.2 Wh are 116, or one step of 25 or 500."""
    sip = course("2024-12-19T10:00", (1, "0.1152"))
    for step, expected in ((1, "0.029"), (25, "0.03125"), (500, "0.125")):
        rules = tariff(element(part("ENERGY", "0.25", step)))
        assert price(rules, sip, PARIS) == Fraction(expected)


# Prices: by hand


def test_energy_is_shared_by_time_where_the_price_changes_in_mid_charge() -> None:
    rules = tariff(
        element(part("ENERGY", "0.40"), start_time="08:00", end_time="22:00"),
        element(part("ENERGY", "0.20")),
    )
    # 40 of 60 minutes before eight: 6 kWh x 0.20 + 3 kWh x 0.40
    assert euros(rules, course("2024-12-19T07:20", (60, "9"))) == "2.40"


def test_the_first_matching_element_hides_the_later_ones_in_its_own_dimension_only() -> None:
    rules = tariff(
        element(part("TIME", "0"), min_duration=0),
        element(part("TIME", "60"), part("ENERGY", "0.50")),
    )
    assert euros(rules, course("2024-12-19T10:00", (60, "10"))) == "5.00"


def test_a_price_that_begins_after_an_hour_counts_from_there() -> None:
    rules = tariff(element(part("TIME", "6"), min_duration=3600), element(part("ENERGY", "0.10")))
    assert euros(rules, course("2024-12-19T10:00", (90, "10"))) == "4.00"


def test_a_boundary_in_energy_cuts_the_charge_where_that_much_has_flowed() -> None:
    rules = tariff(
        element(part("ENERGY", "0"), part("TIME", "0"), max_kwh=2),
        element(part("ENERGY", "1"), part("TIME", "6")),
    )
    # 2 of 8 kWh, thus 15 of 60 minutes, for nothing; then 6 kWh and 45 minutes.
    assert euros(rules, course("2024-12-19T10:00", (60, "8"))) == "10.50"


def test_a_time_band_may_wrap_around_midnight_and_end_with_the_day() -> None:
    night = tariff(element(part("ENERGY", "1"), start_time="22:00", end_time="06:00"))
    assert euros(night, course("2024-12-19T21:00", (120, "2"))) == "1.00"
    assert euros(night, course("2024-12-20T05:00", (120, "2"))) == "1.00"
    evening = tariff(element(part("ENERGY", "1"), start_time="22:00", end_time="00:00"))
    assert euros(evening, course("2024-12-19T23:00", (120, "2"))) == "1.00"


def test_dates_and_weekdays_are_those_of_the_place() -> None:
    new_year = tariff(element(part("ENERGY", "1"), start_date="2025-01-01"))
    over_midnight = course("2024-12-31T23:00", (120, "2"))
    assert euros(new_year, over_midnight) == "1.00"
    old_year = tariff(element(part("ENERGY", "1"), end_date="2025-01-01"))
    assert euros(old_year, over_midnight) == "1.00"
    wednesday = tariff(element(part("ENERGY", "1"), day_of_week=["WEDNESDAY"]))
    assert euros(wednesday, over_midnight) == "1.00"


def test_the_hour_that_comes_twice_in_autumn_counts_twice() -> None:
    rules = tariff(element(part("TIME", "1"), start_time="02:00", end_time="03:00"))
    start = datetime.fromisoformat("2024-10-27T01:00:00+02:00")
    end = datetime.fromisoformat("2024-10-27T04:00:00+01:00")
    assert end - start == timedelta(hours=4)
    assert euros(rules, [Period(start, end, Fraction(1000))]) == "2.00"


def test_a_charge_without_length_pays_for_its_energy_and_its_start() -> None:
    rules = tariff(element(part("FLAT", "0.5"), part("TIME", "9"), part("ENERGY", "0.3")))
    assert euros(rules, course("2024-12-19T10:00", (0, "0.4"))) == "0.62"


def test_the_total_is_rounded_once_and_vat_is_taken_of_the_rounded_total() -> None:
    half_cent = tariff(element(part("ENERGY", "0.005"), part("TIME", "0.01")))
    agreement = {"tariff": half_cent, "currency": "EUR", "vat_percent": 20}
    # Half a cent and half a cent are one cent, not two; 20 % of 0.01 is nothing.
    assert price_and_vat(agreement, course("2024-12-19T10:00", (30, "1")), PARIS) == (1, 0)
    # 2.5 cents are 3; 20 % of 3 is 0.6, so 1 (of 2.5 it would be 0.5).
    assert price_and_vat(agreement, course("2024-12-19T10:00", (0, "5")), PARIS) == (3, 1)


# A small day of its own: reasons, duplicates, dirt


def test_the_first_reason_of_the_order_is_given_and_doubles_count_once(tmp_path: Path) -> None:
    write_small_day(tmp_path)
    got = settle(tmp_path)
    assert got["charges"] == 9
    assert got["duplicates"] == 1
    assert got["refused"] == {
        "contract-blocked": 1,
        "evse-unknown": 2,
        "no-roaming-agreement": 2,
        "unknown-contract": 1,
    }
    assert got["cdrs"] == {"accepted": 1, "rejected": 1}
    assert (got["accepted"], got["energy_wh"]) == (2, 10_001)
    assert got["gross"] == [
        {
            "debtor": "DE*XNF",
            "creditor": "FR*AAA",
            "currency": "EUR",
            "amount": "5.00",
            "vat": "1.00",
            "cdrs": 1,
        }
    ]
    assert got["bilateral"] == got["cycles"] == got["multilateral"]
    assert got["multilateral"] == [
        {"payer": "DE*XNF", "payee": "FR*AAA", "currency": "EUR", "amount": "5.00"}
    ]


def write_small_day(folder: Path) -> None:
    evses = "nom_station,id_pdc_itinerance\n,FRAAAE1\n,fr*bbb*e2 \n,FRAAAP3\n"
    (folder / "evses.csv").write_text(evses, encoding="utf-8")
    good = {"contract_id": "DEXNFC000000010", "token_uid": "AA", "evsp": "DE*XNF"}
    customers = [
        {**good, "status": "active"},
        {**good, "token_uid": "BB", "status": "blocked"},
    ]
    agreement = {
        "operator": "FR*AAA",
        "evsp": "DE*XNF",
        "currency": "EUR",
        "tariff": tariff(element({"type": "ENERGY", "price": 0.5, "step_size": 1})),
        "vat_percent": 20,
        "valid_from": "2024-01-01T00:00:00+01:00",
        "valid_until": "2024-12-19T12:00:00+01:00",
        "time_zone": "Europe/Paris",
    }
    write_lines(folder / "customers.jsonl", customers)
    (folder / "agreements.json").write_text(json.dumps([agreement]), encoding="utf-8")
    charge = {
        "evse_id": "FR*AAA*E1",
        "token_uid": "aa",
        "start": "2024-12-19T10:00:00+01:00",
        "end": "2024-12-19T11:00:00+01:00",
        "energy_kwh": 10.0005,
    }
    write_lines(
        folder / "charges.jsonl",
        [
            charge,
            {**charge, "evse_id": "FRAAAE1", "start": "2024-12-19T09:00:00Z"},
            {**charge, "end": "2024-12-19T09:59:59+01:00"},
            {**charge, "evse_id": "FRAAAE9"},
            {**charge, "evse_id": "FRAAAP3"},
            {**charge, "token_uid": "CC", "evse_id": "FRBBBE2"},
            {**charge, "token_uid": "BB", "evse_id": "FRBBBE2"},
            {**charge, "token_uid": "BB"},
            {**charge, "start": "2024-12-19T12:00:00+01:00", "end": "2024-12-19T13:00:00+01:00"},
        ],
    )


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


# Clearing by hand


def test_a_debt_and_its_counter_debt_become_one_payment_and_a_circle_none() -> None:
    circle = {
        ("A", "B", "EUR"): (1000, 200, 1),
        ("B", "C", "EUR"): (1000, 200, 2),
        ("C", "A", "EUR"): (1000, 200, 1),
        ("B", "A", "EUR"): (250, 50, 1),
    }
    cleared = statement(circle)
    assert [(row["payer"], row["payee"], row["amount"]) for row in cleared["bilateral"]] == [
        ("A", "B", "7.50"),
        ("B", "C", "10.00"),
        ("C", "A", "10.00"),
    ]
    # The whole circle goes, and what B owes A stays; with that set off first, two would pay.
    assert [(row["payer"], row["payee"], row["amount"]) for row in cleared["cycles"]] == [
        ("B", "A", "2.50")
    ]
    assert net_positions(circle, "EUR") == {"A": 250, "B": -250, "C": 0}
    assert [(row["payer"], row["payee"], row["amount"]) for row in cleared["multilateral"]] == [
        ("B", "A", "2.50")
    ]


def test_the_fewest_payments_are_found_where_paying_the_largest_first_needs_one_more() -> None:
    # Two sets that sum to zero: {-10, 4, 6} and {-9, 7, 2}, so 4 payments. Pairing the largest
    # debtor with the largest creditor first needs 5.
    positions = {"A": -10, "B": -9, "C": 7, "D": 6, "E": 4, "F": 2}
    payments = multilateral(positions)
    assert len(payments) == 4
    assert unpaid(positions, payments) == {}


def test_currencies_are_never_netted_against_each_other() -> None:
    cleared = statement({("A", "B", "EUR"): (500, 100, 1), ("B", "A", "CHF"): (500, 40, 1)})
    assert {(row["payer"], row["currency"]) for row in cleared["multilateral"]} == {
        ("A", "EUR"),
        ("B", "CHF"),
    }
