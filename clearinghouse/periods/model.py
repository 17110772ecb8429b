"""Accounting periods: calendar months of the hub, each open until it is closed, for good.

Every amount belongs to one month, by its value date. A charge that ended in an open month has its
end as value date. One that is told when its month is closed already belongs to the first month that
is open: priced and authorised by the time of the fact, posted where there is still room. So what a
closed month came to never changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from roaming.refusal import Clash, Malformed

_MONTH = re.compile(r"(2[01]\d\d)-(0[1-9]|1[0-2])")


class BadPeriodId(Malformed):
    """A month is named as 2025-01."""


class PeriodCannot(Clash):
    """The month is in a state that takes no such step."""


class PeriodNotOver(Clash):
    """The month still runs; closing it before its end has to be said."""


class State(StrEnum):
    OPEN = "open"
    """Takes postings."""
    CLOSING = "closing"
    """Takes no more charges; the house posts its own fees and roundings."""
    CLOSED = "closed"
    """Takes nothing more but its settlement."""
    SETTLED = "settled"
    """What was owed has become payments."""


class Step(StrEnum):
    BEGIN_CLOSING = "begin-closing"
    CLOSE = "close"
    SETTLE = "settle"


TRANSITIONS: Mapping[State, Mapping[Step, State]] = {
    State.OPEN: {Step.BEGIN_CLOSING: State.CLOSING},
    State.CLOSING: {Step.CLOSE: State.CLOSED},
    State.CLOSED: {Step.SETTLE: State.SETTLED},
    State.SETTLED: {},
}


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month in UTC: [starts_at, ends_at)."""

    year: int
    number: int

    @classmethod
    def of(cls, at: datetime) -> Month:
        moment = at.astimezone(UTC)
        return cls(moment.year, moment.month)

    @classmethod
    def parse(cls, name: str) -> Month:
        """From `2025-01`. Raises BadPeriodId."""
        shape = _MONTH.fullmatch(name)
        if shape is None:
            raise BadPeriodId(
                "not a month", field="period_id", value=name[:40], rule="YYYY-MM, from 2000 to 2199"
            )
        return cls(int(shape[1]), int(shape[2]))

    def __str__(self) -> str:
        return f"{self.year}-{self.number:02d}"

    @property
    def starts_at(self) -> datetime:
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def ends_at(self) -> datetime:
        return self.next.starts_at

    @property
    def last_moment(self) -> datetime:
        """The value date of what the house posts when a month is over."""
        return self.ends_at - timedelta(microseconds=1)

    @property
    def next(self) -> Month:
        return Month(self.year + self.number // 12, self.number % 12 + 1)


@dataclass(frozen=True, slots=True)
class Period:
    """A month and how far it is done with."""

    month: Month
    state: State
    begun_closing_at: datetime | None = None
    closed_at: datetime | None = None
    settled_at: datetime | None = None


def value_date(at: datetime, states: Mapping[Month, State]) -> datetime:
    """The value date of something that happened at `at`. Months not in `states` are open."""
    month = Month.of(at)
    if states.get(month, State.OPEN) is State.OPEN:
        return at
    while states.get(month, State.OPEN) is not State.OPEN:
        month = month.next
    return month.starts_at


def after(period: Period, step: Step, now: datetime, *, early: bool = False) -> Period:
    """The month after a step. Raises PeriodCannot, PeriodNotOver.

    `early`: it may be closed before its end; what comes meanwhile goes to the next month.
    """
    target = TRANSITIONS[period.state].get(step)
    if target is None:
        raise PeriodCannot(
            f"period {period.month} is {period.state} and takes no {step}",
            field="state",
            value=period.state,
            rule=f"one of: {', '.join(TRANSITIONS[period.state]) or 'nothing any more'}",
        )
    if step is Step.BEGIN_CLOSING and not early and now < period.month.ends_at:
        raise PeriodNotOver(
            f"period {period.month} runs until {period.month.ends_at.isoformat()}",
            field="period_id",
            value=str(period.month),
            rule="a month that is over, or early: true",
        )
    return Period(
        month=period.month,
        state=target,
        begun_closing_at=now if step is Step.BEGIN_CLOSING else period.begun_closing_at,
        closed_at=now if step is Step.CLOSE else period.closed_at,
        settled_at=now if step is Step.SETTLE else period.settled_at,
    )


@dataclass(frozen=True, slots=True)
class Total:
    """What a month came to in one currency: what is owed in all, and for how many records."""

    currency: str
    charges_minor: int
    vat_minor: int
    fees_minor: int
    fee_vat_minor: int
    disputed_minor: int
    cdrs: int


@dataclass(frozen=True, slots=True)
class Overview:
    """A month with its totals. The ledger's own sums, looked at when they are asked for."""

    period: Period
    totals: tuple[Total, ...]
