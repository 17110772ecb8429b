"""Usage is written once for each call, and read by its two parties alone."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from gateway.usage.model import BadCursor, NotRecorded, UsageRecord
from gateway.usage.store import MOST_WAITING, SqlMeter, SqlUsage
from kit.database import Database
from roaming.party import PartyId

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
OPERATOR, STRANGER, PROVIDER = PartyId("FR*PD1"), PartyId("DE*XYZ"), PartyId("NL*ABC")


def record(number: int, **changes: Any) -> UsageRecord:
    return UsageRecord(
        f"{number:032x}",
        NOON,
        "C-1",
        OPERATOR,
        PROVIDER,
        "weather",
        1,
        "GET /",
        "GET",
        200,
        1500,
        10,
        100,
        False,
    )._replace(**changes)


async def rows(database: Database) -> list[tuple[object, ...]]:
    async with database.hot() as connection:
        found = await connection.fetch(
            f"SELECT {', '.join(UsageRecord._fields)} FROM gateway.usage ORDER BY request_id"
        )
    return [tuple(row) for row in found]


async def count(database: Database) -> int:
    return len(await rows(database))


async def test_a_free_call_is_written_soon_and_as_it_was(database: Database) -> None:
    meter = SqlMeter(database)
    meter.note(record(1))
    async with asyncio.timeout(5):
        while not await rows(database):  # noqa: ASYNC110  another connection writes it
            await asyncio.sleep(0.01)
    await meter.close()
    assert await rows(database) == [tuple(record(1))]


async def test_all_that_was_noted_is_written_at_the_end(database: Database) -> None:
    meter = SqlMeter(database)
    for number in range(12_000):
        meter.note(record(number))
    await meter.close()
    assert await count(database) == 12_000


async def test_a_priced_call_is_durable_when_commit_returns(database: Database) -> None:
    meter = SqlMeter(database)
    await asyncio.gather(*(meter.commit(record(number, billable=True)) for number in range(50)))
    assert await count(database) == 50
    await meter.close()


async def test_a_record_that_is_there_already_is_not_written_again(database: Database) -> None:
    meter = SqlMeter(database)
    await meter.commit(record(1, billable=True))
    meter.note(record(1, billable=True, duration_us=9_999))
    meter.note(record(2))
    await meter.close()
    assert await rows(database) == [tuple(record(1, billable=True)), tuple(record(2))]


async def test_a_long_answer_is_told_of_again_when_all_of_it_has_gone_out(
    database: Database,
) -> None:
    meter = SqlMeter(database)
    await meter.commit(record(1, billable=True, bytes_out=1_000_000))
    meter.note(record(1, billable=True, bytes_out=2_400_000))
    await meter.close()
    assert await rows(database) == [tuple(record(1, billable=True, bytes_out=2_400_000))]


async def test_units_are_one_unless_a_provider_told_others(database: Database) -> None:
    meter = SqlMeter(database)
    await meter.commit(record(1, billable=True))
    await meter.commit(record(2, billable=True, units=12))
    await meter.close()
    assert [row[-1] for row in await rows(database)] == [1, 12]


async def test_while_the_database_is_away_nothing_is_lost_and_nothing_priced_passes(
    database: Database,
) -> None:
    meter = SqlMeter(database)
    async with database.hot() as connection:
        await connection.execute("ALTER TABLE gateway.usage RENAME TO away")
    meter.note(record(1))
    with pytest.raises(NotRecorded):
        await meter.commit(record(2, billable=True))
    async with database.hot() as connection:
        await connection.execute("ALTER TABLE gateway.away RENAME TO usage")
    await meter.close()
    assert await rows(database) == [tuple(record(1))]


async def test_what_was_written_after_all_costs_nothing_when_its_answer_was_not_given_away(
    database: Database,
) -> None:
    """Its commit came through, but word of it did not: so the caller was told no."""
    meter = SqlMeter(database)
    paid, refused = record(1, billable=True), record(2, billable=True)
    await meter.commit(paid)
    await meter.commit(refused)
    meter.note(refused._replace(status=503, billable=False))
    # Late, and once more: what is not due stays so.
    await meter.close()
    again = SqlMeter(database)
    await again.commit(refused)
    await again.close()
    async with database.hot() as connection:
        told = await connection.fetch("SELECT status, billable FROM gateway.usage ORDER BY 1")
    assert [tuple(row) for row in told] == [(200, True), (503, False)]


async def test_a_meter_with_too_much_to_write_says_so(database: Database) -> None:
    meter = SqlMeter(database)
    async with database.hot() as connection:
        await connection.execute("LOCK TABLE gateway.usage IN ACCESS EXCLUSIVE MODE")
        for number in range(MOST_WAITING - 1):
            meter.note(record(number))
        assert not meter.full
        meter.note(record(MOST_WAITING))
        assert meter.full
    await meter.close()
    assert not meter.full
    assert await count(database) == MOST_WAITING


DAY = date(2026, 5, 4)


async def filled(database: Database) -> SqlUsage:
    meter = SqlMeter(database)
    meter.note(record(1))
    meter.note(record(2, billable=True))
    meter.note(record(3, status=502, bytes_out=0))
    meter.note(record(4, at=NOON + timedelta(days=1)))
    meter.note(record(5, requester=STRANGER, contract_id="C-2"))
    meter.note(record(6, requester=STRANGER, provider=OPERATOR, contract_id=None))
    meter.note(record(7, requester=STRANGER, provider=STRANGER, contract_id="C-3"))
    await meter.close()
    return SqlUsage(database)


async def days(usage: SqlUsage, party: PartyId, contract_id: str | None = None) -> list[object]:
    page = await usage.by_day(
        party,
        first=DAY,
        last=DAY + timedelta(days=1),
        contract_id=contract_id,
        limit=100,
        cursor=None,
    )
    return [(day.day, day.contract_id, day.requester, day.calls) for day in page.days]


async def test_a_party_sees_what_it_called_and_what_was_called_of_it(database: Database) -> None:
    usage = await filled(database)
    assert await days(usage, OPERATOR) == [
        (DAY, None, STRANGER, 1),
        (DAY, "C-1", OPERATOR, 3),
        (DAY + timedelta(days=1), "C-1", OPERATOR, 1),
    ]
    assert await days(usage, PROVIDER, "C-2") == [(DAY, "C-2", STRANGER, 1)]
    assert await days(usage, OPERATOR, "C-2") == []
    assert await days(usage, PartyId("SE*NIL")) == []


async def test_what_was_tried_out_is_told_apart_page_by_page(database: Database) -> None:
    meter = SqlMeter(database)
    meter.note(record(1, billable=True))
    meter.note(record(2, sandbox=True))
    meter.note(record(3, sandbox=True))
    await meter.close()
    usage = SqlUsage(database)
    seen, cursor = [], None
    while True:
        page = await usage.by_day(
            PROVIDER, first=DAY, last=DAY, contract_id=None, limit=1, cursor=cursor
        )
        seen += [(day.sandbox, day.calls, day.billable_calls) for day in page.days]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [(False, 1, 1), (True, 2, 0)]


async def test_a_day_adds_up(database: Database) -> None:
    usage = await filled(database)
    page = await usage.by_day(
        OPERATOR, first=DAY, last=DAY, contract_id="C-1", limit=10, cursor=None
    )
    (day,) = page.days
    assert (day.calls, day.billable_calls, day.failed_calls) == (3, 1, 1)
    assert (day.bytes_in, day.bytes_out) == (30, 200)


async def test_pages_follow_each_other_without_gap_or_double(database: Database) -> None:
    usage = await filled(database)
    seen, cursor, pages = [], None, 0
    while True:
        page = await usage.by_day(
            STRANGER, first=DAY, last=DAY, contract_id=None, limit=1, cursor=cursor
        )
        seen += [day.contract_id for day in page.days]
        pages += 1
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [None, "C-2", "C-3"]
    assert pages == 3


async def test_a_cursor_that_nobody_gave_out_is_refused(database: Database) -> None:
    for cursor in ("x", "!!!", "bm90IGpzb24="):
        with pytest.raises(BadCursor):
            await SqlUsage(database).by_day(
                OPERATOR, first=DAY, last=DAY, contract_id=None, limit=1, cursor=cursor
            )
