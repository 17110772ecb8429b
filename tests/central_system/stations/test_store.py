"""Statuses on real SQL: what the hub knows, what is due, and two connectors of one EVSE."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from central_system.stations.model import LEASE, StationRef, StatusChange, enrolment
from central_system.stations.store import SqlStations, SqlStatuses, take_statuses
from kit.database import Database
from tests.central_system.fakes import OPERATOR

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
REF = StationRef(OPERATOR, "CP1")


@pytest.fixture
async def stations(database: Database) -> SqlStations:
    stations = SqlStations(database)
    both = enrolment("CP1", {"1": "FR*PD1*E1", "2": "FR*PD1*E1"}, None)
    await stations.enrol(OPERATOR, [both], NOON)
    return stations


async def change(database: Database, connector_id: int, status: str) -> None:
    async with database.hot() as connection:
        new = StatusChange(connector_id, status, "NoError", NOON)
        await take_statuses(connection, [(REF, new)])


async def test_the_hub_hears_of_a_status_once(database: Database, stations: SqlStations) -> None:
    statuses = SqlStatuses(database)
    assert await statuses.due(10) == []
    await change(database, 1, "Available")
    (due,) = await statuses.due(10)
    assert due.status == "AVAILABLE"
    await statuses.told(due)
    assert await statuses.due(10) == []
    await change(database, 1, "Available")
    assert await statuses.due(10) == []


async def test_a_change_while_the_hub_is_being_told_stays_due(
    database: Database, stations: SqlStations
) -> None:
    statuses = SqlStatuses(database)
    await change(database, 1, "Available")
    (due,) = await statuses.due(10)
    await change(database, 1, "Charging")
    await statuses.told(due)
    (later,) = await statuses.due(10)
    assert later.status == "CHARGING"


async def test_two_connectors_of_one_evse_speak_with_one_voice(
    database: Database, stations: SqlStations
) -> None:
    statuses = SqlStatuses(database)
    await change(database, 1, "Charging")
    await change(database, 2, "Unavailable")
    (due,) = await statuses.due(10)
    assert due.status == "CHARGING"


async def test_the_main_controller_and_strange_connectors_concern_no_driver(
    database: Database, stations: SqlStations
) -> None:
    await change(database, 0, "Faulted")
    await change(database, 77, "Faulted")
    assert await SqlStatuses(database).due(10) == []
    station = await stations.find(REF)
    assert station is not None
    assert [(one.connector_id, one.status) for one in station.connectors] == [
        (0, "Faulted"),
        (1, None),
        (2, None),
    ]


async def test_a_connection_of_a_process_that_died_ends_with_its_lease(
    stations: SqlStations,
) -> None:
    async def connected(at: datetime) -> bool:
        return (await stations.page(OPERATOR, after="", limit=1, now=at))[0].connected

    await stations.connected(REF, "first", NOON)
    assert await connected(NOON + LEASE / 2)
    assert not await connected(NOON + LEASE)
    await stations.renew(["first"], NOON + LEASE)
    assert await connected(NOON + LEASE)
    await stations.connected(REF, "second", NOON + LEASE)
    await stations.disconnected(REF, "first", NOON + LEASE)
    assert await connected(NOON + LEASE + timedelta(seconds=1))
    assert await stations.connection_of(REF) == "second"
