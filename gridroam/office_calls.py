"""What the hub's operator asks about calls, beside a running hub or without one."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.monitoring.model import By, Every, Question, checked
from gateway.monitoring.routes import FiguresShown
from gateway.monitoring.store import SqlRecords
from gridroam.office import open_core
from roaming.party import PartyId

AT_ONCE = 1000


async def figures(
    home: Path,
    database_url: str | None,
    *,
    party: PartyId | None,
    until: datetime | None,
    length: timedelta,
    by: By,
    every: Every,
    service: str | None,
) -> list[dict[str, Any]]:
    """How services fared: all of them, or those that a party calls or provides."""
    async with open_core(home, database_url) as parts:
        end = until or parts.clock()
        question = checked(Question(end - length, end, by, every, service))
        records = SqlRecords(parts.database)
        told: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await records.figures(party, question, limit=AT_ONCE, cursor=cursor)
            told += [FiguresShown.of(one).model_dump(mode="json") for one in page.figures]
            cursor = page.next_cursor
            if cursor is None:
                return told
