"""Files that were taken are booked, batch after batch, also after a restart."""

from __future__ import annotations

from clearinghouse.cdr_files import flows
from clearinghouse.cdr_files.ports import Files, Intake
from kit.clock import Clock
from kit.worker import Worker


def booker(files: Files, intake: Intake, clock: Clock) -> Worker:
    """Books what waits, file by file in turn, and clears up what broke off."""

    async def step() -> bool:
        return await flows.book_some(files=files, intake=intake, clock=clock)

    return Worker("cdr-files", step)
