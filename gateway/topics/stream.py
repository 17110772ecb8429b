"""A topic as server-sent events: to one reader, for as long as it stays and may read.

The reader sets the pace: what it has not taken is not read from the log yet, so a slow one costs
one batch of memory and nobody else anything. Its token and its contract are looked at all the time.
"""

from __future__ import annotations

import asyncio
import time

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.topics import wire
from gateway.topics.desk import LOOK_AGAIN_S, Desk, wait
from gateway.topics.flows import Access
from gateway.topics.model import EventId, Filter, Page, source_of
from kit import problem
from kit.encoding import encode_json
from kit.http import Caller
from roaming.refusal import Refusal

MEDIA_TYPE = "text/event-stream"
MOST_AT_ONCE = 50
# A quiet stream says so: that keeps the connection, and finds a reader that vanished.
QUIET_S = 15.0
# From memory, so it costs little to ask often.
CHECK_EVERY_S = 1.0
# Who takes nothing for so long is cut off; it comes back with its Last-Event-ID.
STUCK_S = 30.0


class EventStream(Response):
    """The answer that goes on. `token` is what the caller came with."""

    media_type = MEDIA_TYPE

    def __init__(
        self, desk: Desk, caller: Caller, token: str, topic: str, after: EventId, wanted: Filter
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._desk = desk
        self._caller = caller
        self._token = token
        self._topic = topic
        self._after = after
        self._wanted = wanted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._desk.seat(self._caller.client_id):
            self._desk.metrics.streams += 1
            telling = asyncio.create_task(self._tell(send))
            leaving = asyncio.create_task(_left(receive))
            try:
                await asyncio.wait([telling, leaving], return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._desk.metrics.streams -= 1
                for task in (telling, leaving):
                    task.cancel()
                ends = await asyncio.gather(telling, leaving, return_exceptions=True)
        for end in ends:
            # A connection that broke or stood still is the reader's affair; the rest is a fault.
            if isinstance(end, Exception) and not isinstance(end, OSError):
                raise end

    async def _tell(self, send: Send) -> None:
        headers = self.raw_headers
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        # The reader waits so long before it comes back.
        await _write(send, b"retry: 1000\n\n")
        try:
            await self._go_on(send)
        except Refusal as refusal:
            told = problem.body_of(
                problem.status_of(refusal),
                type(refusal).__name__,
                refusal.detail,
                request_id=self._caller.request_id,
                rule=refusal.rule,
            )
            await _write(send, b"event: end\ndata: " + encode_json(told) + b"\n\n")
        await send({"type": "http.response.body", "body": b""})

    async def _go_on(self, send: Send) -> None:
        desk, source = self._desk, source_of(self._topic, self._caller.party)
        spoken_at = time.monotonic()
        with desk.bell.waiting(source) as rung:
            while not desk.bell.stopping.is_set():
                rung.clear()
                page = await desk.read(source, self._after, self._wanted, limit=MOST_AT_ONCE)
                # Asked after reading and before giving: what is given is permitted at that moment.
                access = self._permitted()
                if page.up_to != self._after:
                    self._after = page.up_to
                    await self._give(send, access, page)
                    spoken_at = time.monotonic()
                if not page.more:
                    spoken_at = await self._until_news(send, rung, spoken_at)

    def _permitted(self) -> Access:
        """Raises Unauthenticated for a token that has expired or was revoked."""
        self._desk.verifier.verify(self._token)
        return self._desk.permit(self._caller, self._topic)

    async def _give(self, send: Send, access: Access, page: Page) -> None:
        if not page.events:
            # Nothing for this reader, but it need not be looked through again.
            await _write(send, b"id: %s\n\n" % str(page.up_to).encode())
            return
        content = b"".join(wire.line(event, self._desk.url) for event in page.events)
        await self._desk.meter_delivery(
            access,
            self._caller.party,
            to=self._caller.client_id,
            events=page.events,
            bytes_out=len(content),
            way="stream",
            began_at=self._desk.clock(),
        )
        await _write(send, content)

    async def _until_news(self, send: Send, rung: asyncio.Event, spoken_at: float) -> float:
        """Until there is something to look for; when something was last said."""
        look_again_at = time.monotonic() + LOOK_AGAIN_S
        while not rung.is_set() and time.monotonic() < look_again_at:
            await wait(rung, min(CHECK_EVERY_S, QUIET_S))
            self._permitted()
            if time.monotonic() - spoken_at >= QUIET_S:
                await _write(send, b": still here\n\n")
                spoken_at = time.monotonic()
        return spoken_at


async def _write(send: Send, content: bytes) -> None:
    async with asyncio.timeout(STUCK_S):
        await send({"type": "http.response.body", "body": content, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
