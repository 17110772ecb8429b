"""What the hub's operator does from the command line, beside a running hub or without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gridroam.core import Core, core
from gridroam.home import Home
from gridroam.settings import Settings
from kit.clock import utc_now
from marketplace.partners import flows as partner_flows
from marketplace.partners.flows import Registration
from marketplace.partners.model import roles_of
from roaming.party import PartyId
from roaming.refusal import Malformed
from search_evse.sites import flows as site_flows
from search_evse.sites.model import ImportReport
from search_evse.sites.store import SqlBooks as Sites


@asynccontextmanager
async def open_core(home: Path, database_url: str | None) -> AsyncIterator[Core]:
    """The books of the hub on `home`, its market open."""
    place = Home(home, database_url)
    async with place.database() as database:
        parts = core(database, place.secret, hub=Settings(home=home).hub_party, clock=utc_now)
        await parts.open_the_market()
        yield parts


async def add_partner(
    home: Path, database_url: str | None, party: PartyId, roles: Sequence[str], name: str
) -> Registration:
    """Register a partner, or give a registered one a further secret."""
    asked = roles_of(roles)
    async with open_core(home, database_url) as parts:
        return await register(parts, party, asked, name)


async def register(parts: Core, party: PartyId, roles: Any, name: str) -> Registration:
    return await partner_flows.register(
        parts.partners, party, roles, name, hasher=parts.checker, now=parts.clock()
    )


async def content_of(file: Path) -> bytes:
    """All of a file that was named on the command line. Malformed where it cannot be read."""
    try:
        return await asyncio.to_thread(file.read_bytes)
    except OSError as error:
        raise Malformed(f"cannot read {file}: {error.strerror}", field="FILE", value=file) from None


async def import_evses(
    home: Path,
    database_url: str | None,
    file: Path,
    operator: PartyId | None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Import a file of charge points; what became of its rows."""
    async with open_core(home, database_url) as parts:
        return asdict(await import_into(parts, file, operator, progress))


async def import_into(
    parts: Core,
    file: Path,
    operator: PartyId | None = None,
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    try:
        source = await asyncio.to_thread(file.open, "rb")
    except OSError as error:
        raise Malformed(f"cannot read {file}: {error.strerror}", field="FILE", value=file) from None
    with source:
        return await site_flows.import_evses(
            source,
            books=Sites(parts.database),
            clock=parts.clock,
            operator=operator,
            progress=progress,
        )
