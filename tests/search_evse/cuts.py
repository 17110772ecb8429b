"""The cuts of real registers, and ready-made rows, clocks and callers for tests of this wing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from kit.http import CALLER, Caller
from roaming.evse_id import EvseId
from roaming.party import PartyId
from search_evse.sites.model import Connector, Evse, Site, Status, Told

DATA = Path(__file__).parent / "data"
DUTCH = DATA / "nl_ndw_ocpi_locations.jsonl"
FRENCH = DATA / "fr_irve_statique.csv"
NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
FAST, OTHER = PartyId("NL*FAS"), PartyId("DE*ABC")


def clock() -> datetime:
    return NOW


def dutch_locations() -> list[dict[str, Any]]:
    return [json.loads(line) for line in DUTCH.read_text().splitlines()]


def told(
    evse_id: str,
    latitude: float = 52.0,
    longitude: float = 5.0,
    *,
    status: Status | None = Status.AVAILABLE,
    connectors: tuple[Connector, ...] = (),
    name: str | None = "Plein",
    city: str | None = None,
    published: bool = True,
    last_updated: datetime | None = NOW,
) -> Told:
    """One EVSE on a site of its own."""
    known = EvseId(evse_id)
    site = Site(
        operator=known.party,
        id=f"site of {known}",
        latitude=latitude,
        longitude=longitude,
        country=known.party.country,
        name=name,
        city=city,
        time_zone="Europe/Amsterdam",
        published=published,
        last_updated=last_updated,
    )
    evse = Evse(
        id=known,
        latitude=latitude,
        longitude=longitude,
        status=status,
        connectors=connectors,
        last_updated=last_updated,
    )
    return Told(1, site, evse)


def let_in(app: ASGIApp, party: PartyId, *roles: str) -> ASGIApp:
    """The application as the door shows it to `party`."""
    caller = Caller(party, frozenset(roles), "client", None, "request")

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, CALLER: caller}, receive, send)

    return door
