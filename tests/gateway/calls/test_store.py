"""Quotas are exact over processes; a flood of refusals is a trickle of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import asyncpg
import pytest

from gateway.calls.model import Allowance, Quota, QuotaExceeded, Reason, RefusedCall
from gateway.calls.store import MOST_KINDS, RefusalLog, SqlQuotas
from kit.database import Database
from kit.event_log import START, Event, read
from roaming.events import EventType
from roaming.party import PartyId
from tests.gateway.calls.fakes import NOON, OPERATOR, STRANGER

HUB = PartyId("EU*GRD")


@pytest.fixture
async def two(database: Database, database_url: str) -> AsyncIterator[tuple[SqlQuotas, SqlQuotas]]:
    """The same quotas seen by two processes, each with a pool of its own."""
    other = await Database.open(database_url, pool_size=4)
    here, there = SqlQuotas(database), SqlQuotas(other)
    yield here, there
    await here.close()
    await there.close()
    await other.close()


async def passed(
    quotas: SqlQuotas, quota: Quota, calls: int, at: datetime = NOON
) -> list[Allowance]:
    async def one() -> Allowance | None:
        try:
            return await quotas.reserve("C-1", quota, at)
        except QuotaExceeded:
            return None

    told = await asyncio.gather(*(one() for _ in range(calls)))
    return [allowance for allowance in told if allowance is not None]


async def used(database: Database) -> int:
    async with database.hot() as connection:
        return int(await connection.fetchval("SELECT sum(used) FROM gateway.quota"))


@pytest.mark.parametrize("limit", [1, 7, 100, 1000])
async def test_exactly_the_limit_passes_under_ten_times_the_load(
    two: tuple[SqlQuotas, SqlQuotas], limit: int
) -> None:
    quota = Quota(per_day=limit)
    here, there = await asyncio.gather(*(passed(quotas, quota, limit * 5) for quotas in two))
    assert len(here) + len(there) == limit
    assert await passed(two[0], quota, 5) == []


async def test_the_limit_of_a_second_is_exact_too_and_ends_with_it(
    two: tuple[SqlQuotas, SqlQuotas],
) -> None:
    quota = Quota(per_second=30)
    for second in range(3):
        at = NOON + timedelta(seconds=second)
        told = await asyncio.gather(*(passed(quotas, quota, 150, at) for quotas in two))
        assert sum(map(len, told)) == 30


async def test_a_day_begins_at_midnight_utc(two: tuple[SqlQuotas, SqlQuotas]) -> None:
    quota = Quota(per_day=2)
    late = NOON.replace(hour=23, minute=59, second=59)
    assert len(await passed(two[0], quota, 3, late)) == 2
    with pytest.raises(QuotaExceeded) as refused:
        await two[0].reserve("C-1", quota, late)
    assert refused.value.retry_after_s == 1
    assert len(await passed(two[1], quota, 3, late + timedelta(seconds=1))) == 2


async def test_a_process_whose_clock_is_behind_counts_in_the_newer_day(
    two: tuple[SqlQuotas, SqlQuotas],
) -> None:
    quota = Quota(per_day=2)
    assert len(await passed(two[0], quota, 1, NOON + timedelta(days=1))) == 1
    assert len(await passed(two[1], quota, 5, NOON)) == 1


async def test_a_call_that_came_to_nothing_is_given_back(
    two: tuple[SqlQuotas, SqlQuotas],
) -> None:
    quota = Quota(per_day=1)
    (allowance,) = await passed(two[0], quota, 1)
    assert await passed(two[0], quota, 1) == []
    two[0].release(allowance.leases)
    assert len(await passed(two[0], quota, 2)) == 1


async def test_a_call_given_back_late_counts_again(
    two: tuple[SqlQuotas, SqlQuotas], database: Database
) -> None:
    quota = Quota(per_day=5)
    (allowance,) = await passed(two[0], quota, 1)
    await two[0].close()
    two[0].release(allowance.leases)
    await two[0].close()
    assert await used(database) == 0
    assert len(await passed(two[1], quota, 6)) == 5


async def test_what_a_process_holds_unused_goes_back_when_it_ends(
    two: tuple[SqlQuotas, SqlQuotas], database: Database
) -> None:
    quota = Quota(per_day=10_000)
    assert len(await passed(two[0], quota, 1)) == 1
    assert await used(database) == 50
    await two[0].close()
    assert await used(database) == 1


async def test_both_limits_hold_and_a_refused_call_costs_neither(
    two: tuple[SqlQuotas, SqlQuotas],
) -> None:
    quota = Quota(per_day=3, per_second=10)
    told = [await two[0].reserve("C-1", quota, NOON) for _ in range(3)]
    assert [(one.limit, one.remaining) for one in told] == [(3, 2), (3, 1), (3, 0)]
    with pytest.raises(QuotaExceeded) as refused:
        await two[0].reserve("C-1", quota, NOON)
    assert refused.value.limit == 3
    # Seven more of this second are still there, for what they are worth.
    assert len(await passed(two[0], Quota(per_second=10), 10)) == 7


async def test_what_is_left_is_told_truly_where_calls_go_one_by_one(
    two: tuple[SqlQuotas, SqlQuotas],
) -> None:
    quota = Quota(per_day=4)
    left = [(await two[number % 2].reserve("C-1", quota, NOON)).remaining for number in range(4)]
    assert left == [3, 2, 1, 0]
    told = await two[1].reserve("C-2", quota, NOON)
    assert (told.limit, told.remaining, told.reset_s) == (4, 3, 43_200)


async def test_a_lowered_limit_never_lets_more_pass(two: tuple[SqlQuotas, SqlQuotas]) -> None:
    assert len(await passed(two[0], Quota(per_day=20), 10)) == 10
    assert await passed(two[1], Quota(per_day=5), 3) == []
    assert len(await passed(two[0], Quota(per_day=12), 5)) == 2


def refused(caller: PartyId | None = OPERATOR, **changes: object) -> RefusedCall:
    known: dict[str, object] = {
        "at": NOON,
        "caller": caller,
        "client_id": "client-1",
        "service": "weather",
        "operation": "GET /",
        "reason": Reason.NO_CONTRACT,
        "contract_id": None,
        "request_id": "r-1",
    }
    return RefusedCall(**{**known, **changes})  # type: ignore[arg-type]


async def events(database: Database) -> list[Event]:
    async with database.hot() as connection:
        return await read(connection, START, limit=5000)


async def test_a_flood_of_refusals_is_one_event_for_each_caller_and_reason(
    database: Database,
) -> None:
    log = RefusalLog(database, hub=HUB)
    for _ in range(10_000):
        log.note(refused())
    log.note(refused(reason=Reason.QUOTA_EXCEEDED, contract_id="C-1"))
    log.note(refused(STRANGER, shadow=True))
    log.note(refused(STRANGER, reason=Reason.OPERATION_NOT_COVERED))
    log.note(refused(STRANGER, reason=Reason.SANDBOX_NOT_SERVED, sandbox=True))
    log.note(refused(None, reason=Reason.UNAUTHENTICATED, client_id=None, service=None))
    await log.close()
    told = {(one.party, one.body["reason"]): one for one in await events(database)}
    assert len(told) == 6
    flood = told[OPERATOR, "no-contract"]
    assert (flood.type, flood.body["count"]) == (EventType.CALL_REFUSED, 10_000)
    assert flood.stream == "refusals:FR*PD1"
    assert (flood.occurred_at, flood.correlation_id) == (NOON, "r-1")
    assert told[OPERATOR, "quota-exceeded"].body["contract_id"] == "C-1"
    assert told[STRANGER, "no-contract"].body["shadow"] is True
    assert told[STRANGER, "operation-not-covered"].body["sandbox"] is False
    assert told[STRANGER, "sandbox-not-served"].body["sandbox"] is True
    assert told[HUB, "unauthenticated"].body["caller"] is None


async def test_more_kinds_of_refusals_than_a_second_may_tell_are_counted_together(
    database: Database,
) -> None:
    log = RefusalLog(database, hub=HUB)
    for number in range(MOST_KINDS + 500):
        log.note(refused(service=f"service-{number}"))
    await log.close()
    told = await events(database)
    assert len(told) == MOST_KINDS + 1
    assert sum(one.body["count"] for one in told) == MOST_KINDS + 500


async def test_refusals_that_could_not_be_written_are_told_later(database: Database) -> None:
    log = RefusalLog(database, hub=HUB)
    async with database.hot() as connection:
        await connection.execute("ALTER TABLE kit.event RENAME TO away")
    log.note(refused())
    with pytest.raises(asyncpg.UndefinedTableError):
        await log.close()
    async with database.hot() as connection:
        await connection.execute("ALTER TABLE kit.away RENAME TO event")
    log.note(refused())
    await log.close()
    (told,) = await events(database)
    assert told.body["count"] == 2
