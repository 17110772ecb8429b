"""What the hub's operator does about services, beside a running hub or without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.health.flows import health_of
from gateway.health.routes import EndpointShown, HealthShown
from gateway.health.store import SqlReports
from gridroam.gateway_answers import OneForHealth
from gridroam.office import open_core
from marketplace.services import flows
from marketplace.services.handling import Mode
from marketplace.services.lifecycle import Action, Wish
from marketplace.services.model import Service
from marketplace.services.shapes import ServiceShown

AT_ONCE = 1000


async def list_all(home: Path, database_url: str | None) -> list[dict[str, Any]]:
    """Every version of every service, drafts and retired ones too."""
    found: list[dict[str, Any]] = []
    async with open_core(home, database_url) as parts:
        after: tuple[str, int] | None = None
        while page := await flows.everything(parts.catalogue, after, AT_ONCE):
            found += [_shown(one) for one in page]
            after = page[-1].name, page[-1].major
    return found


async def show(home: Path, database_url: str | None, name: str, major: int) -> dict[str, Any]:
    async with open_core(home, database_url) as parts:
        return _shown(await flows.find(parts.catalogue, None, name, major))


async def versions(home: Path, database_url: str | None, name: str) -> list[dict[str, Any]]:
    async with open_core(home, database_url) as parts:
        return [_shown(one) for one in await flows.versions(parts.catalogue, None, name)]


async def health(home: Path, database_url: str | None, name: str, major: int) -> dict[str, Any]:
    """How its endpoints are, as all processes of the hub together see them."""
    async with open_core(home, database_url) as parts:
        service = await flows.find(parts.catalogue, None, name, major)
        found = await health_of(
            name,
            major,
            parts.hub,
            catalogue=OneForHealth(service),
            reports=SqlReports(parts.database, process="office"),
            hub=parts.hub,
            now=parts.clock(),
        )
    endpoints = [EndpointShown.of(one) for one in found]
    return HealthShown(service=name, major=major, endpoints=endpoints).model_dump(mode="json")


async def set_mode(
    home: Path, database_url: str | None, name: str, major: int, mode: Mode
) -> dict[str, Any]:
    async with open_core(home, database_url) as parts:
        return _shown(
            await flows.set_mode(
                parts.catalogue, parts.hub, name, major, mode, memory=parts.book, now=parts.clock()
            )
        )


async def change(
    home: Path,
    database_url: str | None,
    name: str,
    major: int,
    action: Action,
    wish: Wish | None = None,
) -> dict[str, Any]:
    async with open_core(home, database_url) as parts:
        return _shown(
            await flows.change(
                parts.catalogue,
                parts.hub,
                name,
                major,
                action,
                memory=parts.book,
                now=parts.clock(),
                wish=wish,
                overseer=True,
            )
        )


def _shown(service: Service) -> dict[str, Any]:
    return ServiceShown.of(service, whole=True).model_dump(mode="json")
