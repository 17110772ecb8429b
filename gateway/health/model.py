"""How an endpoint is: what each process has seen of it, and all of them together. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from roaming.party import PartyId
from roaming.refusal import NotYours, Unknown

# Times are kept in steps of a twentieth: a percentile is told at most so much too high or low.
_STEP = math.log(1.05)


class State(StrEnum):
    """The worst comes last. Half-open: it has rested, and the next call may try it."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


_BY_BADNESS = list(State)


class ServiceNotFound(Unknown):
    """There is no such service that is called at the gateway."""


class NotItsProvider(NotYours):
    """How a service's endpoints are is between its provider and the hub."""


@dataclass(frozen=True, slots=True)
class Place:
    """One endpoint of a service in the catalogue; `number` is its place among those of its kind."""

    service: str
    major: int
    sandbox: bool
    number: int
    url: str

    @property
    def address(self) -> tuple[bool, str]:
        """What it is among the service's own, wherever it stands in the list."""
        return self.sandbox, self.url


@dataclass(frozen=True, slots=True)
class Failed:
    """`kind` is one of the gateway's ways to fail."""

    kind: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """What one process has seen of an endpoint since it began. `well`: its last call succeeded.

    `spread`: how many of its recent answers took how long, by `step_of`.
    """

    place: Place
    provider: PartyId
    state: State
    well: bool
    calls: int
    failures: int
    failed: Failed | None
    spread: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Health:
    """What all processes together know of an endpoint. `resting_in`: so many let it alone.

    `state` is the worst that one of them sees. The times are those of recent answers; None where
    there were none.
    """

    place: Place
    state: State
    processes: int
    resting_in: int
    calls: int
    failures: int
    failed: Failed | None
    p50_us: int | None
    p99_us: int | None


def step_of(took_us: int) -> int:
    return round(math.log(max(1, took_us)) / _STEP)


def spread_of(times_us: Iterable[int]) -> dict[int, int]:
    return dict(Counter(map(step_of, times_us)))


def quantile_us(spread: Mapping[int, int], share: float) -> int | None:
    """The time that `share` of the answers took at most; None: there were none."""
    wanted = share * sum(spread.values())
    below = 0
    for step in sorted(spread):
        below += spread[step]
        if below >= wanted:
            return round(math.exp(step * _STEP))
    return None


def together(place: Place, reports: Sequence[Report]) -> Health:
    spread: Counter[int] = Counter()
    for report in reports:
        spread.update(report.spread)
    failed = [report.failed for report in reports if report.failed is not None]
    return Health(
        place=place,
        state=max(
            (report.state for report in reports), key=_BY_BADNESS.index, default=State.CLOSED
        ),
        processes=len(reports),
        resting_in=sum(report.state is State.OPEN for report in reports),
        calls=sum(report.calls for report in reports),
        failures=sum(report.failures for report in reports),
        failed=max(failed, key=lambda one: one.at, default=None),
        p50_us=quantile_us(spread, 0.5),
        p99_us=quantile_us(spread, 0.99),
    )
