"""POSTs from a process of its own: as fast as answers come, or at a rate, with their latencies.

At a rate, a request's time counts from when it was due, not from when a connection was free for it:
a server that stalls is charged for all who would have come meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec

from bench.processes import PeerMissing

CALLER_HEADER = "x-party"
_MOST_CONNECTIONS = 400


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send: `requests` lines of `file` from `first` on (over again at its end), each a
    party, a tab and a JSON body. `rate` a second, or None: each of `at_once` after its answer."""

    port: int
    path: str
    file: str
    first: int = 0
    requests: int
    at_once: int = 64
    rate: float | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How it went. `worst` is the first answer that was no 2xx, if any was."""

    seconds: float
    bad: int
    worst: str
    p50_ms: float
    p99_ms: float

    def per_s(self, requests: int) -> float:
        return requests / self.seconds


async def ask(plan: Plan) -> Told:
    """Run a plan in another process. PeerMissing when an answer was none."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.asking"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await process.communicate(msgspec.json.encode(plan))
    if process.returncode != 0:
        raise PeerMissing(f"load failed: {said.decode(errors='replace')[-500:]}")
    told = msgspec.json.decode(out, type=Told)
    if told.bad:
        raise PeerMissing(f"{told.bad} of {plan.requests} answers were no 2xx: {told.worst}")
    return told


def _requests(plan: Plan) -> Iterator[bytes]:
    lines = Path(plan.file).read_bytes().splitlines()
    head = f"POST {plan.path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    for number in range(plan.first, plan.first + plan.requests):
        party, _, body = lines[number % len(lines)].partition(b"\t")
        named = f"{head}{CALLER_HEADER}: {party.decode()}\r\ncontent-length: {len(body)}\r\n\r\n"
        yield named.encode() + body


class _Asker:
    """All connections of one run, and what their answers were."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._requests = _requests(plan)
        self._left = plan.requests
        self._idle: list[_Connection] = []
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._bad = 0
        self._worst = ""
        self._took: list[float] = []
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> Told:
        loop = asyncio.get_running_loop()
        for _ in range(self._plan.at_once if self._plan.rate is None else _MOST_CONNECTIONS):
            _, connection = await loop.create_connection(
                lambda: _Connection(self), "127.0.0.1", self._plan.port
            )
            self._idle.append(connection)
        began = time.perf_counter()
        if self._plan.rate is None:
            now, idle = time.perf_counter(), self._idle
            self._idle = []
            for connection, request in zip(idle, self._requests, strict=False):
                connection.send(now, request)
        else:
            pacing = asyncio.create_task(self._keep_pace(self._plan.rate))
        await self._done
        if self._plan.rate is not None:
            await pacing
        seconds = time.perf_counter() - began
        self._took.sort()
        return Told(
            seconds=seconds,
            bad=self._bad,
            worst=self._worst,
            p50_ms=1e3 * self._took[len(self._took) // 2],
            p99_ms=1e3 * self._took[len(self._took) * 99 // 100],
        )

    async def _keep_pace(self, rate: float) -> None:
        """Requests come at random, independent of each other, as those of many drivers do."""
        random_time = random.Random(1).expovariate
        due = time.perf_counter()
        for request in self._requests:
            due += random_time(rate)
            ahead = due - time.perf_counter()
            if ahead > 0:
                await asyncio.sleep(ahead)
            if self._idle:
                self._idle.pop().send(due, request)
            else:
                self._waiting.append((due, request))

    def answered(self, connection: _Connection, due: float, status: bytes, body: bytes) -> None:
        self._took.append(time.perf_counter() - due)
        if not status.startswith(b"2"):
            self._bad += 1
            self._worst = self._worst or f"{status.decode()} {body.decode(errors='replace')[:300]}"
        self._left -= 1
        if not self._left:
            self._done.set_result(None)
        elif self._plan.rate is None:
            request = next(self._requests, None)
            if request is not None:
                connection.send(time.perf_counter(), request)
        elif self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._idle.append(connection)

    def lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(ConnectionError(f"the server closed a connection: {error!r}"))


class _Connection(asyncio.Protocol):
    """One request at a time over a kept connection; answers carry their Content-Length."""

    def __init__(self, asker: _Asker) -> None:
        self._asker = asker
        self._due = 0.0
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._asker.lost(exc)

    def send(self, due: float, request: bytes) -> None:
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        due, self._due, self._got = self._due, 0.0, b""
        self._asker.answered(self, due, head[9:12], body)


async def _main() -> None:
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(await _Asker(plan).run()))


if __name__ == "__main__":
    import uvloop

    uvloop.run(_main())
