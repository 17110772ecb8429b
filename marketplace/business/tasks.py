"""The book keeps up: it hears of every change, and looks by itself in case it did not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kit.database import Database
from kit.worker import Worker, woken_by
from marketplace.business.book import BusinessBook
from marketplace.business.ports import CHANNEL


@asynccontextmanager
async def kept_current(
    database: Database, book: BusinessBook, *, idle_s: float = 15.0
) -> AsyncIterator[None]:
    """Inside the block the book is loaded, and a change anywhere is seen within milliseconds."""

    async def step() -> bool:
        await book.refresh()
        return False

    async with database.listen(CHANNEL) as wakes:
        # Not before the listening: what is told from here on is heard.
        await book.load()
        worker = Worker("business-book", step, idle_s=idle_s)
        async with woken_by(worker, wakes):
            yield
