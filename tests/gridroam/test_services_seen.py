"""How the services fare, as the console is told: the worst first, and no address of anybody."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta

from gateway.health.store import LIVES, SqlReports
from gateway.monitoring.store import SqlRecords
from gateway.usage.store import SqlMeter
from gridroam.services_seen import ServicesForConsole
from kit.database import Database
from marketplace.contracts.book import ContractBook
from tests.gateway.health.test_store import DOWN, NOON, WELL
from tests.gateway.usage.test_store import record
from tests.gridroam.test_gateway_answers import Rows


async def test_calls_and_endpoints_are_told_together_and_those_first_that_fare_worst(
    database: Database,
) -> None:
    book = ContractBook(Rows(), lambda: NOON)
    await book.load()
    meter = SqlMeter(database)
    for number in range(10):
        meter.note(record(number, at=NOON - timedelta(minutes=1), service="busy"))
    meter.note(record(10, at=NOON - timedelta(minutes=4), duration_us=2_500))
    meter.note(record(11, at=NOON - timedelta(minutes=1), duration_us=2_500, status=502))
    meter.note(record(12, at=NOON - timedelta(minutes=1), duration_us=2_500, status=404))
    meter.note(record(13, at=NOON - timedelta(minutes=6)))
    await meter.close()
    second = replace(WELL, place=replace(WELL.place, number=2, url="https://b.example/"))
    sandbox = replace(WELL, place=replace(WELL.place, sandbox=True))
    await SqlReports(database, "one").keep([sandbox, second, DOWN], NOON)
    await SqlReports(database, "other").keep([WELL], NOON)
    await SqlReports(database, "gone").keep(
        [replace(WELL, place=replace(WELL.place, service="gone"))], NOON - 2 * LIVES
    )
    services = ServicesForConsole(
        book, SqlRecords(database), SqlReports(database, "asking"), lambda: NOON
    )
    weather, busy = await services.services(10)
    assert (weather.name, weather.provider) == ("weather", "FR*OWN")
    assert (weather.calls, weather.failed, weather.theirs, weather.p95_ms) == (3, 1, 1, 2.5)
    assert [
        (end.place, end.state, end.processes, end.resting_in, end.last_failure)
        for end in weather.endpoints
    ] == [
        ("live-1", "open", 2, 1, "unreachable"),
        ("live-2", "closed", 1, 0, None),
        ("sandbox-1", "closed", 1, 0, None),
    ]
    assert (busy.name, busy.calls, busy.endpoints) == ("busy", 10, [])
    assert "example" not in str(asdict(weather))
    assert "secret" not in str(asdict(weather))
    assert [one.name for one in await services.services(1)] == ["weather"]
