"""Accounting periods: calendar months of the hub, each open until it is closed, for good.

Every amount belongs to one month, by its value date. A charge that ended in an open month has its
end as value date. One that is told when its month is closed already belongs to the first month that
is open: priced and authorised by the time of the fact, posted where there is still room. So what a
closed month came to never changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from roaming.month import BadPeriodId as BadPeriodId
from roaming.month import Month as Month
from roaming.refusal import Clash


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
