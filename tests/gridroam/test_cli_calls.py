"""The hub's operator asks on the command line how services fare."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from gateway.usage.store import SqlMeter
from kit.clock import utc_now
from kit.database import Database
from tests.gateway.usage.test_store import record
from tests.gridroam.processes import Done, gridroam


async def test_services_are_told_as_numbers_and_as_a_picture(
    hub_database_url: str, tmp_path: Path
) -> None:
    async def run(*arguments: str) -> Done:
        place = ("--home", str(tmp_path / "home"), "--database-url", hub_database_url)
        return await gridroam("calls", *arguments, *place, tmp_path=tmp_path)

    assert "No calls within 1h" in (await run()).out

    now = utc_now()
    database = await Database.open(hub_database_url)
    meter = SqlMeter(database)
    for number in range(4):
        meter.note(record(number, at=now - number * timedelta(hours=1), duration_us=2_500))
    meter.note(record(9, at=now, status=502, operation="GET /b"))
    await meter.close()
    await database.close()

    one = json.loads((await run("--json")).out)
    assert (one["service"], one["calls"], one["provider_errors"]) == ("weather", 2, 1)
    found = (await run("--last", "1d", "--by", "operation", "--json")).out.splitlines()
    assert [(json.loads(line)["operation"], json.loads(line)["calls"]) for line in found] == [
        ("GET /", 4),
        ("GET /b", 1),
    ]
    table = (await run("--last", "4h", "--every", "hour")).out
    assert "█" in table
    assert "weather" in table
    assert "No calls" in (await run("--party", "DE*XYZ", "--last", "7d")).out
    for arguments, says in (
        (("--last", "soon"), "--last"),
        (("--last", "40d"), "31 days"),
        (("--party", "nobody"), "nobody"),
        (("--last", "7d", "--every", "minute"), "every"),
    ):
        refused = await run(*arguments)
        assert refused.code == 2, refused
        assert says in refused.err
