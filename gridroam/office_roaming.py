"""What the hub's operator does about roaming agreements, beside a running hub or without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gridroam.office import content_of, open_core
from marketplace.offerings import flows as offering_flows
from marketplace.offerings.model import in_row
from marketplace.offerings.routes import MOST_AT_ONCE, OfferingAsked
from marketplace.partners import flows as partner_flows
from marketplace.roaming import flows
from marketplace.roaming.model import Cell
from marketplace.roaming.store import SqlMarkets
from marketplace.services.model import ROAMING
from roaming.party import PartyId
from roaming.refusal import Malformed

ROWS_AT_ONCE = 50


async def matrix(
    home: Path, database_url: str | None, operator: PartyId | None, evsp: PartyId | None
) -> list[Cell]:
    """All that any two have agreed, offered or asked for; of one operator, or one EVSP."""
    found: list[Cell] = []
    async with open_core(home, database_url) as parts:
        await parts.book.load()
        after: PartyId | None = None
        markets, now = SqlMarkets(parts.database), parts.clock()
        while page := await flows.matrix(
            markets, parts.book, None, (), after=after, limit=ROWS_AT_ONCE, now=now
        ):
            found += [cell for cells in page.values() for cell in cells]
            after = next(reversed(page))
    return [
        cell for cell in found if operator in (None, cell.operator) and evsp in (None, cell.evsp)
    ]


async def offer(
    home: Path, database_url: str | None, operator: PartyId, file: Path
) -> list[dict[str, Any]]:
    """Make an operator's offers out of a file, all or none; Malformed names the wrong one."""
    many = _read(await content_of(file), file)
    async with open_core(home, database_url) as parts:
        now = parts.clock()
        partner = await partner_flows.find(parts.partners, operator)
        wanted = []
        for n, one in enumerate(many):
            with in_row(n, len(many)):
                wanted.append(one.to_offering(operator, now))
        made = await offering_flows.publish(
            parts.offerings, partner.roles, wanted, now, clauses=[one.clauses for one in many]
        )
    return [
        {"offering_id": one.offering_id, "audience": sorted(one.audience.names)} for one in made
    ]


def _read(content: bytes, file: Path) -> list[OfferingAsked]:
    """A JSON array of offerings as /marketplace/offerings takes them; `service` may be left out."""
    try:
        told = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"{file} is not JSON: {error}", field="FILE", value=file) from None
    if not isinstance(told, list) or not 0 < len(told) <= MOST_AT_ONCE:
        raise Malformed(
            f"{file} is no list of offerings",
            field="FILE",
            value=file,
            rule=f"a JSON array of 1 to {MOST_AT_ONCE} offerings",
        )
    return [_row(n, one) for n, one in enumerate(told)]


def _row(n: int, told: object) -> OfferingAsked:
    if not isinstance(told, dict):
        raise Malformed(f"offering {n + 1}: no object", field=str(n), rule="an object")
    try:
        return OfferingAsked.model_validate({"service": ROAMING, **told})
    except ValueError as error:
        said = " ".join(str(error).split())
        raise Malformed(f"offering {n + 1}: {said}", field=str(n)) from None
