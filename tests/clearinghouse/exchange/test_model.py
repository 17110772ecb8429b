"""What money comes to in another currency: by known cases, and by the laws of rounding once."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearinghouse.exchange.model import (
    BadRate,
    Exchange,
    ImportReport,
    NoRate,
    Rate,
    Rates,
    convert,
    read_ecb,
)
from roaming.money import BadMoney, Money

DAY = date(2025, 1, 31)
CURRENCIES = ("EUR", "USD", "JPY", "KWD", "CLF")


def rate(base: str, quote: str, told: str, at: date = DAY, source: str = "test") -> Rate:
    return Rate(base, quote, Decimal(told), at, source)


# Kenduri, ACCA June 2013, question 2: mid rates against the pound, in millions.
ACCA = Rates(
    [
        rate("GBP", "USD", "1.5950", source="ACCA June 2013"),
        rate("GBP", "CAD", "1.5700", source="ACCA June 2013"),
        rate("GBP", "JPY", "132.75", source="ACCA June 2013"),
    ]
)
FLOWS = [
    ("Kenduri", "Lakama", "4500000.00 USD"),
    ("Kenduri", "Jaia", "1100000.00 CAD"),
    ("Gochiso", "Jaia", "3200000.00 CAD"),
    ("Gochiso", "Lakama", "1400000.00 USD"),
    ("Jaia", "Lakama", "1500000.00 USD"),
    ("Jaia", "Kenduri", "3400000.00 CAD"),
    ("Lakama", "Gochiso", "320000000 JPY"),
    ("Lakama", "Kenduri", "2100000.00 USD"),
]


def test_kenduris_flows_come_to_what_the_examiner_says() -> None:
    """In millions of pounds, to three places; what they net to is netting's affair."""
    expected = ["2.821", "0.701", "2.038", "0.878", "0.940", "2.166", "2.411", "1.317"]
    came_to = []
    for _, _, told in FLOWS:
        money = Money.parse(told)
        found = convert(money, ACCA.find(money.currency, "GBP", DAY))
        came_to.append(f"{found.money.decimal / 10**6:.3f}")
        assert "ACCA June 2013" in str(found.by)
    assert came_to == expected
    # His nets are sums of figures in thousands of pounds, as he printed them.
    nets: dict[str, Decimal] = {}
    for (payer, payee, _), told in zip(FLOWS, came_to, strict=True):
        nets[payer] = nets.get(payer, Decimal(0)) - Decimal(told)
        nets[payee] = nets.get(payee, Decimal(0)) + Decimal(told)
    assert {party: str(net) for party, net in nets.items()} == {
        "Kenduri": "-0.039",
        "Lakama": "0.911",
        "Jaia": "-0.367",
        "Gochiso": "-0.505",
    }


def test_a_rate_of_a_day_is_the_last_that_was_published_by_then() -> None:
    friday, monday = date(2025, 1, 31), date(2025, 2, 3)
    rates = Rates([rate("EUR", "USD", "1.04", friday), rate("EUR", "USD", "1.02", monday)])
    for day, factor in ((31, "1.04"), (32, "1.04"), (33, "1.04"), (34, "1.02"), (41, "1.02")):
        found = rates.find("EUR", "USD", date(2024, 12, 31) + timedelta(days=day))
        assert found.factor == Fraction(factor)
    with pytest.raises(NoRate):
        rates.find("EUR", "USD", friday - timedelta(days=1))
    with pytest.raises(NoRate) as refused:
        rates.find("EUR", "USD", monday + timedelta(days=8))
    assert "7 days" in str(refused.value.rule)
    assert rates.find("EUR", "USD", monday + timedelta(days=8), 8).at == monday


def test_the_inverse_and_the_way_through_the_euro_are_exact() -> None:
    rates = Rates(
        [
            rate("EUR", "USD", "1.0393"),
            rate("EUR", "JPY", "161.19", DAY - timedelta(days=1)),
            rate("GBP", "EUR", "1.2"),
        ]
    )
    assert rates.find("USD", "EUR", DAY).factor == 1 / Fraction("1.0393")
    cross = rates.find("USD", "JPY", DAY)
    assert cross.factor == Fraction("161.19") / Fraction("1.0393")
    assert (cross.at, [leg.quote for leg in cross.legs]) == (
        DAY - timedelta(days=1),
        ["USD", "JPY"],
    )
    assert rates.find("GBP", "USD", DAY).factor == Fraction("1.2") * Fraction("1.0393")
    assert str(rates.find("USD", "EUR", DAY)) == "1 EUR = 1.0393 USD (test, 2025-01-31)"
    with pytest.raises(NoRate):
        rates.find("USD", "CHF", DAY)
    with pytest.raises(BadMoney):
        rates.find("USD", "XYZ", DAY)


def test_of_a_rate_and_its_inverse_the_younger_counts() -> None:
    old = DAY - timedelta(days=2)
    rates = Rates([rate("EUR", "USD", "2", old), rate("USD", "EUR", "0.25")])
    assert rates.find("EUR", "USD", DAY).factor == 4
    assert rates.find("EUR", "USD", DAY - timedelta(days=1)).factor == 2


AMOUNTS = st.integers(-(10**12), 10**12)
FACTORS = st.decimals("0.000001", "100000", places=6).filter(lambda told: told > 0)


@given(AMOUNTS, st.sampled_from(CURRENCIES))
def test_into_its_own_currency_money_stays_what_it_is(minor: int, currency: str) -> None:
    found = convert(Money(minor, currency), Rates([]).find(currency, currency, DAY))
    assert found.money == found.told == Money(minor, currency)
    assert (found.by.legs, found.by.at) == ((), None)


@given(st.lists(AMOUNTS, min_size=1, max_size=20), FACTORS)
def test_pieces_come_to_their_sum_but_for_half_a_minor_unit_each(
    minors: list[int], told: Decimal
) -> None:
    by = Exchange("USD", "JPY", Fraction(told), (rate("USD", "JPY", str(told)),))
    pieces = sum(convert(Money(minor, "USD"), by).money.minor for minor in minors)
    whole = convert(Money(sum(minors), "USD"), by).money.minor
    assert 2 * abs(pieces - whole) <= len(minors) + 1
    assert -whole == convert(Money(-sum(minors), "USD"), by).money.minor


@given(AMOUNTS, FACTORS)
def test_there_and_back_differs_by_no_more_than_the_roundings(minor: int, told: Decimal) -> None:
    rates = Rates([rate("EUR", "USD", str(told))])
    there = convert(Money(minor, "EUR"), rates.find("EUR", "USD", DAY)).money
    back = convert(there, rates.find("USD", "EUR", DAY)).money
    assert abs(back.minor - minor) <= Fraction(1, 2) / Fraction(told) + Fraction(1, 2)


@pytest.mark.parametrize("told", ["0", "-1", "NaN", "Infinity", "1e9", "1.0000000000001"])
def test_what_is_no_rate_is_refused(told: str) -> None:
    with pytest.raises(BadRate):
        rate("EUR", "USD", told)


def test_a_currency_has_no_rate_to_itself() -> None:
    with pytest.raises(BadRate):
        rate("EUR", "EUR", "1")


def test_a_file_is_read_as_the_bank_publishes_it() -> None:
    text = [
        "Date,USD,JPY,CYP,ZZZ,\n",
        "2025-01-31,1.0393,161.19,N/A,1.5,\n",
        "2025-01-30,1.0396,,0.58,,\n",
        "yesterday,1.0396,160.99,N/A,N/A,\n",
        "2025-01-29,-1,many,N/A,N/A,\n",
        "\n",
    ]
    report = ImportReport()
    found = list(read_ecb(text, report))
    assert [(one.quote, str(one.rate), one.at.day) for one in found] == [
        ("USD", "1.0393", 31),
        ("JPY", "161.19", 31),
        ("USD", "1.0396", 30),
    ]
    assert (report.read, report.rejected) == (9, 6)
    assert report.reasons == {
        "ZZZ is no currency that money is kept in here": 1,
        "CYP is no currency that money is kept in here": 1,
        "not a day, as 2025-01-31": 2,
        "not a rate above 0": 1,
        "not a number": 1,
    }


@pytest.mark.parametrize("first", ["", "<html>", "day;USD", "Date"])
def test_another_file_is_refused(first: str) -> None:
    with pytest.raises(BadRate) as refused:
        list(read_ecb([first], ImportReport()))
    assert refused.value.field == "FILE"
