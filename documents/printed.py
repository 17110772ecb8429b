"""How figures and days are written on documents, and what prints them."""

from __future__ import annotations

from datetime import date as Day
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_decimal

from kit.printing import Printer
from roaming.money import Money, places_of

# English, since the documents are; of Europe: the day before the month, and the week from Monday.
LOCALE = "en_IE"


@cache
def printer() -> Printer:
    """The one printer of this process: its fonts are read once."""
    return Printer(Path(__file__).parent.parent)


@cache
def _pattern(places: int) -> str:
    return "#,##0" + ("." + "0" * places if places else "")


def amount(minor: int, currency: str) -> str:
    """`1,234.50`, with all the places of the currency and without its name."""
    text: str = format_decimal(
        Money(minor, currency).decimal, format=_pattern(places_of(currency)), locale=LOCALE
    )
    return text


def money(minor: int, currency: str) -> str:
    """`1,234.50 EUR`"""
    return f"{amount(minor, currency)} {currency}"


def count(number: int) -> str:
    text: str = format_decimal(number, format="#,##0", locale=LOCALE)
    return text


def quantity(number: Decimal) -> str:
    """`1,234` or `0.512`: at most three places, and none that say nothing."""
    text: str = format_decimal(number, format="#,##0.###", locale=LOCALE)
    return text


def kwh(energy_wh: int) -> str:
    text: str = format_decimal(Decimal(energy_wh).scaleb(-3), format="#,##0.000", locale=LOCALE)
    return f"{text} kWh"


def day(one: Day) -> str:
    """`3 Feb 2025`"""
    text: str = format_date(one, format="d MMM y", locale=LOCALE)
    return text


def days(first: Day, last: Day) -> str:
    """`January 2025` for a whole month, else `3 Jan 2025 to 7 Feb 2025`."""
    if first.day == 1 and (first.year, first.month) == (last.year, last.month):
        following = last.toordinal() + 1
        if Day.fromordinal(following).day == 1:
            text: str = format_date(first, format="MMMM y", locale=LOCALE)
            return text
    return f"{day(first)} to {day(last)}"


@cache
def country(code: str) -> str:
    """`France`; a code that no list knows, as it is."""
    return str(Locale.parse(LOCALE).territories.get(code, code))


def percent(rate: Decimal) -> str:
    return f"{rate.normalize():f} %"


def iban(number: str) -> str:
    """In fours: `FR14 2004 1010 …`"""
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))


Page = dict[str, Any]
"""What a template is given: texts only, already written as they shall be read."""
