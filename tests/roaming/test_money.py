"""Money: exact sums, one rounding, and no currency that does not exist."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roaming.money import BadMoney, Money, places_of

minors = st.integers(-(10**15), 10**15)
currencies = st.sampled_from(["EUR", "JPY", "KWD", "CLF", "SEK"])


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("12.5", "EUR", "12.50 EUR"),
        ("0.005", "EUR", "0.01 EUR"),
        ("-0.005", "EUR", "-0.01 EUR"),
        ("2.675", "EUR", "2.68 EUR"),
        ("0", "EUR", "0.00 EUR"),
        ("99.5", "JPY", "100 JPY"),
        ("1.2345", "KWD", "1.235 KWD"),
    ],
)
def test_an_amount_is_rounded_half_up_to_the_currencys_places(
    amount: str, currency: str, shown: str
) -> None:
    assert str(Money.of(Decimal(amount), currency)) == shown
    assert str(Money.of(Fraction(amount), currency)) == shown


def test_the_decimal_has_all_its_places() -> None:
    assert str(Money(1250, "EUR").decimal) == "12.50"
    assert str(Money(-5, "EUR").decimal) == "-0.05"
    assert str(Money(12, "JPY").decimal) == "12"


@given(minors, currencies)
def test_what_is_shown_leads_back_to_the_amount(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assert Money.parse(str(money)) == Money.of(money.decimal, currency) == money


@given(st.fractions(max_denominator=10**6), currencies)
def test_a_credit_cancels_its_charge_exactly(amount: Fraction, currency: str) -> None:
    assert Money.of(amount, currency) + Money.of(-amount, currency) == Money.zero(currency)


@given(st.lists(minors), currencies)
def test_a_sum_does_not_depend_on_its_order(amounts: list[int], currency: str) -> None:
    moneys = [Money(minor, currency) for minor in amounts]
    assert Money.total(moneys, currency) == Money.total(reversed(moneys), currency)
    assert Money.total(moneys, currency) == Money(sum(amounts), currency)


@given(minors, minors, currencies)
def test_taking_away_is_adding_the_negative(one: int, other: int, currency: str) -> None:
    left, right = Money(one, currency), Money(other, currency)
    assert left - right == left + -right
    assert (left < right) == (one < other)
    assert (left <= right) == (one <= other)


def test_currencies_do_not_mix() -> None:
    with pytest.raises(ValueError, match="EUR and SEK"):
        Money(1, "EUR") + Money(1, "SEK")
    with pytest.raises(ValueError, match="SEK and EUR"):
        Money.total([Money(1, "EUR")], "SEK")
    assert Money(1, "EUR") != Money(1, "SEK")


@pytest.mark.parametrize("wrong", ["eur", "EURO", "XXX", "", "ZZZ"])
def test_a_currency_that_does_not_exist_is_refused(wrong: str) -> None:
    with pytest.raises(BadMoney) as refusal:
        Money(1, wrong)
    assert (refusal.value.field, refusal.value.value) == ("currency", wrong)


@pytest.mark.parametrize("wrong", [0.1, 12.0])
def test_a_float_is_never_money(wrong: Any) -> None:
    with pytest.raises(TypeError):
        Money(wrong, "EUR")
    with pytest.raises(TypeError):
        Money.of(wrong, "EUR")


@pytest.mark.parametrize("wrong", ["12.505 EUR", "1.5 JPY", "12.50", "EUR", "12,50 EUR", "1e3 EUR"])
def test_a_text_that_is_no_exact_amount_is_refused(wrong: str) -> None:
    with pytest.raises(BadMoney):
        Money.parse(wrong)


@pytest.mark.parametrize(
    "wrong", ["NaN", "sNaN", "Infinity", "1e18", "1e999999999", "1e-999999999"]
)
def test_an_amount_beyond_reason_is_refused(wrong: str) -> None:
    with pytest.raises(BadMoney):
        Money.of(Decimal(wrong), "EUR")


def test_the_places_are_those_of_iso_4217() -> None:
    assert [places_of(code) for code in ("EUR", "JPY", "KWD", "CLF")] == [2, 0, 3, 4]


@given(st.integers(-(10**12), 10**12), st.sampled_from(["EUR", "JPY", "BHD"]))
def test_a_figure_is_the_amount_with_all_its_places(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assert money.figure == f"{money.decimal:f}"
