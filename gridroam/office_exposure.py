"""What the hub's operator does about exposure, beside a running hub or without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearinghouse.exposure import flows
from clearinghouse.exposure.model import Deposit, limit_of, movement_of
from clearinghouse.exposure.routes import shown
from clearinghouse.exposure.store import SqlBooks
from gridroam import clearing
from gridroam.core import Core
from gridroam.office import open_core
from roaming.money import Money
from roaming.party import PartyId


async def set_limit(
    home: Path,
    database_url: str | None,
    evsp: PartyId,
    cap: Money,
    hold: Money,
    *,
    hold_days: int,
    by: str,
) -> dict[str, Any]:
    async with open_core(home, database_url) as parts:
        limit = limit_of(evsp, cap, hold, hold_days=hold_days, by=by, now=parts.clock())
        found = await flows.set_limit(limit, books=books(parts), clock=parts.clock)
    return shown(found).model_dump(mode="json")


async def lift_limit(
    home: Path, database_url: str | None, evsp: PartyId, *, by: str
) -> dict[str, Any]:
    async with open_core(home, database_url) as parts:
        await flows.lift_limit(evsp, by=by, books=books(parts), clock=parts.clock)
    return {"evsp": evsp, "limited": False}


async def show(home: Path, database_url: str | None, evsp: PartyId | None) -> list[dict[str, Any]]:
    """One EVSP's exposure, or that of all who have a cap."""
    async with open_core(home, database_url) as parts:
        if evsp is None:
            found = await flows.show_all(books=books(parts), clock=parts.clock)
        else:
            found = [await flows.show(evsp, books=books(parts), clock=parts.clock)]
    return [shown(one).model_dump(mode="json") for one in found]


async def move(
    home: Path,
    database_url: str | None,
    evsp: PartyId,
    deposit: Deposit,
    amount: Money,
    reference: str,
    *,
    back: bool,
) -> dict[str, Any]:
    """Book what came from an EVSP, or goes back; its exposure after that."""
    async with open_core(home, database_url) as parts:
        movement = movement_of(reference, evsp, deposit, -amount if back else amount)
        book = flows.withdraw if back else flows.deposit
        found = await book(movement, books=books(parts), clock=parts.clock)
    return shown(found).model_dump(mode="json")


def books(parts: Core) -> SqlBooks:
    return SqlBooks(parts.database, clearing.holds(parts.hub))
