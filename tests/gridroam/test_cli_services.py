"""The hub's operator looks after the catalogue on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.health.model import Failed, Place, Report, State, spread_of
from gateway.health.store import SqlReports
from gridroam.core import COMMITMENTS
from kit.clock import utc_now
from kit.database import Database
from marketplace.services.model import Endpoint, Environment, Status
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
    async with SqlCatalogue(database, COMMITMENTS).open() as shelf:
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


async def test_how_endpoints_are_is_told_as_a_table_and_as_json(
    hub_database_url: str, tmp_path: Path
) -> None:
    async def run(*arguments: str) -> Done:
        place = ("--home", str(tmp_path / "home"), "--database-url", hub_database_url)
        return await gridroam("service", "health", *arguments, *place, tmp_path=tmp_path)

    sandbox = Endpoint("https://try.example/", Environment.SANDBOX)
    parking = replace(SERVICE, status=Status.PUBLISHED, more_endpoints=(sandbox,))
    assert parking.endpoint is not None
    now = utc_now()
    database = await Database.open(hub_database_url)
    async with SqlCatalogue(database, COMMITMENTS).open() as shelf:
        await shelf.add(parking, NOW)
    await SqlReports(database, "one").keep(
        [
            Report(
                Place("parking", 1, False, 1, parking.endpoint),
                parking.provider,
                State.OPEN,
                well=False,
                calls=12,
                failures=5,
                failed=Failed("unreachable", now),
                spread=spread_of([1_000, 1_000, 90_000]),
            )
        ],
        now,
    )
    await database.close()

    told = json.loads((await run("parking", "--json")).out)
    live, tried = told["endpoints"]
    assert (live["url"], live["state"], live["resting_in"]) == (parking.endpoint, "open", 1)
    assert (live["calls"], live["failures"]) == (12, 5)
    assert live["last_failure"]["kind"] == "unreachable"
    assert (tried["url"], tried["environment"], tried["processes"]) == (sandbox.url, "sandbox", 0)
    table = (await run("parking")).out
    for says in ("open 1/1", "unreachable", "unknown", "sandbox", " 12 ", " 5 "):
        assert says in table, table
    for arguments, says in (
        (("no-such",), "no such service"),
        (("search-evse",), "no partner's service"),
    ):
        refused = await run(*arguments)
        assert refused.code == 2, refused
        assert says in refused.err
