"""The book keeps up: it hears of every change, looks by itself, and is compared now and then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta

from kit.clock import Clock
from kit.database import Database
from kit.worker import Worker, woken_by
from marketplace.contracts import flows
from marketplace.contracts.book import ContractBook
from marketplace.contracts.ports import Contracts, Memory

CHANNELS = ("contracts", "services", "partners")


@asynccontextmanager
async def kept_current(
    database: Database,
    book: ContractBook,
    clock: Clock,
    *,
    idle_s: float = 5.0,
    check_every: timedelta = timedelta(minutes=5),
) -> AsyncIterator[None]:
    """Inside the block the book is loaded, and a change anywhere is seen within milliseconds.

    Besides, it looks by itself every `idle_s`, which is what keeps its age small.
    """
    checked = datetime.min.replace(tzinfo=clock().tzinfo)

    async def step() -> bool:
        nonlocal checked
        now = clock()
        if now - checked >= check_every:
            await book.check()
            checked = now
        else:
            await book.refresh()
        return False

    async with AsyncExitStack() as stack:
        heard = [await stack.enter_async_context(database.listen(name)) for name in CHANNELS]
        # Not before the listening: what is told from here on is heard.
        await step()
        # Calls are refused while the book is too old: it must know soon that the database is back.
        worker = Worker("contract-book", step, idle_s=idle_s, back_off_most_s=1.0)
        async with woken_by(worker, *heard):
            yield


def tending(contracts: Contracts, memory: Memory, clock: Clock, *, idle_s: float = 10.0) -> Worker:
    """Sees to the contracts whose time has come, in every process that does timed work."""

    async def step() -> bool:
        return await flows.tend(contracts, memory=memory, now=clock()) == flows.TENDED_AT_ONCE

    return Worker("contracts: tending", step, idle_s=idle_s)
