"""How figures and days are written on documents."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from documents import printed


@pytest.mark.parametrize(
    ("minor", "currency", "written"),
    [
        (123_456_789, "EUR", "1,234,567.89"),
        (-5, "EUR", "-0.05"),
        (0, "EUR", "0.00"),
        (1_234, "JPY", "1,234"),
        (1_234, "KWD", "1.234"),
    ],
)
def test_an_amount_has_the_places_of_its_currency(minor: int, currency: str, written: str) -> None:
    assert printed.amount(minor, currency) == written
    assert printed.money(minor, currency) == f"{written} {currency}"


def test_energy_is_written_to_the_watt_hour() -> None:
    assert printed.kwh(1_234_567_089) == "1,234,567.089 kWh"


@pytest.mark.parametrize(
    ("first", "last", "written"),
    [
        (date(2025, 1, 1), date(2025, 1, 31), "January 2025"),
        (date(2024, 2, 1), date(2024, 2, 29), "February 2024"),
        (date(2025, 2, 1), date(2025, 2, 27), "1 Feb 2025 to 27 Feb 2025"),
        (date(2025, 1, 1), date(2025, 2, 28), "1 Jan 2025 to 28 Feb 2025"),
    ],
)
def test_a_whole_month_is_named(first: date, last: date, written: str) -> None:
    assert printed.days(first, last) == written


def test_rates_and_countries() -> None:
    assert printed.percent(Decimal("20.0")) == "20 %"
    assert printed.percent(Decimal("5.50")) == "5.5 %"
    assert (printed.country("DE"), printed.country("QQ")) == ("Germany", "QQ")
