"""What a charge costs: the specification's own examples, laws, and a slow second opinion."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from roaming.charge import Charge, ChargingPeriod
from roaming.money import Money
from roaming.pricing import BadCharge, Price, compile_tariff, price_charge, price_reservation
from roaming.rounding import half_up
from roaming.tariff import (
    DayOfWeek,
    Dimension,
    PriceComponent,
    PriceLimit,
    Restrictions,
    Tariff,
)
from tests.roaming.strategies import GRID_S, ZONES, charges, tariffs

SPEC = Path(__file__).parents[1] / "conformance" / "tariffs"
PARIS = ZoneInfo("Europe/Paris")
MONDAY = datetime(2025, 6, 2, tzinfo=UTC)
SATURDAY = datetime(2025, 6, 7, tzinfo=UTC)


def spec_tariff(name: str) -> Tariff:
    return Tariff.parse(json.loads((SPEC / name / "tariff.json").read_text()))


def tariff_of(*elements: Any, **more: Any) -> Tariff:
    return Tariff.parse({"currency": "EUR", "elements": list(elements), **more})


def element(kind: str, price: str, step: Any = 0, vat: Any = None, **restrictions: Any) -> Any:
    component = {"type": kind, "price": price, "step_size": step, "vat": vat}
    return {"price_components": [component], "restrictions": restrictions}


def at(day: datetime, clock: str) -> datetime:
    return datetime.combine(day.date(), time.fromisoformat(clock), day.tzinfo)


def charge_of(start: datetime, *parts: tuple[Any, ...]) -> Charge:
    """Each part: minutes, Wh, and if need be whether it is parking and the current."""
    periods = []
    end = start
    for minutes, *rest in parts:
        periods.append(ChargingPeriod(end, *rest))
        end += timedelta(minutes=minutes)
    return Charge(start, end, tuple(periods))


def cost(
    tariff: Tariff, charge: Charge, zone: tzinfo = UTC, vat: Decimal | None = Decimal(0)
) -> str:
    return str(price_charge(tariff, charge, time_zone=zone, vat_percent=vat).excl_vat.decimal)


# --- The examples of OCPI 2.2.1 ---

PARKING = True
SPEC_EXAMPLES = [
    # mod_tariffs, Examples: name, tariff, charge, excl. VAT, incl. VAT
    ("simple", "simple_025kwh", charge_of(MONDAY, (60, 20_000)), "5.00", "5.50"),
    ("start fee", "025kwh_start", charge_of(MONDAY, (60, 20_000)), "5.50", "6.10"),
    ("over the minimum", "025kwh_min_price", charge_of(MONDAY, (60, 20_000)), "5.00", "5.50"),
    ("the minimum", "025kwh_min_price", charge_of(MONDAY, (60, 1_999)), "0.50", "0.55"),
    (
        "parking fee",
        "025kwh_parking_start",
        charge_of(MONDAY, (60, 20_000), (40, 0, PARKING)),
        "7.00",
        "7.90",
    ),
    ("the maximum", "025kwh_start_max_price", charge_of(MONDAY, (60, 50_000)), "10.00", "11.00"),
    ("2 an hour", "simple_2hour", charge_of(MONDAY, (150, 0)), "5.00", "5.50"),
    (
        "3 an hour, 5 parking",
        "simple_3hour_5parking",
        charge_of(MONDAY, (150, 0), (42, 0, PARKING)),
        "11.25",
        "12.75",
    ),
    ("languages", "alt_text", charge_of(MONDAY, (150, 0)), "4.75", "5.00"),
    # The text says 5.13 + 0.50, each rounded; rounded once, 5.625 is the same 5.63.
    ("alternative URL", "alt_url", charge_of(MONDAY, (60, 20_450)), "5.63", "6.24"),
    (
        "complex, Monday at 16 A",
        "complex",
        charge_of(at(MONDAY, "09:30"), (165, 0, False, Decimal(16)), (42, 0, PARKING)),
        "9.00",
        "10.30",
    ),
    ("free of charge", "free_of_charge", charge_of(MONDAY, (60, 20_000)), "0.00", "0.00"),
    # mod_tariffs, PriceComponent: the step_size tariff, its three examples
    (
        "step_size, another element #1",
        "step_size",
        charge_of(at(MONDAY, "16:55"), (10, 0), (2, 0, PARKING)),
        "0.55",
        "0.55",
    ),
    (
        "step_size, another element #2",
        "step_size",
        charge_of(at(MONDAY, "16:35"), (35, 0)),
        "1.30",
        "1.30",
    ),
    (
        "step_size, then free",
        "step_size",
        charge_of(at(MONDAY, "19:40"), (12, 0), (20, 0, PARKING)),
        "0.73",
        "0.73",
    ),
    # mod_tariffs, TariffRestrictions
    (
        "max_power",
        "restriction_example_max_power",
        charge_of(MONDAY, (10, 1_000), (50, 40_000), (7.5, 500)),
        "20.30",
        None,
    ),
    (
        "max_duration",
        "restriction_example_max_duration",
        charge_of(MONDAY, (30, 5_000), (10, 1_200)),
        "0.30",
        None,
    ),
]


@pytest.mark.parametrize(
    ("name", "charge", "excl_vat", "incl_vat"),
    [example[1:] for example in SPEC_EXAMPLES],
    ids=[example[0] for example in SPEC_EXAMPLES],
)
def test_the_examples_of_the_specification_cost_what_it_says(
    name: str, charge: Charge, excl_vat: str, incl_vat: str | None
) -> None:
    price = price_charge(spec_tariff(name), charge, time_zone=UTC, vat_percent=None)
    assert price.excl_vat.decimal == Decimal(excl_vat)
    if incl_vat is not None:
        assert price.incl_vat.decimal == Decimal(incl_vat)


@pytest.mark.parametrize(
    ("hourly", "excl_vat", "incl_vat"),
    [
        ("1.20", "12.28", "13.86"),
        ("1.25", "12.38", "13.98"),
    ],
)
def test_the_complex_example_of_a_saturday_holds_for_the_price_it_was_reckoned_with(
    hourly: str, excl_vat: str, incl_vat: str
) -> None:
    """mod_tariffs, Complex Tariff example, Saturday at 43 A.

    The text comes to 12.28 (13.861 with VAT) from "114 minutes, 1.25 per hour, 2.28". But 114
    minutes at 1.25 are 2.375; 2.28 is what they cost at 1.20. The tariff says 1.25.
    """
    raw = json.loads((SPEC / "complex" / "tariff.json").read_text())
    assert raw["elements"][3]["price_components"][0]["price"] == 1.25
    raw["elements"][3]["price_components"][0]["price"] = hourly
    charge = charge_of(at(SATURDAY, "13:30"), (114, 0, False, Decimal(43)), (71, 0, PARKING))
    price = price_charge(Tariff.parse(raw), charge, time_zone=UTC, vat_percent=None)
    assert (str(price.excl_vat.decimal), str(price.incl_vat.decimal)) == (excl_vat, incl_vat)
    assert price.lines[-1].quantity == 75 * 60


@pytest.mark.parametrize(
    ("name", "minutes", "excl_vat", "incl_vat"),
    [
        ("reservation_5_euro_per_hour", 15, "6.75", "7.60"),
        ("reservation_2_euro_fee_5_euro_per_hour", 13, "8.75", "10.00"),
        ("reservation_with_expire_fee", 22, "6.50", "7.30"),
        ("reservation_with_expire_time", 22, "7.00", "7.90"),
    ],
)
def test_a_reservation_is_paid_with_the_charge_that_follows(
    name: str, minutes: int, excl_vat: str, incl_vat: str
) -> None:
    """mod_tariffs, Examples 15 to 18."""
    price = price_charge(
        spec_tariff(name),
        charge_of(MONDAY, (60, 20_000)),
        time_zone=UTC,
        vat_percent=None,
        reserved_from=MONDAY - timedelta(minutes=minutes),
    )
    assert str(price.excl_vat) == f"{excl_vat} EUR"
    assert str(price.incl_vat) == f"{incl_vat} EUR"
    assert {line.dimension for line in price.lines if line.reservation} <= {
        Dimension.FLAT,
        Dimension.TIME,
    }


@pytest.mark.parametrize(
    ("name", "minutes", "excl_vat", "incl_vat"),
    [
        ("reservation_with_expire_fee", 60, "6.00", "7.20"),
        ("reservation_with_expire_time", 90, "9.00", "10.80"),
    ],
)
def test_an_expired_reservation_has_its_own_price(
    name: str, minutes: int, excl_vat: str, incl_vat: str
) -> None:
    """mod_tariffs, Examples 17 and 18, and the note of ReservationRestrictionType."""
    end = MONDAY + timedelta(minutes=minutes)
    price = price_reservation(
        spec_tariff(name), MONDAY, end, expired=True, time_zone=UTC, vat_percent=None
    )
    assert str(price.excl_vat) == f"{excl_vat} EUR"
    assert str(price.incl_vat) == f"{incl_vat} EUR"


def test_a_reservation_costs_nothing_where_no_element_says_so() -> None:
    price = price_reservation(
        spec_tariff("simple_2hour"),
        MONDAY,
        MONDAY + timedelta(hours=1),
        expired=False,
        time_zone=UTC,
        vat_percent=Decimal(20),
    )
    assert (price.incl_vat, price.lines) == (Money(0, "EUR"), ())


def quantities(tariff: Tariff, charge: Charge) -> list[tuple[str, Fraction | int]]:
    price = price_charge(tariff, charge, time_zone=UTC, vat_percent=Decimal(0))
    return [(line.dimension.value, line.quantity) for line in price.lines]


def test_energy_steps_are_counted_on_the_total_not_after_each_change() -> None:
    """mod_cdrs, step_size: 4.3 and 1.1 kWh in steps of 500 Wh are 5.5 kWh."""
    tariff = tariff_of(
        element("ENERGY", "0.20", 500, end_time="17:00"), element("ENERGY", "0.27", 500)
    )
    charge = charge_of(at(MONDAY, "16:00"), (60, 4_300), (60, 1_100))
    assert quantities(tariff, charge) == [("ENERGY", 4_300), ("ENERGY", 1_200)]


def test_time_steps_are_counted_on_the_total_not_after_each_change() -> None:
    """mod_cdrs, step_size: 6 and 22 minutes in steps of 10 are 30, of which 24 at the last."""
    tariff = tariff_of(element("TIME", "5", 600, end_time="17:00"), element("TIME", "7", 600))
    charge = charge_of(at(MONDAY, "16:54"), (28, 0))
    assert quantities(tariff, charge) == [("TIME", 6 * 60), ("TIME", 24 * 60)]


@pytest.mark.parametrize(("charging", "parking", "billed"), [(21, 16, 20), (21, 7, 10)])
def test_charging_time_is_not_stepped_when_parking_follows(
    charging: int, parking: int, billed: int
) -> None:
    """mod_cdrs, step_size: 21 + 16 minutes are 21 + 20; and with steps of 5, 21 + 7 are 21 + 10."""
    step = 600 if billed == 20 else 300
    tariff = tariff_of(element("TIME", "1", step), element("PARKING_TIME", "2", step))
    charge = charge_of(MONDAY, (charging, 0), (parking, 0, PARKING))
    assert quantities(tariff, charge) == [("TIME", 21 * 60), ("PARKING_TIME", billed * 60)]


def test_parking_time_is_not_stepped_when_charging_follows() -> None:
    """mod_tariffs: the step of the last time-based component that was active is the one."""
    tariff = tariff_of(element("TIME", "1", 600), element("PARKING_TIME", "2", 600))
    charge = charge_of(MONDAY, (7, 0, PARKING), (21, 0))
    assert quantities(tariff, charge) == [("PARKING_TIME", 7 * 60), ("TIME", 30 * 60)]


def test_a_last_period_in_which_nothing_passes_does_not_choose_the_step() -> None:
    tariff = tariff_of(
        element("TIME", "1", 600),
        element("PARKING_TIME", "2", 900),
        element("ENERGY", "1", 500, max_duration=20 * 60),
        element("ENERGY", "2", 700),
    )
    charge = charge_of(MONDAY, (20, 1_100), (1, 0), (0, 0, PARKING))
    assert quantities(tariff, charge) == [("TIME", 30 * 60), ("ENERGY", 1_500)]


@pytest.mark.parametrize(
    ("step", "energy_wh", "billed_wh"), [(25, 101, 125), (25, 125, 125), (500, 1, 500), (0, 7, 7)]
)
def test_energy_is_billed_in_whole_steps(step: int, energy_wh: int, billed_wh: int) -> None:
    """mod_tariffs, PriceComponent, note on step_size."""
    tariff = tariff_of(element("ENERGY", "0.25", step))
    assert quantities(tariff, charge_of(MONDAY, (9, energy_wh))) == [("ENERGY", billed_wh)]


# --- Boundaries ---


def test_a_period_is_split_where_the_time_of_day_changes_the_price() -> None:
    tariff = tariff_of(element("ENERGY", "0.50", end_time="17:00"), element("ENERGY", "0.20"))
    assert cost(tariff, charge_of(at(MONDAY, "16:40"), (60, 30_000))) == "9.00"


def test_a_period_is_split_where_its_energy_reaches_a_boundary() -> None:
    tariff = tariff_of(
        element("TIME", "6", max_kwh=10), element("ENERGY", "1", min_kwh="10", max_kwh="12.5")
    )
    charge = charge_of(MONDAY, (90, 30_000))
    price = price_charge(tariff, charge, time_zone=UTC, vat_percent=Decimal(0))
    assert [line.quantity for line in price.lines] == [30 * 60, 2_500]
    assert str(price.excl_vat) == "5.50 EUR"


def test_energy_that_comes_all_at_once_is_split_by_its_boundaries() -> None:
    tariff = tariff_of(element("ENERGY", "1", max_kwh=10), element("ENERGY", "0.1"))
    assert cost(tariff, Charge.whole(MONDAY, MONDAY, 30_000)) == "12.00"


def test_a_charge_of_no_length_is_one_moment() -> None:
    tariff = tariff_of(
        element("FLAT", "3", start_time="10:00", end_time="11:00"),
        element("FLAT", "1"),
        element("TIME", "60", 3600),
        element("ENERGY", "2", 0, max_power=100),
    )
    point = at(MONDAY, "10:00")
    assert cost(tariff, Charge.whole(point, point, 1_000)) == "3.00"
    assert cost(tariff, Charge.whole(at(MONDAY, "11:00"), at(MONDAY, "11:00"), 0)) == "1.00"


def test_a_time_band_may_wrap_around_midnight() -> None:
    night = tariff_of(element("ENERGY", "1", start_time="22:00", end_time="06:00"))
    assert cost(night, charge_of(at(MONDAY, "21:00"), (600, 10_000))) == "8.00"


@pytest.mark.parametrize(
    ("times", "paid"),
    [
        ({"start_time": "00:00", "end_time": "00:00"}, "24.00"),
        ({"start_time": "18:00", "end_time": "00:00"}, "6.00"),
        ({"start_time": "18:00"}, "6.00"),
        ({"end_time": "06:30"}, "6.50"),
        ({"start_time": "08:00", "end_time": "08:00"}, "24.00"),
        ({"start_time": "18:00", "end_time": "23:59"}, "5.98"),
    ],
)
def test_a_time_band_ends_where_it_says(times: dict[str, str], paid: str) -> None:
    assert cost(tariff_of(element("TIME", "1", **times)), charge_of(MONDAY, (1440, 0))) == paid


def test_weekdays_and_dates_change_at_local_midnight() -> None:
    weekend = tariff_of(element("TIME", "1", day_of_week=["SATURDAY", "SUNDAY"]))
    dated = tariff_of(element("TIME", "1", start_date="2025-06-07", end_date="2025-06-08"))
    friday_evening = charge_of(datetime(2025, 6, 6, 20, tzinfo=UTC), (4 * 60, 0))
    assert (cost(weekend, friday_evening), cost(weekend, friday_evening, PARIS)) == ("0.00", "2.00")
    assert (cost(dated, friday_evening), cost(dated, friday_evening, PARIS)) == ("0.00", "2.00")


def test_an_end_date_is_not_included_so_one_that_is_the_start_date_leaves_nothing() -> None:
    never = tariff_of(element("TIME", "1", start_date="2025-06-07", end_date="2025-06-07"))
    assert cost(never, charge_of(SATURDAY, (1440, 0))) == "0.00"


def test_a_wrapping_band_on_a_weekday_needs_that_weekday_at_every_moment() -> None:
    tariff = tariff_of(
        element("TIME", "1", start_time="22:00", end_time="06:00", day_of_week=["MONDAY"])
    )
    assert cost(tariff, charge_of(MONDAY, (48 * 60, 0))) == "8.00"


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2025-03-30", 23), ("2025-10-26", 25), ("2025-06-02", 24)],
)
def test_a_local_day_has_as_many_hours_as_it_has(day: str, hours: int) -> None:
    start = datetime.fromisoformat(day).replace(tzinfo=PARIS)
    tariff = tariff_of(element("TIME", "1", day_of_week=[DayOfWeek(f"{start:%A}".upper())]))
    charge = charge_of((start - timedelta(hours=5)).astimezone(UTC), (48 * 60, 0))
    assert cost(tariff, charge, PARIS) == f"{hours}.00"


@pytest.mark.parametrize(
    ("day", "band", "paid"),
    [
        ("2025-03-30", ("02:15", "02:45"), "0.00"),  # the clock skips it
        ("2025-03-30", ("02:30", "04:00"), "1.00"),  # begins when the clock jumps to 03:00
        ("2025-10-26", ("02:15", "02:45"), "1.00"),  # the clock shows it twice
        ("2025-10-26", ("01:30", "02:30"), "1.50"),
    ],
)
def test_a_time_band_goes_by_the_clock_on_the_wall(
    day: str, band: tuple[str, str], paid: str
) -> None:
    midnight = datetime.fromisoformat(day).replace(tzinfo=PARIS).astimezone(UTC)
    tariff = tariff_of(element("TIME", "1", start_time=band[0], end_time=band[1]))
    assert cost(tariff, charge_of(midnight, (6 * 60, 0)), PARIS) == paid


def test_times_of_the_same_zone_are_not_compared_by_their_wall_clocks() -> None:
    start = datetime(2025, 10, 26, 2, 30, tzinfo=PARIS)
    end = datetime(2025, 10, 26, 2, 30, fold=1, tzinfo=PARIS)
    tariff = tariff_of(element("TIME", "1"))
    assert cost(tariff, Charge.whole(start, end, 0), PARIS) == "1.00"


def test_power_is_the_mean_of_the_period() -> None:
    tariff = tariff_of(element("ENERGY", "1", max_power=10), element("ENERGY", "2", min_power=10))
    assert cost(tariff, charge_of(MONDAY, (60, 9_999), (60, 10_000))) == "30.00"


def test_current_counts_only_where_it_is_stated() -> None:
    tariff = tariff_of(element("TIME", "1", max_current=32), element("TIME", "9"))
    hours = charge_of(MONDAY, (60, 0, False, Decimal(31)), (60, 0), (60, 0, False, Decimal(32)))
    assert cost(tariff, hours) == "19.00"


def test_lower_bounds_of_zero_say_nothing() -> None:
    restrictions = {"min_kwh": 0, "min_power": 0, "min_duration": 0, "min_current": 0}
    tariff = tariff_of(element("FLAT", "1", **restrictions))
    assert cost(tariff, Charge.whole(MONDAY, MONDAY, 0)) == "1.00"


def test_time_runs_from_the_start_also_before_the_first_period() -> None:
    late = Charge(
        MONDAY,
        MONDAY + timedelta(hours=2),
        (ChargingPeriod(MONDAY + timedelta(hours=1), 0, parking=True),),
    )
    tariff = tariff_of(element("TIME", "1"), element("PARKING_TIME", "5"))
    assert cost(tariff, late) == "6.00"
    assert cost(tariff, Charge(MONDAY, MONDAY + timedelta(hours=2), ())) == "2.00"


def test_one_flat_fee_is_paid_the_first_that_is_active_at_any_moment() -> None:
    tariff = tariff_of(element("FLAT", "8", min_duration=3600), element("FLAT", "1"))
    assert cost(tariff, charge_of(MONDAY, (120, 0))) == "1.00"
    late_only = tariff_of(element("FLAT", "8", min_duration=3600))
    assert cost(late_only, charge_of(MONDAY, (120, 0))) == "8.00"
    assert cost(late_only, charge_of(MONDAY, (60, 0))) == "0.00"


def test_reservation_elements_do_not_price_the_charge() -> None:
    tariff = tariff_of(element("TIME", "5", reservation="RESERVATION"), element("TIME", "1"))
    assert cost(tariff, charge_of(MONDAY, (60, 0))) == "1.00"


# --- Rounding, VAT, limits ---


def test_the_total_is_rounded_once_and_half_up() -> None:
    tariff = tariff_of(element("ENERGY", "0.0025"), element("TIME", "0.0025"))
    charge = charge_of(MONDAY, (60, 1_000))
    price = price_charge(tariff, charge, time_zone=UTC, vat_percent=Decimal(0))
    assert str(price.excl_vat) == "0.01 EUR"
    assert [line.amount for line in price.lines] == [Fraction(1, 400)] * 2


def test_agreed_vat_is_reckoned_from_the_rounded_total() -> None:
    tariff = tariff_of(element("FLAT", "1.024", vat=6))
    price = price_charge(
        tariff, charge_of(MONDAY, (1, 0)), time_zone=UTC, vat_percent=Decimal("21")
    )
    assert (str(price.excl_vat), str(price.vat), str(price.incl_vat)) == (
        "1.02 EUR",
        "0.21 EUR",
        "1.23 EUR",
    )


def test_a_currency_without_minor_unit_is_rounded_to_whole_ones() -> None:
    tariff = Tariff.parse({"elements": [element("ENERGY", "30.5")]}, currency="JPY")
    assert cost(tariff, charge_of(MONDAY, (60, 1_000))) == "31"


@pytest.mark.parametrize(
    ("limits", "vat", "energy_wh", "excl_vat", "incl_vat"),
    [
        ({"min_price": "0.5"}, Decimal(20), 100, "0.50", "0.60"),
        ({"max_price": 3}, Decimal(20), 9_000, "3.00", "3.60"),
        # Both bounds apply; VAT stays the agreed share of the net.
        ({"max_price": {"excl_vat": 10, "incl_vat": 11}}, Decimal(21), 90_000, "9.09", "11.00"),
        ({"min_price": {"excl_vat": 1, "incl_vat": 2}}, Decimal(25), 100, "1.60", "2.00"),
        # The components' own VAT, 10 percent.
        ({"max_price": {"excl_vat": 10, "incl_vat": 10.5}}, None, 90_000, "10.00", "10.50"),
        ({"max_price": {"excl_vat": 10, "incl_vat": 9}}, None, 90_000, "9.00", "9.00"),
        ({"min_price": {"excl_vat": 1}}, None, 100, "1.00", "1.10"),
        ({"min_price": {"excl_vat": 1}}, None, 0, "1.00", "1.10"),
        ({"min_price": {"excl_vat": 1, "incl_vat": 2}}, None, 100, "1.00", "2.00"),
        ({"min_price": {"excl_vat": 3}, "max_price": 2}, Decimal(0), 100, "2.00", "2.00"),
    ],
)
def test_limits_bound_the_total(
    limits: dict[str, Any], vat: Decimal | None, energy_wh: int, excl_vat: str, incl_vat: str
) -> None:
    tariff = tariff_of(element("ENERGY", "1", vat=10), **limits)
    price = price_charge(tariff, charge_of(MONDAY, (60, energy_wh)), time_zone=UTC, vat_percent=vat)
    assert (str(price.excl_vat.decimal), str(price.incl_vat.decimal)) == (excl_vat, incl_vat)


# --- Refusals ---

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("charge", "field"),
    [
        (Charge.whole(MONDAY, MONDAY - HOUR, 1), "end"),
        (Charge.whole(MONDAY, MONDAY + timedelta(days=400), 1), "end"),
        (Charge.whole(MONDAY.replace(tzinfo=None), MONDAY, 1), "start"),
        (Charge.whole(MONDAY, MONDAY + HOUR, -1), "periods[0].energy_wh"),
        (Charge(MONDAY, MONDAY + HOUR, (ChargingPeriod(MONDAY - HOUR, 1),)), "periods[0].start"),
        (
            Charge(MONDAY, MONDAY + HOUR, (ChargingPeriod(MONDAY + 2 * HOUR, 1),)),
            "periods[0].start",
        ),
    ],
)
def test_a_charge_that_cannot_be_is_refused(charge: Charge, field: str) -> None:
    with pytest.raises(BadCharge) as refusal:
        price_charge(tariff_of(element("TIME", "1")), charge, time_zone=UTC, vat_percent=None)
    assert refusal.value.field == field


# --- Laws ---

# No deadline for one example: a busy machine is no reason to doubt a price.
LAW = settings(max_examples=150, deadline=None)


def priced(tariff: Tariff, charge: Charge, zone: tzinfo, vat: Decimal | None = None) -> Price:
    return price_charge(tariff, charge, time_zone=zone, vat_percent=vat)


zones = st.sampled_from(ZONES)
agreed = st.sampled_from([None, Decimal(0), Decimal("5.5"), Decimal(21)])


@LAW
@given(tariffs(limits=True), charges(), zones, agreed)
def test_the_lines_and_the_adjustment_are_the_total(
    tariff: Tariff, charge: Charge, zone: ZoneInfo, vat: Decimal | None
) -> None:
    price = priced(tariff, charge, zone, vat)
    exact = sum((line.amount for line in price.lines), price.adjustment)
    assert price.excl_vat == Money.of(exact, "EUR")
    assert price.incl_vat == price.excl_vat + price.vat
    if tariff.min_price is None and tariff.max_price is None:
        assert price.adjustment == 0


def test_where_the_limits_contradict_each_other_the_upper_one_holds_with_vat_too() -> None:
    tariff = replace(
        tariff_of(element("ENERGY", "0", 1)),
        min_price=PriceLimit(Decimal(0), Decimal("0.02")),
        max_price=PriceLimit(Decimal(0), Decimal(0)),
    )
    price = priced(tariff, charge_of(MONDAY, (10, 1_000)), UTC)
    assert (price.excl_vat.minor, price.incl_vat.minor) == (0, 0)


@LAW
@given(tariffs(limits=True), charges(), agreed)
def test_no_price_is_outside_its_limits(
    tariff: Tariff, charge: Charge, vat: Decimal | None
) -> None:
    price = priced(tariff, charge, UTC, vat)
    cent = Decimal("0.01")  # net and VAT are rounded apart
    most, least = tariff.max_price, tariff.min_price
    if most is not None:
        assert price.excl_vat.decimal <= (most.excl_vat or 0)
        assert most.incl_vat is None or price.incl_vat.decimal <= most.incl_vat + cent
    elif least is not None:
        assert price.excl_vat.decimal >= (least.excl_vat or 0)
        assert least.incl_vat is None or price.incl_vat.decimal >= least.incl_vat - cent


@LAW
@given(tariffs(steps=False), charges(), zones, st.data())
def test_cutting_a_period_in_two_changes_no_price(
    tariff: Tariff, charge: Charge, zone: ZoneInfo, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(charge.periods) - 1))
    period = charge.periods[index]
    ends = [each.start for each in charge.periods[1:]] + [charge.end]
    ticks = (ends[index] - period.start) // timedelta(seconds=GRID_S)
    assume(ticks > 1)
    cut = data.draw(st.integers(1, ticks - 1))
    before = period.energy_wh * cut // ticks
    halves = (
        ChargingPeriod(period.start, before, period.parking, period.current_a),
        ChargingPeriod(
            period.start + timedelta(seconds=cut * GRID_S),
            period.energy_wh - before,
            period.parking,
            period.current_a,
        ),
    )
    assert before * ticks == period.energy_wh * cut, "energy flows in whole Wh a tick"
    periods = (*charge.periods[:index], *halves, *charge.periods[index + 1 :])
    assert priced(tariff, Charge(charge.start, charge.end, periods), zone) == priced(
        tariff, charge, zone
    )


@LAW
@given(tariffs(wall=False), charges(), zones, zones)
def test_the_time_zone_means_nothing_to_a_tariff_without_times(
    tariff: Tariff, charge: Charge, one: ZoneInfo, other: ZoneInfo
) -> None:
    assert priced(tariff, charge, one) == priced(tariff, charge, other)


@LAW
@given(tariffs(), charges(), zones)
def test_the_offset_in_which_a_time_is_told_means_nothing(
    tariff: Tariff, charge: Charge, zone: ZoneInfo
) -> None:
    periods = tuple(
        ChargingPeriod(each.start.astimezone(zone), each.energy_wh, each.parking, each.current_a)
        for each in charge.periods
    )
    told = Charge(charge.start.astimezone(zone), charge.end.astimezone(zone), periods)
    assert priced(tariff, told, PARIS) == priced(tariff, charge, PARIS)


@LAW
@given(
    st.lists(st.sampled_from(Dimension), min_size=1, unique=True),
    st.decimals(min_value=0, max_value=3, places=4),
    st.sampled_from([0, 1, 60, 900]),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.integers(0, 100_000),
    st.integers(0, 100_000),
)
def test_more_never_costs_less_where_one_price_holds_throughout(
    dimensions: list[Dimension],
    rate: Decimal,
    step: int,
    seconds: int,
    more_seconds: int,
    energy_wh: int,
    more_wh: int,
) -> None:
    tariff = tariff_of(*(element(each, str(rate), step) for each in dimensions))
    small = Charge.whole(MONDAY, MONDAY + timedelta(seconds=seconds), energy_wh)
    end = small.end + timedelta(seconds=more_seconds)
    large = Charge.whole(MONDAY, end, energy_wh + more_wh)
    assert priced(tariff, small, UTC).excl_vat <= priced(tariff, large, UTC).excl_vat


@LAW
@given(tariffs(limits=True), charges(), zones)
def test_a_compiled_tariff_prices_as_the_tariff_does(
    tariff: Tariff, charge: Charge, zone: ZoneInfo
) -> None:
    compiled = compile_tariff(tariff)
    first = price_charge(compiled, charge, time_zone=zone, vat_percent=None)
    assert first == priced(tariff, charge, zone)
    assert first == price_charge(compiled, charge, time_zone=zone, vat_percent=None)


# --- A slow second opinion: look at every ten seconds of the charge, by the words of the tariff ---


def slow_quantities(
    tariff: Tariff, charge: Charge, zone: tzinfo
) -> dict[tuple[PriceComponent, int], Fraction]:
    """Per component (and its element's place): Wh, seconds or 1, by asking again at every tick."""
    found: dict[tuple[PriceComponent, int], Fraction] = defaultdict(Fraction)
    last: dict[str, tuple[PriceComponent, int]] = {}
    flat_paid = False
    energy_so_far = Fraction(0)
    starts = [period.start for period in charge.periods] + [charge.end]
    for period, (begin, end) in zip(charge.periods, pairwise(starts), strict=True):
        ticks = int((end - begin).total_seconds()) // GRID_S
        power_kw = Fraction(period.energy_wh * 36, 10 * ticks * GRID_S) / 1
        for tick in range(ticks):
            now = begin + timedelta(seconds=tick * GRID_S)
            active = slow_lookup(
                tariff,
                now.astimezone(zone),
                int((now - charge.start).total_seconds()),
                energy_so_far / 1000,
                power_kw,
                period,
            )
            flowed = Fraction(period.energy_wh, ticks)
            if Dimension.FLAT in active and not flat_paid:
                found[active[Dimension.FLAT]] += 1
                flat_paid = True
            if Dimension.ENERGY in active and flowed:
                found[active[Dimension.ENERGY]] += flowed
                last["energy"] = active[Dimension.ENERGY]
            timed = Dimension.PARKING_TIME if period.parking else Dimension.TIME
            if timed in active:
                found[active[timed]] += GRID_S
                last["time"] = active[timed]
            energy_so_far += flowed
    for key in last.values():
        component = key[0]
        if component.step_size:
            total = sum(used for (each, _), used in found.items() if each.type == component.type)
            steps = -(-total // component.step_size)
            found[key] += steps * component.step_size - total
    return found


def slow_lookup(
    tariff: Tariff,
    local: datetime,
    elapsed_s: int,
    kwh: Fraction,
    power_kw: Fraction,
    period: ChargingPeriod,
) -> dict[Dimension, tuple[PriceComponent, int]]:
    active: dict[Dimension, tuple[PriceComponent, int]] = {}
    for place, each in enumerate(tariff.elements):
        if slow_match(each.restrictions, local, elapsed_s, kwh, power_kw, period):
            for component in each.price_components:
                active.setdefault(component.type, (component, place))
    return active


def slow_match(
    asked: Restrictions,
    local: datetime,
    elapsed_s: int,
    kwh: Fraction,
    power_kw: Fraction,
    period: ChargingPeriod,
) -> bool:
    clock = local.time()
    start = asked.start_time or time(0)
    end = asked.end_time or time(0)
    if end == time(0):
        by_clock = clock >= start
    elif start < end:
        by_clock = start <= clock < end
    else:
        by_clock = clock >= start or clock < end
    bounds: list[tuple[Decimal | int | None, Decimal | int | None, Fraction | int | None]] = [
        (asked.min_kwh, asked.max_kwh, kwh),
        (asked.min_duration, asked.max_duration, elapsed_s),
        (asked.min_power, asked.max_power, power_kw),
        (
            asked.min_current or None,
            asked.max_current,
            None if period.current_a is None else Fraction(period.current_a),
        ),
    ]
    return (
        by_clock
        and (not asked.day_of_week or list(DayOfWeek)[local.weekday()] in asked.day_of_week)
        and (asked.start_date is None or asked.start_date <= local.date())
        and (asked.end_date is None or local.date() < asked.end_date)
        and all(slow_bound(low, high, value) for low, high, value in bounds)
    )


def slow_bound(
    low: Decimal | int | None, high: Decimal | int | None, value: Fraction | int | None
) -> bool:
    if low is None and high is None:
        return True
    if value is None:
        return False
    return (low is None or value >= Fraction(low)) and (high is None or value < Fraction(high))


UNIT: dict[Dimension, int] = {
    Dimension.ENERGY: 1000,
    Dimension.TIME: 3600,
    Dimension.PARKING_TIME: 3600,
    Dimension.FLAT: 1,
}


@LAW
@given(tariffs(), charges(), zones)
def test_a_slow_second_opinion_comes_to_the_same_price(
    tariff: Tariff, charge: Charge, zone: ZoneInfo
) -> None:
    slow = slow_quantities(tariff, charge, zone)
    amounts = {key: used * Fraction(key[0].price) / UNIT[key[0].type] for key, used in slow.items()}
    fast = priced(tariff, charge, zone)
    assert sorted((line.dimension, line.quantity, line.amount) for line in fast.lines) == sorted(
        (key[0].type, used, amounts[key]) for key, used in slow.items()
    )
    total = sum(amounts.values(), Fraction(0))
    with_vat = sum(
        (amount * (1 + Fraction(key[0].vat or 0) / 100) for key, amount in amounts.items()),
        Fraction(0),
    )
    assert fast.excl_vat.minor == half_up(total * 100)
    assert fast.vat.minor == half_up((with_vat - total) * 100)
