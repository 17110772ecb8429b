"""What use comes to under a price plan. Pure.

Everything is reckoned in exact fractions for one calendar month (UTC) up to a cut-off, and rounded
once, line by line. What a month comes to at a later cut-off, less what it came to at an earlier
one, is what the time between them costs: so the parts add up to the whole, to the cent.
"""

from __future__ import annotations

from calendar import isleap, monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from marketplace.offerings.price import Every, Per, PricePlan, Steps, TimeOfUse
from roaming.money import Money


@dataclass(frozen=True, slots=True)
class Quarter:
    """What was used in the quarter of an hour that begins so."""

    begins_at: datetime
    calls: int = 0
    bytes: int = 0
    units: int = 0

    def __add__(self, other: Quarter) -> Quarter:
        """Both, as if all of it had been used in this one."""
        return Quarter(
            self.begins_at,
            self.calls + other.calls,
            self.bytes + other.bytes,
            self.units + other.units,
        )


@dataclass(frozen=True, slots=True)
class Use:
    """What a contract was used for in a calendar month (UTC), up to a cut-off.

    Of calls that cost money alone: `bytes` of their bodies, both ways, and `units` as told.
    `quarters`: the same once more, where a plan goes `by_quarter`. `days` in force, of that month;
    `first`: the contract began in it.
    """

    year: int
    month: int
    days: int
    first: bool = False
    calls: int = 0
    bytes: int = 0
    units: int = 0
    quarters: Sequence[Quarter] = ()

    @property
    def days_in_month(self) -> int:
        return monthrange(self.year, self.month)[1]

    @property
    def days_in_year(self) -> int:
        return 366 if isleap(self.year) else 365


class What(StrEnum):
    """What a line of a bill is for."""

    ONE_TIME = "one-time"
    RECURRING = "recurring"
    USE = "use"
    MINIMUM = "minimum"


@dataclass(frozen=True, slots=True)
class Charge:
    """One line, exact: `amount` is `quantity` times `price`, in the currency's own unit.

    `key` names the same line at every cut-off of a month. What is lacking to a minimum has no price
    of its own.
    """

    what: What
    key: str
    text: str
    quantity: Fraction
    unit: str
    price: Decimal | None
    amount: Fraction


def rate(plan: PricePlan, use: Use) -> tuple[Charge, ...]:
    """What the use of a month up to a cut-off comes to, exactly, line by line."""
    assert 0 <= use.days <= use.days_in_month, "days of the month"
    month = [*_for_time(plan, use), *_for_use(plan, use)]
    lines = [*_for_once(plan, use), *month]
    if plan.minimum is not None:
        least = Fraction(plan.minimum) * Fraction(use.days, use.days_in_month)
        lacking = least - sum(line.amount for line in month)
        if lacking > 0:
            text = "Up to the least that a month costs"
            lines.append(Charge(What.MINIMUM, "minimum", text, Fraction(1), "month", None, lacking))
    return tuple(lines)


def round_lines(charges: Sequence[Charge], currency: str) -> tuple[Money, ...]:
    """Each line rounded once, half up. The line of a minimum is what is lacking after the others
    were rounded, so that a month never comes to a cent less than its minimum.
    """
    rounded = []
    month, exact = 0, Fraction(0)
    for charge in charges:
        exact += charge.amount if charge.what is not What.ONE_TIME else 0
        if charge.what is What.MINIMUM:
            money = Money(max(0, Money.of(exact, currency).minor - month), currency)
        else:
            money = Money.of(charge.amount, currency)
            month += money.minor if charge.what is not What.ONE_TIME else 0
        rounded.append(money)
    return tuple(rounded)


def days_in_force(begins_at: datetime, ends_at: datetime | None, first: date, behind: date) -> int:
    """Of the UTC days from `first` until before `behind`, those at whose end a contract was in
    force: where one contract takes the place of another, each day is paid once.
    """
    begins = max(begins_at.astimezone(UTC).date(), first)
    ends = behind if ends_at is None else min(ends_at.astimezone(UTC).date(), behind)
    return max(0, (ends - begins).days)


def _for_once(plan: PricePlan, use: Use) -> Iterator[Charge]:
    if plan.one_time is not None and use.first:
        yield _line(What.ONE_TIME, "one-time", "Once", Fraction(1), "contract", plan.one_time)


def _for_time(plan: PricePlan, use: Use) -> Iterator[Charge]:
    if plan.recurring is not None and use.days:
        every = plan.recurring.every
        length = use.days_in_month if every is Every.MONTH else use.days_in_year
        text = f"Each {every}, for {use.days} of {length} days"
        share = Fraction(use.days, length)
        yield _line(What.RECURRING, "recurring", text, share, every, plan.recurring.price)


def _for_use(plan: PricePlan, use: Use) -> Iterator[Charge]:
    if plan.per_call:
        yield from _stepwise(Per.CALL, plan.per_call, Fraction(use.calls))
    if plan.per_unit is not None:
        unit = plan.per_unit.unit
        yield from _stepwise(unit, plan.per_unit.steps, _quantity(unit, use))
    if plan.time_of_use is not None:
        yield from _by_time(plan.time_of_use, use.quarters)


def _stepwise(per: Per, steps: Steps, quantity: Fraction) -> Iterator[Charge]:
    """Each step prices what lies within it: the steps add up to the whole."""
    name, below = _NAMES[per], 0
    for place, step in enumerate(steps):
        top = quantity if step.up_to is None else min(quantity, Fraction(step.up_to))
        if top <= below:
            return
        if len(steps) == 1:
            key, text = per.value, name
        else:
            key = f"{per}.{place}"
            upper = "" if step.up_to is None else f" up to {step.up_to}"
            text = f"{name}{f' above {below}' if below else ''}{upper}"
        yield _line(What.USE, key, text, top - below, _UNITS[per], step.price)
        below = step.up_to or 0


def _by_time(tariff: TimeOfUse, quarters: Sequence[Quarter]) -> Iterator[Charge]:
    used = [Fraction(0)] * (len(tariff.rules) + 1)
    for quarter in quarters:
        used[tariff.band(quarter.begins_at)] += _quantity(tariff.per, quarter)
    for place, quantity in enumerate(used):
        if not quantity:
            continue
        name, unit = _NAMES[tariff.per], _UNITS[tariff.per]
        if place < len(tariff.rules):
            rule = tariff.rules[place]
            key, text, price = f"time.{place}", f"{name}, {rule}", rule.price
        else:
            key, text, price = "time.otherwise", f"{name}, at other times", tariff.otherwise
        yield _line(What.USE, key, text, quantity, unit, price)


def _quantity(per: Per, used: Use | Quarter) -> Fraction:
    if per is Per.CALL:
        return Fraction(used.calls)
    # Bytes are added up before they become kilobytes: small calls are not rounded up one by one.
    return Fraction(used.bytes, 1000) if per is Per.KILOBYTE else Fraction(used.units)


def _line(what: What, key: str, text: str, quantity: Fraction, unit: str, price: Decimal) -> Charge:
    return Charge(what, key, text, quantity, unit, price, quantity * Fraction(price))


_NAMES = {Per.CALL: "Calls", Per.KILOBYTE: "Kilobytes", Per.TOLD: "Units"}
_UNITS = {Per.CALL: "call", Per.KILOBYTE: "kilobyte", Per.TOLD: "unit"}
