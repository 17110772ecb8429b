"""What a month's fee comes to: exact, and rounded once for a party and a currency."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearinghouse.fees.model import (
    BadSchedule,
    Payer,
    Schedule,
    Usage,
    accrue,
    applying,
    due,
)
from clearinghouse.periods.model import Month
from roaming.money import BadMoney, Money
from roaming.party import PartyId

JANUARY, FEBRUARY, MARCH = Month(2025, 1), Month(2025, 2), Month(2025, 3)
ALFA, BETA = PartyId("NL*ALF"), PartyId("DE*BET")


def schedule(
    payer: Payer = Payer.EVSP,
    party: PartyId | None = None,
    valid_from: Month = JANUARY,
    *,
    per_cdr: str = "0.015",
    per_kwh: str = "0",
    currency: str = "EUR",
) -> Schedule:
    return Schedule(payer, party, valid_from, currency, Decimal(per_cdr), Decimal(per_kwh))


@pytest.mark.parametrize(
    ("per_cdr", "per_kwh", "cdrs", "energy_wh", "comes_to"),
    [
        ("0.015", "0", 1, 0, "0.02 EUR"),
        ("0.015", "0", 3, 0, "0.05 EUR"),
        ("0.015", "0", 1000, 0, "15.00 EUR"),
        ("0", "0.0005", 7, 12_345_678, "6.17 EUR"),
        ("0.02", "0.001", 2, 500, "0.04 EUR"),
        ("0.015", "0", -1, 0, "-0.02 EUR"),
        ("0", "0", 9, 9, "0.00 EUR"),
    ],
)
def test_a_fee_is_rounded_once(
    per_cdr: str, per_kwh: str, cdrs: int, energy_wh: int, comes_to: str
) -> None:
    assert str(accrue(schedule(per_cdr=per_cdr, per_kwh=per_kwh), cdrs, energy_wh)) == comes_to


def test_a_special_price_goes_before_the_general_one_and_a_later_one_before_an_earlier() -> None:
    general, special = schedule(), schedule(party=ALFA, per_cdr="0.01")
    dearer, corrected = (schedule(valid_from=FEBRUARY, per_cdr=told) for told in ("0.03", "0.02"))
    other_side = schedule(Payer.OPERATOR, per_cdr="9")
    told = [general, special, dearer, corrected, other_side]
    for party, month, expected in (
        (BETA, JANUARY, general),
        (BETA, FEBRUARY, corrected),
        (BETA, MARCH, corrected),
        (ALFA, JANUARY, special),
        (ALFA, MARCH, special),
        (ALFA, Month(2024, 12), None),
    ):
        assert applying(told, Payer.EVSP, party, month) == expected
    assert applying(told, Payer.OPERATOR, ALFA, MARCH) == other_side
    assert applying([], Payer.OPERATOR, ALFA, MARCH) is None


def test_both_sides_of_a_party_are_added_before_they_are_rounded() -> None:
    both = [schedule(per_cdr="0.004"), schedule(Payer.OPERATOR, per_cdr="0.004")]
    used = [Usage(payer, ALFA, 1, 0) for payer in Payer]
    (found,) = due(both, used, JANUARY)
    assert (found.party, found.net, len(found.parts)) == (ALFA, Money(1, "EUR"), 2)
    # In two currencies they are two fees; what comes to nothing is none.
    apart = [schedule(per_cdr="0.5"), schedule(Payer.OPERATOR, per_cdr="0.5", currency="JPY")]
    assert [str(one.net) for one in due(apart, used, JANUARY)] == ["0.50 EUR", "1 JPY"]
    assert due([schedule(per_cdr="0.004")], used, JANUARY) == []
    assert due(both, used, Month(2024, 12)) == []


@given(
    st.decimals(0, 10, places=6),
    st.decimals(0, 1, places=8),
    st.lists(st.tuples(st.integers(-50, 500), st.integers(-(10**6), 10**9)), max_size=8),
)
def test_a_fee_differs_from_its_exact_amount_by_half_a_minor_unit_at_most(
    per_cdr: Decimal, per_kwh: Decimal, uses: list[tuple[int, int]]
) -> None:
    told = schedule(per_cdr=str(per_cdr), per_kwh=str(per_kwh))
    cdrs, energy_wh = sum(one for one, _ in uses), sum(one for _, one in uses)
    found = accrue(told, cdrs, energy_wh)
    exact = Fraction(per_cdr) * cdrs + Fraction(per_kwh) * energy_wh / 1000
    assert abs(found.minor - exact * 100) <= Fraction(1, 2)
    assert accrue(told, -cdrs, -energy_wh) == -found


@pytest.mark.parametrize("price", ["-0.01", "1000000", "NaN", "0.000000001"])
def test_what_is_no_price_is_refused_by_name(price: str) -> None:
    with pytest.raises(BadSchedule) as refused:
        schedule(per_cdr=price)
    assert refused.value.field == "per_cdr"
    with pytest.raises(BadSchedule) as refused:
        schedule(per_kwh=price)
    assert refused.value.field == "per_kwh"
    with pytest.raises(BadMoney):
        schedule(currency="XXX")
