"""Status reports on a real PostgreSQL, one after another and all at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from kit import event_log
from kit.database import Database
from roaming.events import EventType
from roaming.evse_id import EvseId
from search_evse.availability.flows import report_status
from search_evse.availability.model import EvseOfAnother, Reported, Standing
from search_evse.availability.store import SqlBoards
from search_evse.sites.model import Intake, Status
from search_evse.sites.store import SqlBooks
from tests.search_evse.cuts import FAST, NOW, OTHER, clock, told

PLEIN = EvseId("NL*FAS*E1")


@pytest.fixture
async def boards(database: Database) -> SqlBoards:
    row = told("NL*FAS*E1", last_updated=NOW - timedelta(hours=2))
    async with SqlBooks(database).open() as book:
        await book.write(Intake(now=NOW).take([row], {}).changes)
    return SqlBoards(database)


async def report(boards: SqlBoards, status: Status, minutes: int = 0) -> Standing:
    reported = Reported(PLEIN, status, NOW - timedelta(minutes=60 - minutes), FAST)
    return await report_status(reported, boards=boards, clock=clock)


async def told_of(database: Database) -> list[tuple[str, str]]:
    async with database.begin() as connection:
        events = await event_log.read(
            connection, event_log.START, types=[EventType.EVSE_STATUS_CHANGED]
        )
    return [(event.body["from"], event.body["to"]) for event in events]


async def test_a_report_is_held_and_told(database: Database, boards: SqlBoards) -> None:
    assert (await report(boards, Status.CHARGING)).status is Status.CHARGING
    async with boards.open() as board:
        standing = await board.standing(PLEIN)
    assert standing == Standing(FAST, Status.CHARGING, NOW - timedelta(hours=1))
    assert await told_of(database) == [("AVAILABLE", "CHARGING")]


async def test_the_same_status_again_is_held_and_not_told(
    database: Database, boards: SqlBoards
) -> None:
    await report(boards, Status.CHARGING, 0)
    assert (await report(boards, Status.CHARGING, 5)).at == NOW - timedelta(minutes=55)
    assert (await report(boards, Status.AVAILABLE, 1)).status is Status.CHARGING
    assert await told_of(database) == [("AVAILABLE", "CHARGING")]


async def test_reports_that_come_all_at_once_leave_the_newest(
    database: Database, boards: SqlBoards
) -> None:
    cycle = (Status.CHARGING, Status.AVAILABLE)
    await asyncio.gather(*(report(boards, cycle[n % 2], n) for n in range(20)))
    async with boards.open() as board:
        standing = await board.standing(PLEIN)
    assert standing == Standing(FAST, Status.AVAILABLE, NOW - timedelta(minutes=41))
    assert (await told_of(database))[-1][1] == "AVAILABLE"


async def test_a_refused_report_leaves_no_trace(database: Database, boards: SqlBoards) -> None:
    with pytest.raises(EvseOfAnother):
        await report_status(
            Reported(PLEIN, Status.CHARGING, NOW, OTHER), boards=boards, clock=clock
        )
    assert await told_of(database) == []


async def test_a_removed_evse_leaves_the_search_and_can_come_back(
    database: Database, boards: SqlBoards
) -> None:
    for minutes, status in enumerate((Status.REMOVED, Status.PLANNED)):
        await report(boards, status, minutes)
        findable = await database.pool.fetchval("SELECT findable FROM search_evse.evse")
        assert findable is (status is not Status.REMOVED)


async def test_a_status_that_comes_and_goes_touches_no_index(
    database: Database, boards: SqlBoards
) -> None:
    for minutes in range(10):
        await report(boards, (Status.CHARGING, Status.AVAILABLE)[minutes % 2], minutes)
    async with asyncio.timeout(10):
        updated, hot = 0, 0
        while updated < 10:
            await database.pool.execute("SELECT pg_stat_force_next_flush()")
            row = await database.pool.fetchrow(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'evse'"
            )
            assert row is not None
            updated, hot = row
    assert hot == updated
