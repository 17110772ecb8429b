"""What happens in the framework: modules come, are read, and contracts are put on paper."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from marketplace.framework import parameters, wording
from marketplace.framework.document import canonical
from marketplace.framework.library import built_in
from marketplace.framework.model import (
    MOST_MODULES,
    FrameworkFull,
    Library,
    Module,
    NotYourFramework,
)
from marketplace.framework.ports import Agreements, Paper, Shelf, Shelves
from roaming.party import PartyId


async def ensure_library(shelves: Shelves, now: datetime) -> None:
    """The modules that come with the hub are published; safe at every start.

    A module that came with the hub and reads otherwise by now gets another version. One that the
    operator has published a version of stays the operator's.
    """
    wanted = built_in()
    async with shelves.open() as shelf:
        if not _missing(await shelf.library(), await shelf.built_in_names(), wanted):
            return
        await shelf.lock()
        library, ours = await shelf.library(), await shelf.built_in_names()
        for module in _missing(library, ours, wanted):
            await _number(shelf, library, module, None, now)


async def publish(
    shelves: Shelves, caller: PartyId, hub: PartyId, module: Module, now: datetime
) -> Module:
    """A module's next version; the same as its current one is that one.

    What runs keeps its version. NotYourFramework, BadModule, FrameworkFull.
    """
    if caller != hub:
        raise NotYourFramework(
            "modules are published by the hub's operator", field="name", value=module.name
        )
    checked(module)
    async with shelves.open() as shelf:
        await shelf.lock()
        library = await shelf.library()
        if len(library.modules) >= MOST_MODULES:
            raise FrameworkFull(
                "there are as many modules as the framework takes",
                field="name",
                value=module.name,
                rule=f"at most {MOST_MODULES} versions of all modules",
            )
        return await _number(shelf, library, module, caller, now)


def checked(module: Module) -> Module:
    """The module itself, when its schema, template and standard form go together; BadModule."""
    parameters.check_schema(module)
    wording.check(module)
    parameters.check_standard(module)
    return module


async def read(shelves: Shelves) -> Library:
    async with shelves.open() as shelf:
        return await shelf.library()


async def paper(
    shelves: Shelves, agreements: Agreements, caller: PartyId, contract_id: str, now: datetime
) -> Paper:
    """The document of one of the caller's contracts: the one that was signed, or else the one that
    is drawn up the first time that somebody asks, and kept. A refusal of `agreements`."""
    await agreements.must_be_in(caller, contract_id)
    async with shelves.open() as shelf:
        known = await shelf.paper(contract_id)
    if known is not None:
        return known
    drawn = await agreements.document(caller, contract_id)
    async with shelves.open() as shelf:
        await shelf.keep_paper(contract_id, Paper(canonical(drawn)), now)
        # Asked for twice at once: what was kept first is the document.
        known = await shelf.paper(contract_id)
    assert known is not None
    return known


def _missing(library: Library, ours: frozenset[str], wanted: Sequence[Module]) -> list[Module]:
    current = {one.name: one.digest for one in library.current()}
    return [
        one
        for one in wanted
        if one.name not in current or (one.name in ours and current[one.name] != one.digest)
    ]


async def _number(
    shelf: Shelf, library: Library, module: Module, by: PartyId | None, now: datetime
) -> Module:
    versions = [one for one in library.modules if one.name == module.name]
    last = max(versions, key=lambda one: one.version, default=None)
    if last is not None and last.digest == module.digest:
        return last
    numbered = module.numbered(1 if last is None else last.version + 1)
    await shelf.add(numbered, by, now)
    return numbered
