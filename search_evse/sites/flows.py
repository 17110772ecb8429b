"""Taking master data in: from a file, or from an operator that provides it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import BinaryIO, TypeVar

from kit.clock import Clock
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.evse_id import EvseId
from roaming.party import PartyId
from search_evse.sites.model import ImportReport, Intake, Outcome, Rejection, Told
from search_evse.sites.ports import Books
from search_evse.sites.reading import Kind, read

BATCH = 1_000

Item = TypeVar("Item")


async def import_evses(
    source: BinaryIO,
    *,
    books: Books,
    clock: Clock,
    kind: Kind | None = None,
    operator: PartyId | None = None,
    provider: PartyId | None = None,
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Take a whole file in, a thousand EVSEs a transaction, and say what became of it.

    `operator` runs all EVSEs of the file, whatever it says itself. `provider` is the party that
    hands the file in, where that is not the hub: it may speak of its own EVSEs only. `progress` is
    told how many EVSEs have been read. Raises NotAnEvseFile where nothing can be read at all.
    Batches committed before a failure stay; the same import again completes them.
    """
    now = clock()
    rows = read(source, now=now, kind=kind, operator=operator)
    intake = Intake(now=now, provider=provider)
    # Parsing is all computation: in a thread it leaves the hub's event loop to others.
    while batch := await asyncio.to_thread(_take, rows, BATCH):
        await _take_in(batch, books, intake)
        if progress is not None:
            progress(intake.tally.read)
    return intake.tally.report()


def _take(rows: Iterator[Item], most: int) -> list[Item]:
    return list(islice(rows, most))


async def _take_in(batch: list[Told | Rejection], books: Books, intake: Intake) -> None:
    """One transaction: judge each EVSE by what is held, write what is news, and tell of it."""
    ids = {row.evse.id for row in batch if isinstance(row, Told)}
    if not ids:
        intake.take(batch, {})
        return
    async with books.open() as book:
        news = intake.take(batch, await book.held(ids))
        await book.write(news.changes)
        await book.tell(_events(news.outcomes, intake.now))


def _events(outcomes: Iterable[tuple[PartyId, EvseId, Outcome]], now: datetime) -> list[NewEvent]:
    """One event for each operator in a batch: an event an EVSE would bloat the log for nothing."""
    ids: dict[PartyId, dict[Outcome, dict[EvseId, None]]] = defaultdict(lambda: defaultdict(dict))
    for operator, evse_id, outcome in outcomes:
        if outcome is not Outcome.UNCHANGED:
            ids[operator][outcome][evse_id] = None
    return [
        NewEvent(
            stream=f"evses:{operator}",
            type=EventType.EVSE_CHANGED,
            party=operator,
            body={outcome.value: list(changed) for outcome, changed in by_outcome.items()},
            occurred_at=now,
        )
        for operator, by_outcome in ids.items()
    ]
