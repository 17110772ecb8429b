"""What money of one currency comes to in another, by which published rate.

A rate is kept as it was published: 1 `base` is worth `rate` `quote`. The one of a day is the last
that was published on or before it, and a rate that is too old is refused rather than guessed. Where
no rate was published for two currencies, the inverse does, or the way through the euro; all of that
is exact. Money is rounded once, when it is converted, half up.

Laws: into its own currency money stays what it is; there and back by one rate differs by no more
than the roundings; what n pieces come to differs from their sum by no more than n half minor units
(and the sum's own half).
"""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from roaming.money import BadMoney, Money, places_of
from roaming.refusal import Malformed, Unknown

PIVOT = "EUR"
ECB = "ECB euro foreign exchange reference rates"
# The European Central Bank publishes on its working days; over Easter or Christmas four go by.
OLDEST_DAYS = 7
MOST_PLACES = 12


class BadRate(Malformed):
    """A rate, or a file of rates, that breaks a rule."""


class NoRate(Unknown):
    """No rate was published for these currencies, or none that is young enough."""


@dataclass(frozen=True, slots=True)
class Rate:
    """1 `base` was worth `rate` `quote` on a day, as `source` published it."""

    base: str
    quote: str
    rate: Decimal
    at: date
    source: str

    def __post_init__(self) -> None:
        for currency in (self.base, self.quote):
            places_of(currency)
        exponent = self.rate.as_tuple().exponent
        sane = isinstance(exponent, int) and exponent >= -MOST_PLACES
        if not sane or not Decimal(0) < self.rate < Decimal(10**9) or self.base == self.quote:
            raise BadRate(
                f"{self.base} to {self.quote}: {str(self.rate)[:40]} is no rate",
                field="rate",
                value=str(self.rate)[:40],
                rule=f"two currencies and a number above 0, at most {MOST_PLACES} places",
            )


@dataclass(frozen=True, slots=True)
class Exchange:
    """By what an amount is multiplied, exactly, and the published rates that make it (none for a
    currency and itself)."""

    base: str
    quote: str
    factor: Fraction
    legs: tuple[Rate, ...]

    @property
    def at(self) -> date | None:
        """The day of the oldest rate in it."""
        return min((leg.at for leg in self.legs), default=None)

    def __str__(self) -> str:
        return "; ".join(
            f"1 {leg.base} = {leg.rate:f} {leg.quote} ({leg.source}, {leg.at})" for leg in self.legs
        )


@dataclass(frozen=True, slots=True)
class Converted:
    """An amount and what it came to: `by` says at which rate, of which day, from whom."""

    told: Money
    money: Money
    by: Exchange


def convert(money: Money, by: Exchange) -> Converted:
    """Money in the other currency, rounded once, half up."""
    assert money.currency == by.base, f"{money.currency} is not {by.base}"
    return Converted(money, Money.of(Fraction(money.decimal) * by.factor, by.quote), by)


class Rates:
    """Published rates, looked up by currencies and day."""

    def __init__(self, rates: Iterable[Rate]) -> None:
        by_pair: dict[tuple[str, str], dict[date, Rate]] = {}
        for rate in rates:
            by_pair.setdefault((rate.base, rate.quote), {})[rate.at] = rate
        self._held = {
            pair: (sorted(days), [days[day] for day in sorted(days)])
            for pair, days in by_pair.items()
        }

    def find(self, base: str, quote: str, at: date, oldest_days: int = OLDEST_DAYS) -> Exchange:
        """How to make `quote` of `base` on a day. Raises NoRate, BadMoney."""
        for currency in (base, quote):
            places_of(currency)
        if base == quote:
            return Exchange(base, quote, Fraction(1), ())
        young = at - timedelta(days=oldest_days)
        found = self._between(base, quote, at, young)
        if found is None and PIVOT not in (base, quote):
            there = self._between(base, PIVOT, at, young)
            onward = self._between(PIVOT, quote, at, young)
            if there is not None and onward is not None:
                factor = there.factor * onward.factor
                found = Exchange(base, quote, factor, there.legs + onward.legs)
        if found is None:
            raise NoRate(
                f"no rate from {base} to {quote} for {at}",
                field="base",
                value=f"{base} {quote}",
                rule=f"one published in the {oldest_days} days up to then, as it stands, inverse,"
                f" or through {PIVOT}",
            )
        return found

    def _between(self, base: str, quote: str, at: date, young: date) -> Exchange | None:
        """By the pair's own rate, or its inverse: whichever is the younger, its own if alike."""
        plain = self._last(base, quote, at, young)
        inverse = self._last(quote, base, at, young)
        if plain is not None and (inverse is None or plain.at >= inverse.at):
            return Exchange(base, quote, Fraction(plain.rate), (plain,))
        if inverse is not None:
            return Exchange(base, quote, 1 / Fraction(inverse.rate), (inverse,))
        return None

    def _last(self, base: str, quote: str, at: date, young: date) -> Rate | None:
        days, rates = self._held.get((base, quote), ((), ()))
        place = bisect_right(days, at)
        found = rates[place - 1] if place else None
        return found if found is not None and found.at >= young else None


@dataclass(slots=True)
class ImportReport:
    """What became of the rates of a file. `reasons` counts the rejected ones."""

    read: int = 0
    created: int = 0
    unchanged: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def reject(self, reason: str) -> None:
        self.rejected += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


def read_ecb(text: Iterable[str], report: ImportReport, source: str = ECB) -> Iterator[Rate]:
    """The rates of a file in the shape of eurofxref-hist.csv: a day a line, a currency a column.

    One bad rate never stops the rest: `report` tells of it. Raises BadRate for another shape.
    """
    lines = csv.reader(text)
    try:
        header = [name.strip() for name in next(lines, [])]
        if header[:1] != ["Date"] or len(header) < 2:
            raise BadRate(
                "not a file of reference rates",
                field="FILE",
                value=",".join(header)[:60],
                rule="a first line as of eurofxref-hist.csv: Date,USD,JPY,…",
            )
        for line in lines:
            yield from _of_day(header, line, report, source)
    except csv.Error as error:
        raise BadRate(f"not a CSV file: {error}", field="FILE", rule="RFC 4180") from None


def _of_day(
    header: list[str], line: list[str], report: ImportReport, source: str
) -> Iterator[Rate]:
    told = [
        (quote, cell.strip())
        for quote, cell in zip(header[1:], line[1:], strict=False)
        if quote and cell.strip() not in ("", "N/A")
    ]
    report.read += len(told)
    try:
        day = date.fromisoformat(line[0].strip()) if line else None
    except ValueError:
        for _ in told:
            report.reject("not a day, as 2025-01-31")
        return
    for quote, cell in told:
        assert day is not None, "a line with rates begins with its day"
        try:
            yield Rate(PIVOT, quote, Decimal(cell), day, source)
        except InvalidOperation:
            report.reject("not a number")
        except BadMoney:
            report.reject(f"{quote[:10]} is no currency that money is kept in here")
        except BadRate:
            report.reject("not a rate above 0")
