"""What the hub's operator does about services, beside a running hub or without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gridroam.office import open_core
from marketplace.services import flows
from marketplace.services.handling import Mode
from marketplace.services.model import Action, Service
from marketplace.services.routes import ServiceShown

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
    home: Path, database_url: str | None, name: str, major: int, action: Action
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
                overseer=True,
            )
        )


def _shown(service: Service) -> dict[str, Any]:
    return ServiceShown.of(service, whole=True).model_dump(mode="json")
