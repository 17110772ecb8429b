"""When an endpoint is let alone and when it is tried again; how often calls are repeated. Pure.

An endpoint that fails is not asked for a while: its callers hear so at once instead of waiting for
it, and it is not kept down by calls that would fail anyway.

    closed     calls go through. Failures in a row, or too many among all calls: open
    open       none goes through until the rest is over: half-open
    half-open  few go through. One that succeeds: closed. One that fails: open, for twice as long
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Rules:
    """`failures_in_a_row`, or `failed_share` of at least `calls_to_judge` calls within `window_s`,
    open a breaker; the window begins with a failure. It rests `first_rest_s`, twice as long after
    each probe that fails, at most `longest_rest_s`.
    """

    failures_in_a_row: int = 5
    failed_share: float = 0.5
    calls_to_judge: int = 20
    window_s: float = 10.0
    first_rest_s: float = 1.0
    longest_rest_s: float = 60.0
    probes_at_once: int = 1


class Breaker:
    """One endpoint's. Each call begins, and then has succeeded, failed, or is of no account.

    `epoch` counts the changes: what becomes of a call that began before one says nothing after it.
    """

    __slots__ = (
        "_failures",
        "_open_until_s",
        "_probes",
        "_rest_s",
        "_rules",
        "_window_calls",
        "_window_s",
        "calls",
        "epoch",
        "in_a_row",
        "state",
    )

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._rest_s = rules.first_rest_s
        self._open_until_s = 0.0
        self._probes = 0
        self._window_s = float("-inf")
        self._window_calls = 0
        self._failures = 0
        self.state = State.CLOSED
        self.epoch = 0
        self.calls = 0
        self.in_a_row = 0

    def lets_through(self, now_s: float) -> bool:
        if self.state is State.CLOSED:
            return True
        if self.state is State.OPEN:
            return now_s >= self._open_until_s
        return self._probes < self._rules.probes_at_once

    def begin(self, now_s: float) -> int:
        """A call goes through; the epoch that its end is told with."""
        self.calls += 1
        if self.state is not State.CLOSED:
            assert self.lets_through(now_s), "an open breaker lets nothing through"
            if self.state is State.OPEN:
                self._become(State.HALF_OPEN)
            self._probes += 1
        return self.epoch

    def succeeded(self, epoch: int) -> None:
        if epoch != self.epoch:
            return
        self.in_a_row = 0
        if self.state is State.HALF_OPEN:
            self._rest_s = self._rules.first_rest_s
            self._window_s = float("-inf")
            self._become(State.CLOSED)

    def failed(self, epoch: int, now_s: float) -> None:
        if epoch != self.epoch:
            return
        rules = self._rules
        if self.state is State.HALF_OPEN:
            self._rest_s = min(2 * self._rest_s, rules.longest_rest_s)
            self._open(now_s)
            return
        self.in_a_row += 1
        if now_s - self._window_s > rules.window_s:
            self._window_s, self._window_calls, self._failures = now_s, self.calls - 1, 0
        self._failures += 1
        calls = self.calls - self._window_calls
        too_many = calls >= rules.calls_to_judge and self._failures >= rules.failed_share * calls
        if too_many or self.in_a_row >= rules.failures_in_a_row:
            self._open(now_s)

    def of_no_account(self, epoch: int) -> None:
        """Its caller went away, or it never got as far: nothing is known of the endpoint."""
        if epoch == self.epoch and self.state is State.HALF_OPEN:
            self._probes -= 1

    def rest_s(self, now_s: float) -> float:
        """How long it is still let alone; 0 where it is not."""
        return max(0.0, self._open_until_s - now_s) if self.state is State.OPEN else 0.0

    def _open(self, now_s: float) -> None:
        self._open_until_s = now_s + self._rest_s
        self._become(State.OPEN)

    def _become(self, state: State) -> None:
        self.state = state
        self.epoch += 1
        self._probes = 0
        self.in_a_row = 0


class RetryBudget:
    """How many calls may be repeated: one of ten, and a reserve for a sudden end.

    An endpoint that ends takes the calls with it that are under way; those the reserve repeats. An
    outage that lasts is never made worse than by a tenth.
    """

    __slots__ = ("_left", "_seen")

    SHARE = 0.1
    RESERVE = 100.0

    def __init__(self) -> None:
        self._left = self.RESERVE
        self._seen = 0

    def take(self, calls: int) -> bool:
        """One more, where there have been `calls` in all by now."""
        self._left = min(self.RESERVE, self._left + (calls - self._seen) * self.SHARE)
        self._seen = calls
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
