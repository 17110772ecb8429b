"""One reader of the log for all open pages: keeps the day, and tells each page what changed.

A page that cannot keep up is cut off rather than waited for; it opens again and gets the state.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import structlog

from console.day import TOLD, Day
from kit.database import Database
from kit.event_log import START, follow

log = structlog.get_logger(__name__)

# A browser that is this many tenths of a second behind is not looking any more.
MOST_BEHIND = 100
TELL_EVERY_S = 0.1


class Feed:
    """The day as it is now, and a stream of its changes."""

    def __init__(self, database: Database) -> None:
        self.day = Day()
        self._database = database
        self._pages: set[asyncio.Queue[list[dict[str, Any]] | None]] = set()
        self._changes: list[dict[str, Any]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._tell())]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        for page in self._pages:
            page.put_nowait(None)

    async def changes(self) -> AsyncIterator[list[dict[str, Any]]]:
        """Batches of messages from now on; ends when the page falls behind or the hub stops.

        The first batch holds one message, the whole state: nothing is missed in between.
        """
        page: asyncio.Queue[list[dict[str, Any]] | None] = asyncio.Queue(MOST_BEHIND + 1)
        self._flush()
        self._pages.add(page)
        try:
            yield [{"kind": "state", **self.day.state()}]
            while True:
                try:
                    batch = await asyncio.wait_for(page.get(), timeout=15)
                except TimeoutError:
                    # Keeps the connection, and tells a page that left.
                    yield []
                    continue
                if batch is None:
                    return
                yield batch
        finally:
            self._pages.discard(page)

    async def _read(self) -> None:
        cursor = START
        pause_s = 0.0
        while True:
            try:
                async for events in follow(self._database, cursor, types=TOLD):
                    for event in events:
                        change = self.day.apply(event)
                        cursor = event.cursor
                        if change is not None and self._pages:
                            self._changes.append(change)
                    pause_s = 0.0
                    await asyncio.sleep(0)
            except Exception as error:  # noqa: BLE001  the page goes on when the database is back
                pause_s = min(max(0.5, pause_s * 2), 30.0)
                log.warning("the console's feed stumbled", error=repr(error), again_in_s=pause_s)
                await asyncio.sleep(pause_s)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            self._flush()

    def _flush(self) -> None:
        if not self._changes:
            return
        batch, self._changes = self._changes, []
        for page in list(self._pages):
            if page.qsize() >= MOST_BEHIND:
                self._pages.discard(page)
                page.put_nowait(None)
            else:
                page.put_nowait(batch)
