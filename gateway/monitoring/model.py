"""What is asked about calls that were made, and what is told. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from roaming.refusal import Malformed, TooMuch

LONGEST = timedelta(days=31)
MOST_STEPS = 1_000


class By(StrEnum):
    """How finely calls are told apart."""

    SERVICE = "service"
    CONTRACT = "contract"
    OPERATION = "operation"


class Every(StrEnum):
    """The steps in which a time is told; `whole`: in one."""

    WHOLE = "whole"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


STEP = {
    Every.MINUTE: timedelta(minutes=1),
    Every.HOUR: timedelta(hours=1),
    Every.DAY: timedelta(days=1),
}


class BadWindow(Malformed):
    """A time, or steps of it, that cannot be told of."""


class TooMuchToReckon(TooMuch):
    """More calls than are reckoned while somebody waits."""

    retry_after_s = 60


@dataclass(frozen=True, slots=True)
class Question:
    """Calls from `since` until just before `until`. None: of all there are.

    `sandbox`: those that were tried out, instead of those that count.
    """

    since: datetime
    until: datetime
    by: By = By.OPERATION
    every: Every = Every.WHOLE
    service: str | None = None
    contract_id: str | None = None
    operation: str | None = None
    sandbox: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of calls of one service, contract and operation, as far as asked.

    `begins_at`: the step; None where the time was asked as a whole. Answers of 400 to 499 are
    `caller_errors` (499: the caller went away), those from 500 on `provider_errors`. Times in
    microseconds, from call to answer: half, 95 and 99 of 100 calls took no longer.
    """

    begins_at: datetime | None
    service: str
    major: int
    contract_id: str | None
    operation: str | None
    calls: int
    caller_errors: int
    provider_errors: int
    p50_us: int
    p95_us: int
    p99_us: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.calls / self.seconds

    @property
    def error_share(self) -> float:
        """Of the calls, those that the provider failed: what a service level is agreed about."""
        return self.provider_errors / self.calls


@dataclass(frozen=True, slots=True)
class Page:
    """Figures in order; `next_cursor` None on the last page."""

    figures: list[Figures]
    next_cursor: str | None


def checked(question: Question) -> Question:
    """The question itself; BadWindow names what is wrong with it."""
    if not question.since < question.until:
        raise BadWindow(
            "the time would end before it begins",
            field="until",
            value=question.until.isoformat(),
            rule=f"after {question.since.isoformat()}",
        )
    length = question.until - question.since
    if length > LONGEST:
        raise BadWindow(
            "the time is too long",
            field="since",
            value=question.since.isoformat(),
            rule=f"at most {LONGEST.days} days; what was longer ago is in /marketplace/usage",
        )
    step = STEP.get(question.every)
    if step is not None and length / step > MOST_STEPS:
        raise BadWindow(
            f"so many steps of a {question.every} are too many",
            field="every",
            value=question.every,
            rule=f"at most {MOST_STEPS} steps: longer ones, or a shorter time",
        )
    return question
