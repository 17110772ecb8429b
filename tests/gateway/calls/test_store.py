"""Quotas are exact over processes; a flood of refusals is a trickle of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from gateway.calls.model import Allowance, Left, Period, Quota, Reason, RefusedCall, tightest
from gateway.calls.refusals import OverLimit, PackUsedUp, QuotaExceeded, QuotaUnreadable
from gateway.calls.store import LAST_CALLS, MOST_KINDS, RefusalLog, SqlQuotas
from gateway.packs.model import Bargain, Purchase
from gateway.packs.store import SqlBooks
from kit.database import Database
from kit.event_log import START, Event, read
from kit.sortable_id import sortable_id
from roaming.events import EventType
from roaming.party import PartyId
from tests.dying_postgres import dying
from tests.gateway.calls.fakes import NOON, OPERATOR, PROVIDER, STRANGER
from tests.hub import until

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
        except OverLimit:
            return None

    told = await asyncio.gather(*(one() for _ in range(calls)))
    return [allowance for allowance in told if allowance is not None]


async def used(database: Database) -> int:
    async with database.hot() as connection:
        return int(await connection.fetchval("SELECT sum(used) FROM gateway.quota"))


async def test_a_server_that_ends_and_is_slow_to_hang_up_keeps_no_call_waiting(
    database_url: str,
) -> None:
    async with dying(database_url) as (url, goodbye):
        database = await Database.open(url, pool_size=1)
        quotas = SqlQuotas(database)
        await quotas.reserve("C-1", Quota(per_day=10), NOON)
        await goodbye()
        with pytest.raises(QuotaUnreadable):
            async with asyncio.timeout(5):
                await quotas.reserve("C-1", Quota(per_day=10), NOON)
        await quotas.close()
        await database.close()


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


async def busy(quotas: SqlQuotas, quota: Quota, rounds: int) -> int:
    """One call after another, faster than a process gives back what it has to spare."""
    for _ in range(rounds):
        await quotas.reserve("C-1", quota, NOON)
    return rounds


async def test_who_calls_now_and_then_has_each_call_counted_at_once(
    two: tuple[SqlQuotas, SqlQuotas], database: Database
) -> None:
    assert await busy(two[0], Quota(per_day=10**12), 1) == await used(database)


async def test_what_a_busy_process_has_to_spare_goes_back_when_it_ends(
    two: tuple[SqlQuotas, SqlQuotas], database: Database
) -> None:
    quota = Quota(per_day=1_000_000)
    made = await busy(two[0], quota, 300)
    assert await used(database) > made
    await two[0].close()
    assert await used(database) == made


async def test_what_a_process_does_not_use_goes_back_by_itself(
    two: tuple[SqlQuotas, SqlQuotas], database: Database
) -> None:
    made = await busy(two[0], Quota(per_month=1_000_000), 300)
    assert await used(database) > made

    async def given_back() -> bool:
        return await used(database) == made

    await until(given_back)


@pytest.mark.parametrize("quota", [Quota(per_day=LAST_CALLS), Quota(per_month=LAST_CALLS)])
async def test_nothing_is_taken_to_spare_of_the_last_calls(
    two: tuple[SqlQuotas, SqlQuotas], database: Database, quota: Quota
) -> None:
    made = await busy(two[0], quota, 100)
    assert await used(database) == made


async def test_a_month_is_one_of_the_calendar(two: tuple[SqlQuotas, SqlQuotas]) -> None:
    quota = Quota(per_month=2)
    last = datetime(2028, 2, 29, 23, 59, 58, tzinfo=UTC)
    assert len(await passed(two[0], quota, 3, datetime(2028, 2, 1, tzinfo=UTC))) == 2
    with pytest.raises(QuotaExceeded) as refused:
        await two[1].reserve("C-1", quota, last)
    assert refused.value.retry_after_s == 2
    assert len(await passed(two[1], quota, 3, last + timedelta(seconds=2))) == 2


async def test_limits_beyond_thirty_two_bits_count_too(two: tuple[SqlQuotas, SqlQuotas]) -> None:
    told = await two[0].reserve("C-1", Quota(per_day=10**12), NOON)
    assert told.lefts[0].remaining == 10**12 - 1


async def bought(database: Database, calls: int) -> None:
    """One more pack of C-1."""
    at = sortable_id(NOON + timedelta(seconds=calls))
    one = Purchase(at, "C-1", 1, calls, 0, None, NOON)
    async with SqlBooks(database).open() as book:
        await book.buy(one, Bargain("C-1", OPERATOR, PROVIDER, None, True), None)


async def test_of_packs_exactly_what_was_bought_passes(
    two: tuple[SqlQuotas, SqlQuotas], database: Database
) -> None:
    quota = Quota(pack=60)
    with pytest.raises(PackUsedUp) as refused:
        await two[0].reserve("C-1", quota, NOON)
    assert refused.value.lefts == (Left(Period.PACK, 0, 0, None),)
    assert refused.value.retry_after_s is None
    await bought(database, 60)
    await bought(database, 40)

    async def heard() -> bool:
        return bool(await passed(two[0], quota, 1))

    await until(heard)
    here, there = await asyncio.gather(*(passed(quotas, quota, 500) for quotas in two))
    assert len(here) + len(there) == 99
    assert min(one.lefts[0].remaining for one in [*here, *there]) == 0


async def test_a_prepaid_call_that_came_to_nothing_is_for_whoever_calls_next(
    two: tuple[SqlQuotas, SqlQuotas], database: Database
) -> None:
    await bought(database, 1)
    quota = Quota(pack=1)
    (allowance,) = await passed(two[0], quota, 1)
    assert await passed(two[1], quota, 1) == []
    two[0].release(allowance.leases)

    async def another_process_has_it() -> bool:
        return bool(await passed(two[1], quota, 1))

    await until(another_process_has_it)


async def test_a_process_has_nothing_of_a_pack_to_spare(
    two: tuple[SqlQuotas, SqlQuotas], database: Database
) -> None:
    await bought(database, 1_000_000)
    made = await busy(two[0], Quota(pack=1_000_000), 100)
    async with database.hot() as connection:
        assert await connection.fetchval("SELECT used FROM gateway.pack_balance") == made


async def test_a_limit_that_stands_in_the_way_costs_nothing_of_the_others(
    two: tuple[SqlQuotas, SqlQuotas], database: Database
) -> None:
    with pytest.raises(PackUsedUp):
        await two[0].reserve("C-1", Quota(per_day=5, per_month=9, pack=1), NOON)
    await two[0].close()
    assert await used(database) == 0


async def test_a_call_whose_caller_goes_away_while_it_waits_costs_nothing(
    two: tuple[SqlQuotas, SqlQuotas], database: Database
) -> None:
    quota = Quota(per_day=3)
    assert len(await passed(two[1], quota, 1)) == 1
    async with database.hot() as connection:
        await connection.execute("SELECT FROM gateway.quota FOR UPDATE")
        waiting = asyncio.create_task(two[0].reserve("C-1", quota, NOON))
        await until(lambda: blocked(database))
        waiting.cancel()
        await asyncio.wait([waiting])
    assert waiting.cancelled()
    await two[0].close()
    assert await used(database) == 1


async def blocked(database: Database) -> bool:
    """Whether somebody waits for a lock."""
    async with database.hot() as connection:
        return bool(await connection.fetchval("SELECT bool_or(NOT granted) FROM pg_locks"))


async def test_a_quota_that_cannot_be_read_refuses_and_takes_nothing(
    two: tuple[SqlQuotas, SqlQuotas], database: Database
) -> None:
    quota = Quota(per_second=5, per_day=5)
    async with database.hot() as connection:
        await connection.execute("ALTER TABLE gateway.quota RENAME TO away")
    with pytest.raises(QuotaUnreadable):
        await two[0].reserve("C-1", quota, NOON)
    async with database.hot() as connection:
        await connection.execute("ALTER TABLE gateway.away RENAME TO quota")
    assert len(await passed(two[0], quota, 10)) == 5


async def test_both_limits_hold_and_a_refused_call_costs_neither(
    two: tuple[SqlQuotas, SqlQuotas],
) -> None:
    quota = Quota(per_day=3, per_second=10)
    told = [await two[0].reserve("C-1", quota, NOON) for _ in range(3)]
    assert [tightest(one.lefts) for one in told] == [
        Left(Period.DAY, 3, left, 43_200) for left in (2, 1, 0)
    ]
    assert told[0].lefts[0] == Left(Period.SECOND, 10, 9, 1)
    with pytest.raises(QuotaExceeded) as refused:
        await two[0].reserve("C-1", quota, NOON)
    assert refused.value.lefts[-1] == Left(Period.DAY, 3, 0, 43_200)
    # Seven more of this second are still there, for what they are worth.
    assert len(await passed(two[0], Quota(per_second=10), 10)) == 7


async def test_what_is_left_is_told_truly_where_calls_go_one_by_one(
    two: tuple[SqlQuotas, SqlQuotas],
) -> None:
    quota = Quota(per_day=4)
    told = [await two[number % 2].reserve("C-1", quota, NOON) for number in range(4)]
    assert [tightest(one.lefts).remaining for one in told] == [3, 2, 1, 0]
    other = await two[1].reserve("C-2", quota, NOON)
    assert other.lefts == (Left(Period.DAY, 4, 3, 43_200),)


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
