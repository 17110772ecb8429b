"""What the hub's operator does with the books, beside a running hub or without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearinghouse.ledger.model import Audit
from clearinghouse.ledger.store import SqlLedger
from clearinghouse.periods import flows as period_flows
from clearinghouse.periods.model import Month, Overview
from clearinghouse.periods.routes import head, shown
from gridroam import clearing
from gridroam.core import Core
from gridroam.office import open_core


async def list_periods(home: Path, database_url: str | None) -> list[dict[str, Any]]:
    async with open_core(home, database_url) as parts:
        found = await period_flows.known(books=clearing.periods(parts))
    return [head(one).model_dump(mode="json") for one in found]


async def show_period(home: Path, database_url: str | None, period_id: str) -> dict[str, Any]:
    async with open_core(home, database_url) as parts:
        found = await period_flows.show(Month.parse(period_id), books=clearing.periods(parts))
    return shown(found, whole=True).model_dump(mode="json")


async def close_period(
    home: Path, database_url: str | None, period_id: str, early: bool
) -> dict[str, Any]:
    """Close a month; what it came to, in the shape in which its route shows it."""
    async with open_core(home, database_url) as parts:
        closed = await close(parts, Month.parse(period_id), early=early)
    return shown(closed, whole=True).model_dump(mode="json")


async def close(parts: Core, month: Month, *, early: bool = False) -> Overview:
    # Who everybody is on paper: it stands on the invoices.
    await parts.businesses.load()
    return await period_flows.close(
        month, early=early, hub=parts.hub, books=clearing.periods(parts), clock=parts.clock
    )


async def verify_ledger(home: Path, database_url: str | None) -> Audit:
    async with open_core(home, database_url) as parts:
        return await SqlLedger(parts.database).audit()
