"""Hub fees: so much per record, so much per kWh, by whom, and from which month on.

A schedule holds for whole months, so that a month's fee has one price; a special one for a party
goes before the general one of its side. What a party owes of a month in one currency is added up
exactly, over both its sides, and rounded once, half up. A credit takes back what its record added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from clearinghouse.periods.model import Month
from roaming.money import Money, places_of
from roaming.party import PartyId
from roaming.refusal import Malformed

MOST_PLACES = 8


class BadSchedule(Malformed):
    """A fee schedule that breaks a rule."""


class Payer(StrEnum):
    """In respect of which side of a charge a party pays."""

    OPERATOR = "operator"
    EVSP = "evsp"


@dataclass(frozen=True, slots=True)
class Schedule:
    """What one side pays from a month on; `party` None: everybody without a special price."""

    payer: Payer
    party: PartyId | None
    valid_from: Month
    currency: str
    per_cdr: Decimal
    per_kwh: Decimal

    def __post_init__(self) -> None:
        places_of(self.currency)
        for field, price in (("per_cdr", self.per_cdr), ("per_kwh", self.per_kwh)):
            exponent = price.as_tuple().exponent
            sane = isinstance(exponent, int) and exponent >= -MOST_PLACES
            if not sane or not 0 <= price < 10**6:
                raise BadSchedule(
                    "not a price",
                    field=field,
                    value=str(price)[:40],
                    rule=f"from 0 to below a million {self.currency}, at most {MOST_PLACES} places",
                )


@dataclass(frozen=True, slots=True)
class Usage:
    """What a party had booked in a month on one side. Credits count against it."""

    payer: Payer
    party: PartyId
    cdrs: int
    energy_wh: int


@dataclass(frozen=True, slots=True)
class Part:
    """One side's share of a fee, exact."""

    usage: Usage
    schedule: Schedule

    @property
    def amount(self) -> Fraction:
        return exact(self.schedule, self.usage.cdrs, self.usage.energy_wh)


@dataclass(frozen=True, slots=True)
class Due:
    """What a party owes the hub of a month in one currency, before VAT."""

    party: PartyId
    net: Money
    parts: tuple[Part, ...]


def exact(schedule: Schedule, cdrs: int, energy_wh: int) -> Fraction:
    """The fee in the currency's own unit, not rounded yet."""
    return Fraction(schedule.per_cdr) * cdrs + Fraction(schedule.per_kwh) * energy_wh / 1000


def accrue(schedule: Schedule, cdrs: int, energy_wh: int) -> Money:
    """The fee for so many records and so much energy, rounded once."""
    return Money.of(exact(schedule, cdrs, energy_wh), schedule.currency)


def applying(
    schedules: Sequence[Schedule], payer: Payer, party: PartyId, month: Month
) -> Schedule | None:
    """The schedule of a month, told in the order of `schedules`: of two from one month the later
    holds, and a special one before any general one."""
    begun = [
        (one.party is not None, one.valid_from, number, one)
        for number, one in enumerate(schedules)
        if one.payer is payer and one.party in (None, party) and one.valid_from <= month
    ]
    return max(begun)[3] if begun else None


def due(schedules: Sequence[Schedule], used: Iterable[Usage], month: Month) -> list[Due]:
    """What each party owes, by currency; whoever owes nothing is left out."""
    parts: dict[tuple[PartyId, str], list[Part]] = {}
    for usage in used:
        schedule = applying(schedules, usage.payer, usage.party, month)
        if schedule is not None:
            parts.setdefault((usage.party, schedule.currency), []).append(Part(usage, schedule))
    found = [
        Due(
            party, Money.of(sum((part.amount for part in some), Fraction(0)), currency), tuple(some)
        )
        for (party, currency), some in sorted(parts.items())
    ]
    return [one for one in found if one.net.minor]
