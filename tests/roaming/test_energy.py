"""Energy: from kilowatt-hours to whole watt-hours and back."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roaming.energy import BadEnergy, kwh_from_wh, wh_from_kwh
from roaming.rounding import half_up


@pytest.mark.parametrize(
    ("kwh", "energy_wh"),
    [
        ("12.5", 12500),
        ("0.0005", 1),
        ("0.0004999999999999999999999999999999999999", 0),
        ("-0.0005", -1),
        (7, 7000),
        (Decimal("1E-3"), 1),
        ("1e-999999", 0),
        ("1.23456e1", 12346),
    ],
)
def test_watt_hours_are_rounded_half_up(kwh: Decimal | str | int, energy_wh: int) -> None:
    assert wh_from_kwh(kwh) == energy_wh


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6))
def test_rounding_is_exact_however_many_places_there_are(kwh: Decimal) -> None:
    assert wh_from_kwh(kwh) == wh_from_kwh(str(kwh)) == half_up(Fraction(kwh) * 1000)


@given(st.integers(-(10**12), 10**12))
def test_watt_hours_survive_the_way_through_kilowatt_hours(energy_wh: int) -> None:
    assert wh_from_kwh(kwh_from_wh(energy_wh)) == energy_wh


@pytest.mark.parametrize("wrong", ["", "12,5", "NaN", "Infinity", "1e999999999", "1000000001"])
def test_what_is_no_energy_is_refused(wrong: str) -> None:
    with pytest.raises(BadEnergy) as refusal:
        wh_from_kwh(wrong)
    assert refusal.value.field == "energy_kwh"
    assert refusal.value.value == wrong


@pytest.mark.parametrize("wrong", [12.5, True, None])
def test_a_float_is_our_own_mistake(wrong: Any) -> None:
    with pytest.raises(TypeError):
        wh_from_kwh(wrong)
