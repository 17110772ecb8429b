"""The hub's operator looks after the catalogue on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from kit.database import Database
from marketplace.services.model import Status
from marketplace.services.store import SqlCatalogue
from tests.gridroam.processes import Done, gridroam
from tests.marketplace.fakes import NOW
from tests.marketplace.services.test_model import SERVICE


async def test_services_are_listed_shown_suspended_published_and_their_mode_is_set(
    hub_database_url: str, tmp_path: Path
) -> None:
    async def run(*arguments: str) -> Done:
        place = ("--home", str(tmp_path / "home"), "--database-url", hub_database_url)
        return await gridroam("service", *arguments, *place, tmp_path=tmp_path)

    async def told(*arguments: str) -> Any:
        done = await run(*arguments)
        assert done.code == 0, done.err
        return json.loads(done.out)

    database = await Database.open(hub_database_url)
    async with SqlCatalogue(database).open() as shelf:
        await shelf.add(replace(SERVICE, status=Status.PUBLISHED), NOW)
        await shelf.add(replace(SERVICE, major=2), NOW)
    await database.close()

    listed = [json.loads(line) for line in (await run("list", "--json")).out.splitlines()]
    found = {(one["name"], one["major"]): one for one in listed}
    assert found.keys() >= {("search-evse", 1), ("parking", 1), ("parking", 2)}
    assert found["parking", 1]["endpoint"] == SERVICE.endpoint
    assert await told("show", "parking", "--major", "2") == found["parking", 2]

    held = await told("suspend", "parking")
    assert (held["status"], held["held"]) == ("suspended", True)
    assert (await told("mode", "search-evse", "shadow"))["handling"]["mode"] == "shadow"
    table = (await run("list")).out
    assert "held" in table
    assert "parking v2" in table
    assert (await told("publish", "parking"))["held"] is False

    for arguments, says in (
        (("show", "no-such"), "no such service"),
        (("show", "parking", "--major", "3"), "no such service"),
        (("suspend", "parking", "--major", "2"), "takes no suspend"),
        (("mode", "parking", "on"), "on"),
    ):
        refused = await run(*arguments)
        assert refused.code == 2, refused
        assert says in refused.err
