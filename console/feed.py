"""One reader of the log for all open pages: keeps the day, and tells each page what changed.

A page that cannot keep up is cut off rather than waited for; it opens again and gets the state.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog

from console.day import TOLD, Day
from kit.database import Database
from kit.encoding import encode_json
from kit.event_log import START, follow
from roaming.refusal import TooMuch

log = structlog.get_logger(__name__)

# A browser that is this many tenths of a second behind is not looking any more.
MOST_BEHIND = 100
TELL_EVERY_S = 0.1
# Each open page costs a connection and what it has yet to be told.
MOST_PAGES = 64


class TooManyPages(TooMuch):
    """More pages are open than people look at."""


class Page:
    """One open page: what it has yet to be told, as JSON lists of messages."""

    def __init__(self, first: bytes) -> None:
        self.cut = asyncio.Event()
        self._waiting = deque([first])
        self._told = asyncio.Event()

    async def next(self) -> bytes | None:
        """The next batch; None when the page fell behind or the hub stops."""
        while not self._waiting and not self.cut.is_set():
            self._told.clear()
            await self._told.wait()
        return self._waiting.popleft() if self._waiting else None

    def tell(self, batch: bytes) -> None:
        """Put a batch behind the others; a page with too many of them is cut off."""
        if self.cut.is_set():
            return
        self._waiting.append(batch)
        self._told.set()
        if len(self._waiting) > MOST_BEHIND:
            self._waiting.clear()
            self.end()

    def end(self) -> None:
        """No more batches come."""
        self.cut.set()
        self._told.set()


class Feed:
    """The day as it is now, and a stream of its changes."""

    def __init__(self, database: Database) -> None:
        self.day = Day()
        self._database = database
        self._pages: set[Page] = set()
        self._changes: list[dict[str, Any]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def open_pages(self) -> int:
        return len(self._pages)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._tell())]

    async def close(self) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        for page in self._pages:
            page.end()

    @contextmanager
    def page(self) -> Iterator[Page]:
        """What is told to one page, for as long as it is open. TooManyPages.

        The first batch holds one message, the whole state: nothing is missed in between.
        """
        if len(self._pages) >= MOST_PAGES:
            raise TooManyPages(
                f"{MOST_PAGES} pages are open already", rule="close one, and load this one again"
            )
        # What the others are yet to be told is in the state already.
        self._flush()
        page = Page(encode_json([{"kind": "state", **self.day.state()}]))
        if self._closed:
            page.end()
        self._pages.add(page)
        try:
            yield page
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
        batch, self._changes = encode_json(self._changes), []
        for page in self._pages:
            page.tell(batch)
