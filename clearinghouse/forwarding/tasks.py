"""The workers that forward: one for each EVSP, so that none waits for another."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from uuid import uuid4

import structlog

from clearinghouse.cdrs.ports import CHANNEL
from clearinghouse.forwarding import flows
from clearinghouse.forwarding.flows import Progress
from clearinghouse.forwarding.model import BackOff
from clearinghouse.forwarding.ports import Endpoints, Outbox, Preferences, Senders
from kit.clock import Clock
from kit.database import Database
from kit.worker import Worker
from roaming.party import PartyId

log = structlog.get_logger(__name__)

_UNFINISHED_FIRST_S, _UNFINISHED_MOST_S = 0.01, 1.0


class Forwarder:
    """Forwards to every EVSP that has an endpoint. A notice of booked records wakes it at once.

    `idle_s`: how often to look without being woken, for an endpoint that has been given meanwhile,
    a notice that was lost or a clock that was set; a moment that is due before that wakes it.
    """

    def __init__(
        self,
        *,
        database: Database,
        outbox: Outbox,
        preferences: Preferences,
        endpoints: Endpoints,
        senders: Senders,
        clock: Clock,
        back_off: BackOff | None = None,
        idle_s: float = 5.0,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._preferences = preferences
        self._endpoints = endpoints
        self._senders = senders
        self._clock = clock
        self._back_off = back_off or BackOff()
        self._idle_s = idle_s
        self._holder = f"{database.session}/{uuid4()}"
        self._lines: dict[PartyId, _Line] = {}
        self._finder = Worker("forwarding: find", self._find, idle_s=idle_s)
        self._listening: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._finder.start()
        self._listening = asyncio.create_task(self._listen(), name="forwarding: listen")

    async def close(self) -> None:
        """Stop at once. What was under way is sent again, under its own id, at the next start."""
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
            self._listening = None
        await self._finder.close()
        await asyncio.gather(*(line.worker.close() for line in self._lines.values()))

    def wake(self, evsps: Iterable[PartyId] = ()) -> None:
        """Records were booked for these EVSPs; without any named, for whoever it may be."""
        named = list(evsps)
        if not named:
            self._finder.wake()
        for evsp in named or list(self._lines):
            self._line_of(evsp).worker.wake()

    def _line_of(self, evsp: PartyId) -> _Line:
        line = self._lines.get(evsp)
        if line is None:
            line = self._lines[evsp] = _Line(evsp, self._step, self._idle_s)
            line.worker.start()
        return line

    async def _find(self) -> bool:
        for evsp in await self._outbox.evsps():
            self._line_of(evsp)
        return False

    async def _listen(self) -> None:
        async with self._database.listen(CHANNEL) as notices:
            async for payload in notices:
                self.wake(PartyId(evsp) for evsp in json.loads(payload or "[]"))

    async def _step(self, line: _Line) -> bool:
        step = await flows.forward(
            line.evsp,
            holder=self._holder,
            outbox=self._outbox,
            preferences=self._preferences,
            endpoints=self._endpoints,
            senders=self._senders,
            clock=self._clock,
            back_off=self._back_off,
            chance=random.random(),
        )
        wait_s = 0.0 if step.until is None else (step.until - self._clock()).total_seconds()
        if step.progress is Progress.FAILED:
            log.info("delivery failed", evsp=line.evsp, again_in_s=wait_s)
            await asyncio.sleep(max(wait_s, 0.0))
            return True
        if step.progress is Progress.UNFINISHED_BEFORE:
            # Nobody tells when the older transaction ends; a long one is asked after less often.
            await asyncio.sleep(line.unfinished_s)
            line.unfinished_s = min(line.unfinished_s * 2, _UNFINISHED_MOST_S)
            return True
        line.unfinished_s = _UNFINISHED_FIRST_S
        if 0 < wait_s < self._idle_s:
            asyncio.get_running_loop().call_later(wait_s, line.worker.wake)
        return step.progress is Progress.WENT_ON


class _Line:
    """One EVSP's worker, and how it has fared of late."""

    def __init__(
        self, evsp: PartyId, step: Callable[[_Line], Awaitable[bool]], idle_s: float
    ) -> None:
        self.evsp = evsp
        self.unfinished_s = _UNFINISHED_FIRST_S
        self.worker = Worker(f"forwarding: {evsp}", lambda: step(self), idle_s=idle_s)
