"""The worker that lets what is due be decided by silence."""

from __future__ import annotations

from clearinghouse.disputes import flows
from clearinghouse.disputes.ports import Books
from kit.clock import Clock
from kit.worker import Worker


def deadlines(books: Books, clock: Clock, *, idle_s: float = 60.0) -> Worker:
    """Looks once a minute: deadlines are days."""

    async def step() -> bool:
        return await flows.lapse(books=books, clock=clock) == flows.LAPSED_AT_ONCE

    return Worker("disputes: deadlines", step, idle_s=idle_s)
