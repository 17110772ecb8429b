"""One look at the log for all who wait in this process: it says whose topic has something new.

Whoever waits reads for itself, since the bell keeps nothing; a ring that comes for nothing costs
one empty look by an index. Nothing hangs on a ring alone: waits end by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress

import structlog

from gateway.topics.model import Source, sources_of
from kit import event_log
from kit.database import Database
from kit.event_log import CHANNEL, Cursor

log = structlog.get_logger(__name__)

# However many transactions write events, the log is looked at no more often than this.
RING_EVERY_S = 0.05
LOOK_AGAIN_S = 1.0
MOST_AT_ONCE = 5_000


class Bell:
    """Start it in a running loop; `stopping`, once it is set, ends every wait."""

    def __init__(self, database: Database, stopping: asyncio.Event) -> None:
        self.stopping = stopping
        self._database = database
        self._waiting: dict[Source, set[asyncio.Event]] = {}
        self._hearers: list[Callable[[Collection[Source]], None]] = []
        self._told = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._listen(), name="topics: listen"),
            asyncio.create_task(self._look(), name="topics: look"),
            asyncio.create_task(self._stop(), name="topics: stop"),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    def heard_by(self, hearer: Callable[[Collection[Source]], None]) -> None:
        """Tell of all that is new, as long as the bell is there."""
        self._hearers.append(hearer)

    @contextmanager
    def waiting(self, source: Source) -> Iterator[asyncio.Event]:
        """Set when there is news. Clear it, then look, then wait: so nothing is missed."""
        rung = asyncio.Event()
        waiters = self._waiting.setdefault(source, set())
        waiters.add(rung)
        try:
            yield rung
        finally:
            waiters.discard(rung)
            if not waiters:
                self._waiting.pop(source, None)

    async def _stop(self) -> None:
        await self.stopping.wait()
        for rung in set().union(*self._waiting.values()):
            rung.set()

    async def _listen(self) -> None:
        async with self._database.listen(CHANNEL) as wakes:
            async for _ in wakes:
                self._told.set()

    async def _look(self) -> None:
        cursor: Cursor | None = None
        while True:
            try:
                self._told.clear()
                cursor, more = await self._ring(cursor)
            except Exception as error:  # noqa: BLE001  it rings again when the database is back
                log.warning("the bell of topics stumbled", error=repr(error))
                more = False
                await asyncio.sleep(LOOK_AGAIN_S)
            await asyncio.sleep(RING_EVERY_S)
            if not more:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN_S):
                        await self._told.wait()

    async def _ring(self, cursor: Cursor | None) -> tuple[Cursor, bool]:
        async with self._database.hot() as connection:
            if cursor is None:
                return await event_log.newest(connection), False
            found = await event_log.headings(connection, cursor, limit=MOST_AT_ONCE)
        if not found:
            return cursor, False
        news = {source for one in found for source in sources_of(one.type, one.party, one.stream)}
        for source in news & self._waiting.keys():
            for rung in self._waiting[source]:
                rung.set()
        for hearer in self._hearers:
            hearer(news)
        return found[-1].cursor, True
