"""What a report is asked for and tells: calls, errors, times and money, day by day. Pure.

What a time cost is what its month came to at its end, less what the month came to at its beginning:
so the days of a report add up to the bill of the month, to the cent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from marketplace.offerings.price import PricePlan, TimeOfUse
from marketplace.offerings.rating import Quarter, Use, days_in_force, rate, round_lines
from roaming.party import PartyId
from roaming.refusal import Malformed, NotYours

LONGEST_DAYS = 731
DAY = timedelta(days=1)
GROWTH = 1.02
"""Times are counted in classes, each two percent longer than the one before: what is told of 50,
95 or 99 of 100 calls is within one percent of the time that one of them took."""


class By(StrEnum):
    """How finely calls are told apart. `partner`: by provider and requester."""

    CONTRACT = "contract"
    SERVICE = "service"
    PARTNER = "partner"
    TOTAL = "total"


class Every(StrEnum):
    """The steps in which a time is told, in UTC; `whole`: in one."""

    DAY = "day"
    MONTH = "month"
    WHOLE = "whole"


class BadQuestion(Malformed):
    """A time, or steps of it, that no report is made of."""


class NotYourReport(NotYours):
    """A report of others' calls."""


@dataclass(frozen=True, slots=True)
class Question:
    """UTC days from `first` to `last`, both included. None: of all there are.

    `party`: whose calls, on either side; None: everybody's, which the hub's operator alone asks.
    """

    party: PartyId | None
    first: date
    last: date
    by: By = By.CONTRACT
    every: Every = Every.DAY
    service: str | None = None
    contract_id: str | None = None
    partner: PartyId | None = None

    @property
    def behind(self) -> date:
        return self.last + DAY


def checked(question: Question) -> Question:
    """The question itself; BadQuestion names what is wrong with it."""
    if question.last < question.first:
        raise BadQuestion(
            "the time would end before it begins",
            field="last",
            value=question.last.isoformat(),
            rule=f"{question.first} or later",
        )
    if (question.last - question.first).days >= LONGEST_DAYS:
        raise BadQuestion(
            "the time is too long",
            field="first",
            value=question.first.isoformat(),
            rule=f"at most {LONGEST_DAYS} days",
        )
    return question


class Key(NamedTuple):
    """What a row is about; None (0 of a major version): of all."""

    begins_on: date
    service: str | None = None
    major: int = 0
    contract_id: str | None = None
    provider: PartyId | None = None
    requester: PartyId | None = None

    @property
    def order(self) -> tuple[str, ...]:
        return tuple("" if one is None else str(one) for one in self)


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of calls. Those of 400 to 499 are `caller_errors`, from 500 on `provider_errors`.

    `bytes` of bodies, both ways; `units` as providers told: of `billable_calls` alone. Times in
    microseconds, None where nothing was called.
    """

    calls: int = 0
    billable_calls: int = 0
    caller_errors: int = 0
    provider_errors: int = 0
    bytes: int = 0
    units: int = 0
    p50_us: int | None = None
    p95_us: int | None = None
    p99_us: int | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """Money in minor units: what the asking party is owed (`revenue`), and what it owes (`cost`).

    Of everybody's calls, both are the same.
    """

    currency: str
    revenue_minor: int = 0
    cost_minor: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    key: Key
    counts: Counts = Counts()
    amounts: tuple[Amount, ...] = ()


@dataclass(frozen=True, slots=True)
class Agreement:
    """A contract as far as a report is concerned: until when, at what price, at what level."""

    contract_id: str
    service: str
    major: int
    provider: PartyId
    requester: PartyId
    begins_at: datetime
    ends_at: datetime | None
    currency: str | None = None
    plan: PricePlan | None = None
    level: Level | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A contract as it stands in a list of them. `prices`: its plan, as JSON."""

    contract_id: str
    service: str
    major: int
    provider: PartyId
    requester: PartyId
    status: str
    valid_from: datetime
    ends_at: datetime | None
    currency: str | None
    prices: str | None
    notice_days: int


@dataclass(frozen=True, slots=True)
class UsedOn:
    """Of one contract, what cost money from this day on until the next that is told of."""

    day: date
    calls: int = 0
    bytes: int = 0
    units: int = 0


@dataclass(frozen=True, slots=True)
class Spending:
    """All that the price of a contract goes by: its use, by quarters of an hour where that counts,
    and what was paid for packs of calls.
    """

    used: Sequence[UsedOn] = ()
    quarters: Sequence[Quarter] = ()
    packs: Sequence[tuple[date, int]] = ()


def step_of(day: date, question: Question) -> date:
    """The first day of the step that a day falls in, as far as it was asked for."""
    if question.every is Every.DAY:
        return day
    begins = question.first if question.every is Every.WHOLE else day.replace(day=1)
    return max(begins, question.first)


def money(agreement: Agreement, spending: Spending, question: Question) -> Mapping[date, int]:
    """What the contract cost in each step, in minor units; steps in which it cost nothing are
    left out.
    """
    told: dict[date, int] = {}
    for day, minor in _costs(agreement, spending, question):
        step = step_of(day, question)
        told[step] = told.get(step, 0) + minor
    return {step: minor for step, minor in told.items() if minor}


def _costs(
    agreement: Agreement, spending: Spending, question: Question
) -> Iterator[tuple[date, int]]:
    for day, minor in spending.packs:
        if question.first <= day <= question.last:
            yield day, minor
    if agreement.plan is None:
        return
    if agreement.plan.time_of_use is not None:
        merged = by_price(agreement.plan.time_of_use, spending.quarters)
        spending = replace(spending, quarters=merged)
    for month in months(question.first, question.last):
        ends = min(next_month(month) - DAY, question.last)
        begins = max(month, question.first)
        before = _rated(agreement, spending, month, begins) if begins > month else 0
        cuts = [ends] if question.every is not Every.DAY else list(days(begins, ends))
        for cut in cuts:
            now = _rated(agreement, spending, month, cut + DAY)
            yield cut, now - before
            before = now


def by_price(tariff: TimeOfUse, quarters: Iterable[Quarter]) -> list[Quarter]:
    """The same use with one quarter for each price of a day (UTC): each day of a report rates its
    month anew, and a month has three thousand quarters."""
    merged: dict[tuple[date, int], Quarter] = {}
    for one in quarters:
        place = one.begins_at.date(), tariff.band(one.begins_at)
        had = merged.get(place)
        merged[place] = one if had is None else had + one
    return list(merged.values())


def _rated(agreement: Agreement, spending: Spending, month: date, behind: date) -> int:
    """What a month came to before the day `behind`."""
    plan, currency = agreement.plan, agreement.currency
    assert plan is not None
    assert currency is not None, "a price has a currency"
    begins, ends_at = agreement.begins_at.date(), agreement.ends_at
    # Ended before it began, it was never in force, and no bill asks its one-time price either.
    never = ends_at is not None and ends_at <= agreement.begins_at
    used = [one for one in spending.used if month <= one.day < behind]
    use = Use(
        month.year,
        month.month,
        days_in_force(agreement.begins_at, agreement.ends_at, month, behind),
        first=not never and month <= begins < behind,
        calls=sum(one.calls for one in used),
        bytes=sum(one.bytes for one in used),
        units=sum(one.units for one in used),
        quarters=[one for one in spending.quarters if month <= one.begins_at.date() < behind],
    )
    return sum(line.minor for line in round_lines(rate(plan, use), currency))


def days(first: date, last: date) -> Iterator[date]:
    for n in range((last - first).days + 1):
        yield first + n * DAY


def months(first: date, last: date) -> Iterator[date]:
    """The first days of the months that a time touches."""
    month = first.replace(day=1)
    while month <= last:
        yield month
        month = next_month(month)


def next_month(month: date) -> date:
    return (month.replace(day=1) + 31 * DAY).replace(day=1)


def amounts(party: PartyId | None, costs: Iterable[tuple[Agreement, int]]) -> tuple[Amount, ...]:
    """What a party is owed and owes, by currency."""
    told: dict[str, Amount] = {}
    for agreement, minor in costs:
        assert agreement.currency is not None
        known = told.get(agreement.currency, Amount(agreement.currency))
        revenue = minor if party in (None, agreement.provider) else 0
        cost = minor if party in (None, agreement.requester) else 0
        told[agreement.currency] = replace(
            known,
            revenue_minor=known.revenue_minor + revenue,
            cost_minor=known.cost_minor + cost,
        )
    return tuple(told[currency] for currency in sorted(told))


@dataclass(frozen=True, slots=True)
class Level:
    """What a contract agrees about its service, for each calendar month; None: nothing.

    At least so many percent of the calls not failed by the provider; 95 of 100 calls answered
    within so long; at most so many percent of the calls failed by the provider.
    """

    availability_percent: float | None = None
    p95_ms: float | None = None
    error_share_percent: float | None = None


class Measure(StrEnum):
    AVAILABILITY = "availability-percent"
    P95 = "p95-ms"
    ERROR_SHARE = "error-share-percent"


@dataclass(frozen=True, slots=True)
class Kept:
    """One promise of one month. `by`: by how much it was kept; below zero, it was broken."""

    measure: Measure
    agreed: float
    measured: float
    by: float

    @property
    def kept(self) -> bool:
        return self.by >= 0


@dataclass(frozen=True, slots=True)
class MonthOfService:
    """What was agreed of a contract's service and what came of it; `promises` is empty where
    nothing was called, which keeps all.
    """

    month: date
    agreement: Agreement
    counts: Counts
    promises: tuple[Kept, ...] = ()


def compare(level: Level, counts: Counts) -> tuple[Kept, ...]:
    """What was agreed beside what was measured; where nothing was called there is nothing."""
    if not counts.calls:
        return ()
    found = []
    if level.availability_percent is not None:
        measured = 100 * (counts.calls - counts.provider_errors) / counts.calls
        agreed = level.availability_percent
        found.append(Kept(Measure.AVAILABILITY, agreed, measured, measured - agreed))
    if level.p95_ms is not None:
        assert counts.p95_us is not None
        measured = counts.p95_us / 1000
        found.append(Kept(Measure.P95, level.p95_ms, measured, level.p95_ms - measured))
    if level.error_share_percent is not None:
        measured = 100 * counts.provider_errors / counts.calls
        agreed = level.error_share_percent
        found.append(Kept(Measure.ERROR_SHARE, agreed, measured, agreed - measured))
    return tuple(found)
