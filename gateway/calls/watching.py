"""The time of calls that are with a partner, and whether their callers are still there."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp

from gateway.calls.ports import Body
from gateway.calls.refusals import CallerGone

# Calls are looked after only once they last: most are over sooner, and watching costs as much as a
# check does.
WATCH_EVERY_S = 0.25
# A call that may last no longer than this has a timer of its own.
SHORT_S = 1.0


class Watches:
    """Looks after calls that last: cancels those whose caller has gone away or whose time is up.

    One timer for all: most calls are over long before it rings, and then cost a set operation.
    `idle_s` bounds each wait for the next piece of an answer, `caller_idle_s` each wait for the
    caller to take one: a caller that takes nothing keeps no partner's connection from others.
    """

    def __init__(self, idle_s: float, caller_idle_s: float) -> None:
        self._idle_s = idle_s
        self._caller_idle_s = caller_idle_s
        self._young: set[Watch] = set()
        self._older: set[Watch] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(
        self, loop: asyncio.AbstractEventLoop, body: Body | None, began_ns: int, total_s: float
    ) -> Watch:
        """`body` None: it is being read elsewhere, where it is heard if the caller goes."""
        # Told the loop, Python need not look for it, which in 3.11 asks the kernel who we are.
        task = asyncio.current_task(loop)
        assert task is not None
        watch = Watch(task, body, began_ns, total_s)
        self._young.add(watch)
        if self._timer is None:
            self._timer = loop.call_later(WATCH_EVERY_S, self._ring, loop)
        if total_s < SHORT_S:
            watch.timer = loop.call_later(total_s, watch.time_is_up)
        return watch

    def end(self, watch: Watch) -> None:
        self._young.discard(watch)
        self._older.discard(watch)
        if watch.waiting is not None:
            watch.waiting.cancel()
        if watch.timer is not None:
            watch.timer.cancel()

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        now_ns = time.perf_counter_ns()
        for watch in self._older:
            watch.look(now_ns / 1e9, self._idle_s, self._caller_idle_s)
        for watch in self._young:
            watch.heard_s = now_ns / 1e9
        self._older |= self._young
        self._young.clear()
        self._timer = loop.call_later(WATCH_EVERY_S, self._ring, loop) if self._older else None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Watch:
    """One call that is cancelled when its caller goes away or its time is up; `verdict` says which.

    It is told of both at most twice WATCH_EVERY_S late. While the caller takes a piece
    (`passing_on`), the partner is not held late; `passed` counts the pieces.
    """

    __slots__ = (
        "_body",
        "_bytes",
        "_passed",
        "_until_s",
        "content",
        "heard_s",
        "passed",
        "passing_on",
        "task",
        "timer",
        "verdict",
        "waiting",
    )

    heard_s: float

    def __init__(
        self, task: asyncio.Task[Any], body: Body | None, began_ns: int, total_s: float
    ) -> None:
        self.task = task
        self._body = body
        self._bytes = self._passed = 0
        self._until_s = began_ns / 1e9 + total_s
        self.content: aiohttp.StreamReader | None = None
        self.passing_on = False
        self.passed = 0
        self.verdict: CallerGone | TimeoutError | None = None
        self.waiting: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    def left_s(self) -> float:
        """What is left of the time for the call."""
        return self._until_s - time.perf_counter_ns() / 1e9

    def look(self, now_s: float, idle_s: float, caller_idle_s: float) -> None:
        if self.waiting is None and self._body is not None:
            self.waiting = asyncio.create_task(self._until_gone(self._body))
        come = 0 if self.content is None else self.content.total_bytes
        if self.content is None or come != self._bytes or self.passed != self._passed:
            # Until its answer begins, a partner has all the time that there is for the call.
            self._bytes, self._passed, self.heard_s = come, self.passed, now_s
        quiet_s = now_s - self.heard_s
        if self.passing_on:
            if quiet_s >= caller_idle_s:
                self._give_up(CallerGone("the caller took nothing of the answer for too long"))
        elif now_s >= self._until_s or quiet_s >= idle_s:
            self._give_up(TimeoutError())

    def time_is_up(self) -> None:
        if not self.passing_on:
            self._give_up(TimeoutError())

    async def _until_gone(self, body: Body) -> None:
        await body.gone()
        self._give_up(CallerGone("the caller closed the connection"))

    def _give_up(self, verdict: CallerGone | TimeoutError) -> None:
        if self.verdict is None:
            self.verdict = verdict
            self.task.cancel()
