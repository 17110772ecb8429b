"""Figures are those of the calls themselves, and of one's own alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from gateway.monitoring.model import By, Every, Figures, Question
from gateway.monitoring.store import SqlRecords
from gateway.usage.model import BadCursor, UsageRecord
from gateway.usage.store import SqlMeter
from kit.database import Database
from tests.gateway.usage.test_store import NOON, OPERATOR, PROVIDER, STRANGER, record

HOUR = timedelta(hours=1)
QUESTION = Question(NOON, NOON + HOUR)


async def filled(database: Database, *records: UsageRecord) -> SqlRecords:
    meter = SqlMeter(database)
    for one in records:
        meter.note(one)
    await meter.close()
    return SqlRecords(database)


async def figures(records: SqlRecords, question: Question) -> list[Figures]:
    return (await records.figures(OPERATOR, question, limit=1000, cursor=None)).figures


async def test_calls_errors_and_times_are_told(database: Database) -> None:
    records = await filled(
        database,
        *(record(number, duration_us=number * 1000) for number in range(1, 98)),
        record(98, status=404, duration_us=98_000),
        record(99, status=499, duration_us=99_000),
        record(100, status=502, duration_us=100_000),
    )
    [one] = await figures(records, QUESTION)
    assert (one.calls, one.caller_errors, one.provider_errors) == (100, 2, 1)
    assert (one.p50_us, one.p95_us, one.p99_us) == (50_000, 95_000, 99_000)
    assert (one.service, one.contract_id, one.operation) == ("weather", "C-1", "GET /")
    assert one.per_second == 100 / 3600
    assert one.error_share == 0.01


async def test_calls_are_told_apart_as_finely_as_asked(database: Database) -> None:
    records = await filled(
        database,
        record(1),
        record(2, operation="GET /b"),
        record(3, contract_id="C-2"),
        record(4, service="roads"),
    )
    for by, told in (
        (By.SERVICE, [("roads", None, None, 1), ("weather", None, None, 3)]),
        (By.CONTRACT, [("roads", "C-1", None, 1), ("weather", "C-1", None, 2)]),
        (By.OPERATION, [("roads", "C-1", "GET /", 1), ("weather", "C-1", "GET /", 1)]),
    ):
        found = await figures(records, replace(QUESTION, by=by))
        shown = [(one.service, one.contract_id, one.operation, one.calls) for one in found]
        assert shown[:2] == told


async def test_a_time_is_told_in_steps_and_its_end_is_left_out(database: Database) -> None:
    records = await filled(
        database, record(1), record(2, at=NOON + HOUR), record(3, at=NOON + 2 * HOUR)
    )
    question = Question(NOON, NOON + 2 * HOUR, every=Every.HOUR)
    told = [(one.begins_at, one.calls) for one in await figures(records, question)]
    assert told == [(NOON, 1), (NOON + HOUR, 1)]


async def test_a_party_sees_its_own_calls_on_either_side_and_no_others(database: Database) -> None:
    records = await filled(database, record(1), record(2, requester=STRANGER, contract_id="C-2"))
    for party, calls in ((OPERATOR, 1), (PROVIDER, 2), (STRANGER, 1), (None, 2)):
        page = await records.figures(party, replace(QUESTION, by=By.SERVICE), limit=10, cursor=None)
        assert sum(one.calls for one in page.figures) == calls


@pytest.mark.parametrize(
    "asked", [{"service": "roads"}, {"contract_id": "C-2"}, {"operation": "GET /b"}], ids=str
)
async def test_one_service_contract_or_operation_alone(
    database: Database, asked: dict[str, str]
) -> None:
    records = await filled(
        database,
        record(1),
        record(2, **asked),
    )
    [one] = await figures(records, replace(QUESTION, **asked))  # type: ignore[arg-type]
    assert one.calls == 1


async def test_what_was_tried_out_is_told_apart_from_what_counts(database: Database) -> None:
    records = await filled(database, record(1), record(2, sandbox=True, duration_us=7))
    [live] = await figures(records, QUESTION)
    [tried] = await figures(records, replace(QUESTION, sandbox=True))
    assert (live.calls, live.p99_us, tried.calls, tried.p99_us) == (1, 1_500, 1, 7)


async def test_pages_hold_every_row_once(database: Database) -> None:
    records = await filled(database, *(record(n, operation=f"GET /{n}") for n in range(7)))
    seen: list[str | None] = []
    cursor: str | None = None
    while True:
        page = await records.figures(OPERATOR, QUESTION, limit=3, cursor=cursor)
        seen += [one.operation for one in page.figures]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"GET /{n}" for n in range(7)]


@pytest.mark.parametrize("cursor", ["", "x", "WzFd"])
async def test_a_cursor_that_nobody_gave_out_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(BadCursor):
        await SqlRecords(database).figures(OPERATOR, QUESTION, limit=3, cursor=cursor)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(durations_us=some.lists(some.integers(0, 10**7), min_size=1, max_size=60))
async def test_a_percentile_is_the_time_of_a_call_that_was_made(
    database: Database, durations_us: list[int]
) -> None:
    async with database.hot() as connection:
        await connection.execute("TRUNCATE gateway.usage")
    records = await filled(
        database, *(record(n, duration_us=us) for n, us in enumerate(durations_us))
    )
    [one] = await figures(records, QUESTION)
    ordered = sorted(durations_us)
    for percent, told in ((50, one.p50_us), (95, one.p95_us), (99, one.p99_us)):
        # So many of a hundred calls took no longer, and with any shorter time fewer would.
        assert told == ordered[-(-len(ordered) * percent // 100) - 1]
