"""What the hub's operator asks about days and months of calls, beside a running hub or without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway.reports import flows, sheets
from gateway.reports.model import BadQuestion, By, Every, Question, Row
from gateway.reports.routes import RowShown
from gateway.reports.store import SqlDays
from gridroam import reports
from gridroam.core import Core
from gridroam.office import open_core
from kit.sheet import Form, written
from roaming.party import PartyId
from roaming.refusal import Malformed

FORMS = {".csv": Form.CSV, ".parquet": Form.PARQUET}


async def rows(
    home: Path,
    database_url: str | None,
    *,
    days: int,
    by: By,
    every: Every,
    service: str | None,
    party: PartyId | None,
) -> list[dict[str, Any]]:
    """The report's rows, as its route shows them."""
    async with open_core(home, database_url) as parts:
        asked = replace(_question(parts, days, service, party), by=by, every=every)
        return [
            RowShown.of(row).model_dump(mode="json")
            async for several in _report(parts, asked)
            for row in several
        ]


async def save(
    home: Path,
    database_url: str | None,
    out: Path,
    *,
    days: int,
    every: Every,
    service: str | None,
    party: PartyId | None,
) -> int:
    """Write the report to a file, by contract; how many bytes it has.

    The file is there when it is whole, and not before.
    """
    form = FORMS.get(out.suffix.lower())
    if form is None:
        raise BadQuestion(
            "what kind of file?", field="--out", value=out.name, rule="a name in .csv or .parquet"
        )
    aside = out.with_name(f".{out.name}.part")
    size = 0
    async with open_core(home, database_url) as parts:
        asked = replace(_question(parts, days, service, party), every=every)
        try:
            with await asyncio.to_thread(aside.open, "wb") as file:
                async for piece in written(form, sheets.FIGURES, _report(parts, asked)):
                    size += await asyncio.to_thread(file.write, piece)
            aside.replace(out)
        except OSError as error:
            raise Malformed(
                f"cannot write {out}: {error.strerror}", field="--out", value=str(out)
            ) from None
    return size


def _question(parts: Core, days: int, service: str | None, party: PartyId | None) -> Question:
    last = parts.clock().date()
    return Question(party, last - timedelta(days=days - 1), last, service=service)


def _report(parts: Core, asked: Question) -> AsyncIterator[Sequence[Row]]:
    return flows.report(
        asked, records=SqlDays(parts.database), agreements=reports.agreements(parts)
    )
