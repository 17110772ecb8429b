"""What processes see of endpoints, kept for all of them; each change is told once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.health.model import Failed, Place, Report, State, spread_of, together
from gateway.health.store import LIVES, SqlReports
from kit.database import Database
from roaming.party import PartyId

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PLACE = Place("weather", 1, False, 1, "https://a.example/?key=secret")
WELL = Report(PLACE, PartyId("NL*ABC"), State.CLOSED, True, 10, 0, None, spread_of([900, 1100]))
DOWN = replace(WELL, state=State.OPEN, well=False, failures=5, failed=Failed("unreachable", NOON))


async def told(database: Database) -> list[tuple[str, dict[str, Any]]]:
    async with database.hot() as connection:
        rows = await connection.fetch(
            "SELECT type, party, body::text AS body FROM kit.event"
            " WHERE type LIKE 'endpoint-%' ORDER BY stream, version"
        )
    assert {row["party"] for row in rows} <= {"NL*ABC"}
    return [(row["type"], json.loads(row["body"])) for row in rows]


async def test_what_all_processes_see_is_read_by_any(database: Database) -> None:
    one, other = SqlReports(database, "one"), SqlReports(database, "other")
    await one.keep([WELL], NOON)
    await other.keep([DOWN], NOON)
    seen = await one.read("weather", 1, NOON)
    assert seen == await other.read("weather", 1, NOON)
    assert sorted(seen[PLACE.address], key=lambda report: report.failures) == [WELL, DOWN]
    health = together(PLACE, seen[PLACE.address])
    assert (health.state, health.processes, health.resting_in) == (State.OPEN, 2, 1)
    assert (health.calls, health.failures) == (20, 5)
    assert await one.read("weather", 2, NOON) == {}


async def test_an_endpoint_that_goes_down_and_comes_back_is_told_once_by_all_processes(
    database: Database,
) -> None:
    both = [SqlReports(database, "one"), SqlReports(database, "other")]

    async def all_keep(report: Report, at: datetime) -> None:
        await asyncio.gather(*(one.keep([report], at) for one in both))

    await all_keep(WELL, NOON)
    assert await told(database) == []
    for second in range(1, 4):
        await all_keep(replace(DOWN, calls=second), NOON + second * SECOND)
    assert await told(database) == [
        (
            "endpoint-went-down",
            {
                "service": "weather",
                "major": 1,
                "environment": "live",
                "number": 1,
                "failure": "unreachable",
            },
        )
    ]
    # It is not back as long as one of them lets it alone, nor by a process that knows nothing yet.
    await both[0].keep([WELL], NOON + 10 * SECOND)
    await both[1].keep([replace(DOWN, state=State.HALF_OPEN)], NOON + 10 * SECOND)
    await both[0].keep([replace(WELL, well=False)], NOON + 11 * SECOND)
    assert len(await told(database)) == 1
    for second in range(12, 15):
        await all_keep(replace(WELL, calls=second), NOON + second * SECOND)
    ((_, _), (kind, body)) = await told(database)
    assert (kind, body["down_s"]) == ("endpoint-came-back", 11.0)
    # The next time is another.
    await all_keep(replace(DOWN, calls=99), NOON + 20 * SECOND)
    assert [kind for kind, _ in await told(database)][2:] == ["endpoint-went-down"]


async def test_a_process_that_died_says_nothing_any_more(database: Database) -> None:
    dead, alive = SqlReports(database, "dead"), SqlReports(database, "alive")
    await dead.keep([DOWN], NOON)
    await alive.keep([WELL], NOON)
    assert [kind for kind, _ in await told(database)] == ["endpoint-went-down"]
    later = NOON + LIVES + SECOND
    await alive.keep([WELL], later)
    assert (await alive.read("weather", 1, later))[PLACE.address] == [WELL]
    assert [kind for kind, _ in await told(database)][1:] == ["endpoint-came-back"]


async def test_what_has_not_changed_is_written_again_only_to_show_that_its_process_lives(
    database: Database,
) -> None:
    reports = SqlReports(database, "one")

    async def written_at() -> datetime:
        async with database.hot() as connection:
            at = await connection.fetchval("SELECT written_at FROM gateway.endpoint_health")
        assert isinstance(at, datetime)
        return at

    await reports.keep([WELL], NOON)
    await reports.keep([WELL], NOON + 2 * SECOND)
    assert await written_at() == NOON
    await reports.keep([WELL], NOON + LIVES / 2)
    assert await written_at() == NOON + LIVES / 2
