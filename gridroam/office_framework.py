"""What the hub's operator does about contract modules, beside a running hub or without one."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from gridroam.office import content_of, open_core
from marketplace.framework import flows, wording
from marketplace.framework.model import BadModule, Module
from marketplace.framework.routes import ModuleHead


async def list_all(home: Path, database_url: str | None) -> list[dict[str, Any]]:
    async with open_core(home, database_url) as parts:
        library = await flows.read(parts.framework)
    return [ModuleHead.of(one).model_dump(mode="json") for one in library.current()]


async def show(
    home: Path, database_url: str | None, name: str, version: int | None
) -> dict[str, Any]:
    async with open_core(home, database_url) as parts:
        return (await flows.read(parts.framework)).find(name, version).to_json()


async def check(file: Path) -> dict[str, Any]:
    """The module, and the text of its standard form where it has one."""
    module = flows.checked(await _told(file))
    standard = module.standard
    text = None if standard is None else wording.text_of(module, standard)
    return {"name": module.name, "sha256": module.digest.hex(), "text": text}


async def publish(home: Path, database_url: str | None, file: Path) -> dict[str, Any]:
    module = await _told(file)
    async with open_core(home, database_url) as parts:
        kept = await flows.publish(parts.framework, parts.hub, parts.hub, module, parts.clock())
    return ModuleHead.of(kept).model_dump(mode="json")


async def _told(file: Path) -> Module:
    """A module out of a file; one in TOML may leave its name to the file's."""
    content = await content_of(file)
    try:
        if file.suffix == ".toml":
            told: Any = {"name": file.stem} | tomllib.loads(content.decode())
        else:
            told = json.loads(content)
    except ValueError as error:
        raise BadModule(
            f"{file} cannot be read: {error}", field="FILE", value=file, rule="JSON or TOML"
        ) from None
    if not isinstance(told, dict):
        raise BadModule("a module is an object", field="FILE", value=file, rule="an object")
    return Module.parse(told)
