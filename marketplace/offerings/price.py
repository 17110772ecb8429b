"""What a service costs: the parts of a price plan, read from JSON and written back in one form.

Prices are decimal texts of the currency's own unit, with six places at most. What use comes to
under a plan is reckoned in `rating`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from marketplace.offerings.reading import bad, only, time_zone, whole

MOST_STEPS = 50
MOST_RULES = 50
MOST_UNITS = 10**12
QUARTERS_A_DAY = 96

_PRICE = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?")
_TIME = re.compile(r"([01][0-9]|2[0-3]):(00|15|30|45)")
_PRICE_RULE = 'a price as a text, as "0.005": below 10^9, with at most 6 places'


class Every(StrEnum):
    """How often a recurring price is due."""

    MONTH = "month"
    YEAR = "year"


class Per(StrEnum):
    """What use is counted in. `told`: units that the provider tells with each answer."""

    CALL = "call"
    KILOBYTE = "kilobyte"
    TOLD = "told"


class Weekday(StrEnum):
    """In the order of `date.weekday()`."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


_DAYS = tuple(Weekday)


@dataclass(frozen=True, slots=True)
class Recurring:
    """Charged by the days that a contract was in force: a part of a month costs a part."""

    price: Decimal
    every: Every


@dataclass(frozen=True, slots=True)
class Step:
    """The price of what comes after the step before, up to and with `up_to` in a month; None: of
    all that is left.
    """

    price: Decimal
    up_to: int | None = None


Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class PerUnit:
    unit: Per
    steps: Steps


@dataclass(frozen=True, slots=True)
class Rule:
    """A price for some days of the week, from one quarter of an hour of the day until another.

    Both are local to the plan's time zone. Where the day would end before it begins, the rule goes
    on past midnight; the day of the week is always that of the moment itself.
    """

    price: Decimal
    days: frozenset[Weekday]
    begins: int = 0
    ends: int = QUARTERS_A_DAY

    def covers(self, day: Weekday, quarter: int) -> bool:
        if day not in self.days:
            return False
        if self.begins < self.ends:
            return self.begins <= quarter < self.ends
        return quarter >= self.begins or quarter < self.ends

    def __str__(self) -> str:
        days = [day.value for day in _DAYS if day in self.days]
        when = "every day" if len(days) == len(_DAYS) else ", ".join(days)
        if (self.begins, self.ends) == (0, QUARTERS_A_DAY):
            return when
        return f"{when} from {_clock(self.begins)} until {_clock(self.ends)}"


@dataclass(frozen=True, slots=True)
class TimeOfUse:
    """The first rule that covers the quarter of an hour in which a call began has its price;
    where none does, `otherwise`.
    """

    per: Per
    time_zone: str
    rules: tuple[Rule, ...]
    otherwise: Decimal

    def band(self, begins_at: datetime) -> int:
        """Which rule covers a moment, by its place; as many as there are rules: none."""
        local = begins_at.astimezone(ZoneInfo(self.time_zone))
        day, quarter = _DAYS[local.weekday()], local.hour * 4 + local.minute // 15
        for place, rule in enumerate(self.rules):
            if rule.covers(day, quarter):
                return place
        return len(self.rules)


@dataclass(frozen=True, slots=True)
class PricePlan:
    """The prices that one contract has at once; what is absent costs nothing.

    `minimum`: the least that a month costs, the one-time price apart. What is free has no plan.
    """

    one_time: Decimal | None = None
    recurring: Recurring | None = None
    per_call: Steps = ()
    per_unit: PerUnit | None = None
    time_of_use: TimeOfUse | None = None
    minimum: Decimal | None = None

    @property
    def priced(self) -> bool:
        """Whether a call can cost anything, by itself or by what it carries."""
        return any(price > 0 for price in self._prices())

    @property
    def by_quarter(self) -> bool:
        """Whether use has to be told by quarters of an hour."""
        return self.time_of_use is not None

    @property
    def units_told(self) -> bool:
        """Whether the provider tells units with its answers."""
        return any(
            part is Per.TOLD
            for part in (
                None if self.per_unit is None else self.per_unit.unit,
                None if self.time_of_use is None else self.time_of_use.per,
            )
        )

    def after(self, asked_once: Decimal) -> PricePlan:
        """What is due under it of a contract that takes the place of others. `asked_once`: the most
        that they asked as a one-time price. It is due once: this one's as far as it is above."""
        if self.one_time is None or not asked_once:
            return self
        more = self.one_time - asked_once
        return replace(self, one_time=more if more > 0 else None)

    def _prices(self) -> Iterator[Decimal]:
        yield from (step.price for step in self.per_call)
        if self.per_unit is not None:
            yield from (step.price for step in self.per_unit.steps)
        if self.time_of_use is not None:
            yield from (rule.price for rule in self.time_of_use.rules)
            yield self.time_of_use.otherwise

    @classmethod
    def parse(cls, raw: object, path: str = "terms.plan") -> PricePlan:
        """From JSON; BadTerms names the path of what is wrong."""
        if not isinstance(raw, Mapping):
            raise bad(path, raw, "an object")
        only(raw, path, _PARTS)
        if not raw:
            raise bad(path, None, "at least one price; what is free has no plan")
        plan = cls(
            one_time=_optional_price(raw, "one_time", path),
            recurring=_recurring(raw.get("recurring"), f"{path}.recurring"),
            per_call=_steps(raw["per_call"], f"{path}.per_call") if "per_call" in raw else (),
            per_unit=_per_unit(raw.get("per_unit"), f"{path}.per_unit"),
            time_of_use=_time_of_use(raw.get("time_of_use"), f"{path}.time_of_use"),
            minimum=_optional_price(raw, "minimum", path),
        )
        return _checked(plan, path)

    def to_json(self) -> dict[str, Any]:
        """Equal plans are equal texts."""
        told: dict[str, Any] = {}
        if self.one_time is not None:
            told["one_time"] = _written(self.one_time)
        if self.recurring is not None:
            told["recurring"] = {
                "price": _written(self.recurring.price),
                "every": self.recurring.every.value,
            }
        if self.per_call:
            told["per_call"] = _written_steps(self.per_call)
        if self.per_unit is not None:
            told["per_unit"] = {
                "unit": self.per_unit.unit.value,
                "price": _written_steps(self.per_unit.steps),
            }
        if self.time_of_use is not None:
            told["time_of_use"] = {
                "per": self.time_of_use.per.value,
                "time_zone": self.time_of_use.time_zone,
                "rules": [_written_rule(rule) for rule in self.time_of_use.rules],
                "otherwise": _written(self.time_of_use.otherwise),
            }
        if self.minimum is not None:
            told["minimum"] = _written(self.minimum)
        return told


_PARTS = ("one_time", "recurring", "per_call", "per_unit", "time_of_use", "minimum")


def _checked(plan: PricePlan, path: str) -> PricePlan:
    """Nothing is priced twice, and a minimum is one of something."""
    times = plan.time_of_use
    if times is not None:
        if times.per is Per.CALL and plan.per_call:
            raise bad(f"{path}.time_of_use.per", times.per, "not call: per_call prices those")
        if times.per is not Per.CALL and plan.per_unit is not None:
            raise bad(f"{path}.time_of_use.per", times.per, "call: per_unit prices units")
    if plan.minimum is not None and not plan.priced:
        raise bad(
            f"{path}.minimum",
            plan.minimum,
            "beside a price for calls or units; a fixed one is recurring",
        )
    return plan


def _price(raw: object, field: str) -> Decimal:
    if not isinstance(raw, str) or not _PRICE.fullmatch(raw):
        raise bad(field, raw, _PRICE_RULE)
    # One spelling for one number: 0.50 and 0.5 are the same terms.
    price = Decimal(raw)
    return Decimal(0) if price == 0 else Decimal(format(price.normalize(), "f"))


def _optional_price(raw: Mapping[str, Any], key: str, path: str) -> Decimal | None:
    return _price(raw[key], f"{path}.{key}") if key in raw else None


def _recurring(raw: object, path: str) -> Recurring | None:
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        raise bad(path, raw, "an object with price and every")
    only(raw, path, ("price", "every"))
    every = raw.get("every")
    if every not in list(Every):
        raise bad(f"{path}.every", every, ", ".join(Every))
    return Recurring(_price(raw.get("price"), f"{path}.price"), Every(every))


def _steps(raw: object, path: str) -> Steps:
    """One price, or a list of steps; the last of them has no end."""
    if isinstance(raw, str):
        return (Step(_price(raw, path)),)
    if not isinstance(raw, list) or not 0 < len(raw) <= MOST_STEPS:
        raise bad(path, raw, f"{_PRICE_RULE}; or a list of 1 to {MOST_STEPS} steps")
    steps: list[Step] = []
    for n, one in enumerate(raw):
        field = f"{path}.{n}"
        if not isinstance(one, Mapping):
            raise bad(field, one, "an object with up_to and price")
        only(one, field, ("up_to", "price"))
        last = n == len(raw) - 1
        if last and one.get("up_to") is not None:
            raise bad(f"{field}.up_to", one["up_to"], "none: the last step prices all that is left")
        least = (steps[-1].up_to or 0) + 1 if steps else 1
        up_to = None if last else whole(one, "up_to", least, MOST_UNITS, 0, path=field)
        steps.append(Step(_price(one.get("price"), f"{field}.price"), up_to))
    return tuple(steps)


def _per_unit(raw: object, path: str) -> PerUnit | None:
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        raise bad(path, raw, "an object with unit and price")
    only(raw, path, ("unit", "price"))
    unit = raw.get("unit")
    if unit not in (Per.KILOBYTE, Per.TOLD):
        raise bad(f"{path}.unit", unit, "kilobyte, or told")
    return PerUnit(Per(unit), _steps(raw.get("price"), f"{path}.price"))


def _time_of_use(raw: object, path: str) -> TimeOfUse | None:
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        raise bad(path, raw, "an object with per, time_zone, rules and otherwise")
    only(raw, path, ("per", "time_zone", "rules", "otherwise"))
    per = raw.get("per", Per.CALL.value)
    if per not in list(Per):
        raise bad(f"{path}.per", per, ", ".join(Per))
    rules = raw.get("rules")
    if not isinstance(rules, list) or not 0 < len(rules) <= MOST_RULES:
        raise bad(f"{path}.rules", rules, f"a list of 1 to {MOST_RULES}")
    return TimeOfUse(
        per=Per(per),
        time_zone=time_zone(raw.get("time_zone"), f"{path}.time_zone"),
        rules=tuple(_rule(rule, f"{path}.rules.{n}") for n, rule in enumerate(rules)),
        otherwise=_price(raw.get("otherwise"), f"{path}.otherwise"),
    )


def _rule(raw: object, path: str) -> Rule:
    if not isinstance(raw, Mapping):
        raise bad(path, raw, "an object with days, from, until and price")
    only(raw, path, ("days", "from", "until", "price"))
    days = raw.get("days", [day.value for day in _DAYS])
    if not isinstance(days, list) or not days or any(day not in list(Weekday) for day in days):
        raise bad(f"{path}.days", days, f"a list of: {', '.join(Weekday)}")
    begins = _quarter(raw.get("from", "00:00"), f"{path}.from")
    # Midnight at the end of a day is that of the next one.
    ends = _quarter(raw.get("until", "00:00"), f"{path}.until") or QUARTERS_A_DAY
    if begins == ends:
        raise bad(f"{path}.until", raw.get("until"), "another time than from")
    price = _price(raw.get("price"), f"{path}.price")
    return Rule(price, frozenset(Weekday(day) for day in days), begins, ends)


def _quarter(raw: object, field: str) -> int:
    shape = _TIME.fullmatch(raw) if isinstance(raw, str) else None
    if shape is None:
        raise bad(field, raw, 'a time of day on a quarter of an hour, as "07:30"')
    return int(shape[1]) * 4 + int(shape[2]) // 15


def _clock(quarter: int) -> str:
    return f"{quarter // 4 % 24:02}:{quarter % 4 * 15:02}"


def _written(price: Decimal) -> str:
    return format(price, "f")


def _written_steps(steps: Steps) -> str | list[dict[str, Any]]:
    if len(steps) == 1:
        return _written(steps[0].price)
    return [
        {**({} if step.up_to is None else {"up_to": step.up_to}), "price": _written(step.price)}
        for step in steps
    ]


def _written_rule(rule: Rule) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if len(rule.days) < len(_DAYS):
        told["days"] = [day.value for day in _DAYS if day in rule.days]
    if rule.begins:
        told["from"] = _clock(rule.begins)
    if rule.ends < QUARTERS_A_DAY:
        told["until"] = _clock(rule.ends)
    return told | {"price": _written(rule.price)}
