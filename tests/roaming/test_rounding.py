"""Rounding: the nearest, a half away from zero."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roaming.rounding import half_up


@pytest.mark.parametrize(
    ("exact", "whole"),
    [("0.5", 1), ("1.5", 2), ("2.5", 3), ("-0.5", -1), ("-2.5", -3), ("2.49999", 2), ("-0.4", 0)],
)
def test_a_half_goes_away_from_zero(exact: str, whole: int) -> None:
    assert half_up(Decimal(exact)) == half_up(Fraction(exact)) == whole


@given(st.fractions())
def test_it_is_the_nearest_whole_number_and_symmetrical(exact: Fraction) -> None:
    assert abs(half_up(exact) - exact) <= Fraction(1, 2)
    assert half_up(-exact) == -half_up(exact)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9))
def test_it_agrees_with_the_decimal_module(exact: Decimal) -> None:
    assert half_up(exact) == int(exact.to_integral_value(ROUND_HALF_UP))
