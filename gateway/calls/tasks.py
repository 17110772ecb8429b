"""Endpoints that tell how they are are asked: so a dead one is known, and found back, by no call.

A probe is `GET` of the service's health path below the endpoint. It takes its turn at the breaker
as a call does, and tells it what it found. Each process asks for itself, as each has its breakers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import aiohttp
from aiohttp.http import HttpProcessingError
from yarl import URL

from gateway.calls.breaker import State
from gateway.calls.connections import Connections
from gateway.calls.endpoints import Endpoint, ProbesTurn
from gateway.calls.failures import Failure, failure_of
from gateway.calls.model import Service
from gateway.calls.upstream import Upstream
from kit.clock import Clock
from kit.worker import Worker

LOOK_EVERY_S = 1.0
# One that nobody calls is asked so often.
IDLE_S = 30.0
# A probe takes no longer, whatever the endpoint does.
PROBE_S = 2.0
AT_ONCE = 32


@dataclass(slots=True)
class _Watched:
    """What is remembered of an endpoint between two looks: its calls then, and the last probe."""

    endpoint: Endpoint
    calls: int = 0
    at_s: float = float("-inf")
    failed: bool = False

    def is_due(self, now_s: float, idle_s: float) -> bool:
        """Whether to ask it now: it has rested, or nobody has called it for a while.

        While it is called its calls tell how it is. One whose last probe failed, and that nobody
        calls, is asked at each look: its breaker is to open before somebody does.
        """
        breaker = self.endpoint.breaker
        if breaker.state is not State.CLOSED:
            return breaker.lets_through(now_s)
        if self.endpoint.calls != self.calls:
            self.calls, self.at_s, self.failed = self.endpoint.calls, now_s, False
            return False
        return self.failed or now_s - self.at_s >= idle_s


@dataclass(frozen=True, slots=True)
class _Probe:
    at: datetime
    started_ns: int


class Prober:
    """Looks at the endpoints of `watched` services, and asks those that are due."""

    def __init__(
        self,
        upstream: Upstream,
        watched: Callable[[], Iterable[Service]],
        clock: Clock,
        *,
        idle_s: float = IDLE_S,
        probe_s: float = PROBE_S,
    ) -> None:
        self._upstream = upstream
        self._services = watched
        self._clock = clock
        self._idle_s = idle_s
        self._probe_s = probe_s
        self._known: dict[Endpoint, _Watched] = {}

    async def look(self) -> bool:
        """Ask all that are due, and hear how they are. False: there is no more to do now."""
        connections = self._upstream.connections
        now_s = time.perf_counter_ns() / 1e9
        seen: dict[Endpoint, _Watched] = {}
        due: list[tuple[_Watched, str]] = []
        for service in self._services():
            for endpoint in self._upstream.endpoints.of(service, connections):
                one = seen[endpoint] = self._known.get(endpoint) or _Watched(endpoint)
                if service.health_path is not None and one.is_due(now_s, self._idle_s):
                    due.append((one, service.health_path))
        self._known = seen
        at_once = asyncio.Semaphore(AT_ONCE)

        async def ask(one: _Watched, path: str) -> None:
            async with at_once:
                await self._ask(one, path, connections)

        async with asyncio.TaskGroup() as group:
            for one, path in due:
                group.create_task(ask(one, path))
        return False

    async def _ask(self, one: _Watched, path: str, connections: Connections) -> None:
        endpoint, now_ns = one.endpoint, time.perf_counter_ns()
        if not endpoint.breaker.lets_through(now_ns / 1e9):
            # It has waited for its turn, and a call was quicker.
            return
        probe = _Probe(self._clock(), now_ns)
        turn = ProbesTurn(endpoint, now_ns)
        try:
            failure = await _asked(endpoint, path, connections, self._probe_s)
            one.at_s, one.failed = time.perf_counter_ns() / 1e9, failure is not None
            if failure is None:
                turn.succeeded()
            else:
                turn.failed(failure, probe)
        finally:
            turn.of_no_account()


def prober(upstream: Upstream, watched: Callable[[], Iterable[Service]], clock: Clock) -> Worker:
    return Worker("endpoint-probes", Prober(upstream, watched, clock).look, idle_s=LOOK_EVERY_S)


async def _asked(
    endpoint: Endpoint, path: str, connections: Connections, within_s: float
) -> Failure | None:
    """How it fails to be well; None: it is. Nothing of what it says is read but the status."""
    address = endpoint.address
    query = f"?{address.query}" if address.query else ""
    url = URL(f"{address.origin}{address.path}{path}{query}", encoded=True)
    try:
        async with asyncio.timeout(within_s):
            response = await connections.session.get(
                url, headers={"X-Request-Id": uuid4().hex}, allow_redirects=False
            )
    except (aiohttp.ClientError, HttpProcessingError, ValueError) as error:
        return failure_of(error)
    except TimeoutError:
        return Failure.SILENT
    if response.content.at_eof():
        response.release()
    else:
        response.close()
    return None if 200 <= response.status < 300 else Failure.UNHEALTHY
