"""The clockwork of access: keys rotate in time, and revocations are heard in every process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from kit.access_token import Verifier
from kit.clock import Clock
from kit.database import Database
from kit.worker import Worker, woken_by
from marketplace.access import flows
from marketplace.access.keys import KeyRing
from marketplace.access.ports import Access, Box

CHANNEL = "revocations"
FORGET_EVERY = timedelta(hours=1)


@asynccontextmanager
async def kept_current(
    database: Database,
    access: Access,
    *,
    ring: KeyRing,
    verifier: Verifier,
    box: Box,
    clock: Clock,
    idle_s: float = 15.0,
) -> AsyncIterator[None]:
    """Inside the block keys are loaded and rotated, and revocations take effect as they are told.

    A NOTIFY is heard within milliseconds; besides, this looks by itself every `idle_s`.
    """
    forgotten: datetime | None = None

    async def step() -> bool:
        nonlocal forgotten
        now = clock()
        await flows.rotate_keys(access, ring=ring, verifier=verifier, box=box, now=now)
        if forgotten is None or now - forgotten >= FORGET_EVERY:
            await flows.forget_expired(access, now)
            forgotten = now
        return False

    async with database.listen(CHANNEL) as wakes:
        # Not before the listening: what is told from here on is heard.
        await step()
        worker = Worker("access", step, idle_s=idle_s)
        async with woken_by(worker, wakes):
            yield
