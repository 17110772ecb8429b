"""The audit at the command line: what the hub's operator sees, which is all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gridroam.office import open_core
from marketplace.audit.model import MOST_AT_ONCE, Question
from marketplace.audit.routes import EntryShown
from marketplace.audit.store import SqlAudit


async def tell(
    home: Path, database_url: str | None, asked: Question, tell_one: Callable[[Any], None]
) -> None:
    """The newest first, as many as are asked for."""
    left = asked.limit
    async with open_core(home, database_url) as parts:
        audit = SqlAudit(parts.database)
        while left > 0:
            page = await audit.read(replace(asked, limit=min(left, MOST_AT_ONCE)))
            for entry in page:
                tell_one(EntryShown.of(entry).model_dump(mode="json"))
            if not page:
                return
            left -= len(page)
            asked = replace(asked, before=page[-1].place)
