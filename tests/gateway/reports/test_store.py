"""Days of calls: alike whether they are rolled up or not, never stale, and for both sides alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from sqlalchemy import text

from gateway.reports.model import By, Counts, Every, Key, Question, UsedOn
from gateway.reports.store import SqlDays, SqlRoller
from gateway.usage.model import UsageRecord
from kit.database import Database
from marketplace.offerings.rating import Quarter
from roaming.party import PartyId
from tests.gateway.reports.samples import (
    DAY,
    MAY,
    NOON,
    OPERATOR,
    PROVIDER,
    STRANGER,
    filled,
    record,
)

Counted = Sequence[tuple[Key, Counts]]
LATER = NOON + 60 * DAY


async def rolled(database: Database, now: datetime = LATER) -> None:
    while await SqlRoller(database).step(now):
        pass
    await SqlRoller(database).step(now)


async def counted(database: Database, question: Question = MAY) -> Counted:
    return sorted(await SqlDays(database).counted(question), key=lambda one: one[0].order)


def month_of_calls(seed: int = 7) -> list[UsageRecord]:
    """Some of everything: parties, contracts, failures, times, days."""
    drawn = Random(seed)
    return [
        record(
            n,
            at=datetime(2026, 5, 1, tzinfo=UTC) + timedelta(minutes=drawn.randrange(31 * 1440)),
            contract_id=drawn.choice(["C-1", "C-2", None]),
            requester=drawn.choice([OPERATOR, STRANGER]),
            provider=drawn.choice([PROVIDER, OPERATOR]),
            service=drawn.choice(["weather", "roads"]),
            status=drawn.choice([200, 200, 200, 404, 503]),
            duration_us=drawn.randrange(10**6),
            billable=drawn.choice([True, False]),
            units=drawn.randrange(5),
            sandbox=drawn.random() < 0.1,
        )
        for n in range(400)
    ]


@pytest.mark.parametrize("party", [OPERATOR, None], ids=str)
async def test_rolled_up_a_day_tells_the_same_as_its_records(
    database: Database, party: PartyId | None
) -> None:
    await filled(database, *month_of_calls())
    questions = [
        replace(MAY, party=party, by=by, every=every, first=date(2026, 5, 3))
        for by in By
        for every in Every
    ]
    live = [await counted(database, one) for one in questions]
    await rolled(database)
    async with database.hot() as connection:
        # What is told now can come from nowhere else.
        await connection.execute("UPDATE gateway.usage_rolled SET seen_at = 'infinity'")
        await connection.execute("TRUNCATE gateway.usage")
    assert [await counted(database, one) for one in questions] == live
    assert all(live)


async def test_figures_are_what_became_of_the_calls(database: Database) -> None:
    statuses = [200, 200, 404, 499, 500, 503]
    await filled(
        database,
        *(
            record(n, status=status, billable=status == 200, units=n + 2)
            for n, status in enumerate(statuses)
        ),
        record(9, sandbox=True),
        record(10, requester=STRANGER),
    )
    [(key, counts)] = await counted(database)
    assert key == Key(NOON.date(), "weather", 1, "C-1", PROVIDER, OPERATOR)
    assert replace(counts, p50_us=None, p95_us=None, p99_us=None) == Counts(
        calls=6,
        billable_calls=2,
        caller_errors=2,
        provider_errors=2,
        bytes=220,
        units=5,
    )


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        (
            By.CONTRACT,
            [
                ("roads", "C-2", PROVIDER, OPERATOR),
                ("weather", None, OPERATOR, STRANGER),
                ("weather", "C-1", PROVIDER, OPERATOR),
            ],
        ),
        (
            By.SERVICE,
            [
                ("roads", None, PROVIDER, None),
                ("weather", None, PROVIDER, None),
                ("weather", None, OPERATOR, None),
            ],
        ),
        (By.PARTNER, [(None, None, OPERATOR, STRANGER), (None, None, PROVIDER, OPERATOR)]),
        (By.TOTAL, [(None, None, None, None)]),
    ],
)
async def test_calls_are_told_apart_as_finely_as_asked(
    database: Database, by: By, keys: list[tuple[str | None, ...]]
) -> None:
    await filled(
        database,
        record(1),
        record(2, contract_id="C-2", service="roads"),
        record(3, contract_id=None, requester=STRANGER, provider=OPERATOR),
    )
    found = [key for key, _ in await counted(database, replace(MAY, by=by))]
    told = [(one.service, one.contract_id, one.provider, one.requester) for one in found]
    assert sorted(told, key=str) == sorted(keys, key=str)


async def test_a_party_sees_what_it_called_and_answered_and_the_hub_sees_all(
    database: Database,
) -> None:
    await filled(database, record(1), record(2, requester=STRANGER))
    for party, calls in ((OPERATOR, 1), (PROVIDER, 2), (STRANGER, 1), (PartyId("FR*NON"), 0)):
        question = replace(MAY, party=party, by=By.TOTAL)
        assert sum(one.calls for _, one in await counted(database, question)) == calls
    question = replace(MAY, party=None, by=By.TOTAL)
    assert sum(one.calls for _, one in await counted(database, question)) == 2


@pytest.mark.parametrize(
    ("asked", "calls"),
    [
        ({"service": "roads"}, 1),
        ({"contract_id": "C-2"}, 1),
        ({"partner": STRANGER}, 0),
        ({"partner": PROVIDER}, 2),
        ({"first": date(2026, 5, 5)}, 0),
        ({"last": date(2026, 5, 4)}, 2),
    ],
    ids=str,
)
async def test_one_service_contract_partner_or_time_alone(
    database: Database, asked: dict[str, object], calls: int
) -> None:
    await filled(database, record(1), record(2, contract_id="C-2", service="roads"))
    question = replace(MAY, by=By.TOTAL, **asked)  # type: ignore[arg-type]
    for _ in range(2):
        assert sum(one.calls for _, one in await counted(database, question)) == calls
        await rolled(database)


async def test_a_day_is_told_in_utc_and_a_month_in_steps_of_the_time_asked(
    database: Database,
) -> None:
    await filled(
        database,
        record(1, at=datetime(2026, 5, 4, 23, 59, 59, tzinfo=UTC)),
        record(2, at=datetime(2026, 5, 5, tzinfo=UTC)),
        record(3, at=datetime(2026, 6, 5, tzinfo=UTC)),
    )
    asked = replace(MAY, first=date(2026, 5, 3), last=date(2026, 6, 30))
    for every, begins in (
        (Every.DAY, [date(2026, 5, 4), date(2026, 5, 5), date(2026, 6, 5)]),
        (Every.MONTH, [date(2026, 5, 3), date(2026, 6, 1)]),
        (Every.WHOLE, [date(2026, 5, 3)]),
    ):
        found = await counted(database, replace(asked, every=every))
        assert [key.begins_on for key, _ in found] == begins


async def test_a_record_that_comes_late_is_told_at_once_and_rolled_up_soon(
    database: Database,
) -> None:
    await filled(database, record(1))
    await rolled(database)
    async with database.hot() as connection:
        # Long ago: what is written from now on is late.
        await connection.execute("UPDATE gateway.usage_rolled SET seen_at = now() + '2 minutes'")
        await connection.execute("UPDATE gateway.usage SET written_at = now() - '1 day'::interval")
        [(_, before)] = await counted(database)
        await filled(database, record(2))
        await connection.execute(
            "UPDATE gateway.usage SET written_at = now() + '5 minutes'::interval"
            " WHERE request_id LIKE '%2'"
        )
    [(_, told)] = await counted(database)
    assert (before.calls, told.calls) == (1, 2)
    await rolled(database)
    async with database.hot() as connection:
        assert await connection.fetchval("SELECT calls FROM gateway.usage_day") == 2


async def test_a_day_is_rolled_up_an_hour_after_it_is_over_and_not_before(
    database: Database,
) -> None:
    await filled(database, record(1))
    midnight = datetime(2026, 5, 5, tzinfo=UTC)

    async def rows() -> int:
        async with database.hot() as connection:
            return int(await connection.fetchval("SELECT count(*) FROM gateway.usage_day"))

    await rolled(database, midnight + timedelta(minutes=59))
    assert await rows() == 0
    await rolled(database, midnight + timedelta(minutes=60))
    assert await rows() == 1


async def test_while_one_process_rolls_up_another_does_nothing(database: Database) -> None:
    await filled(database, record(1))
    async with database.begin() as connection:
        await connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended('usage-days', 0))")
        )
        assert await SqlRoller(database).step(LATER) is False
    async with database.hot() as hot:
        assert await hot.fetchval("SELECT count(*) FROM gateway.usage_rolled") == 0


async def test_what_costs_money_is_told_by_day_or_by_month_before_and_in_the_time(
    database: Database,
) -> None:
    await filled(
        database,
        *(record(n, at=NOON + (n - 3) * DAY, units=n, billable=n != 2) for n in range(1, 6)),
    )
    days = SqlDays(database)
    asked = replace(MAY, first=date(2026, 5, 4))
    daily = await days.spent(asked, by_quarter=(), packs=())
    assert [(one.day.day, one.units, one.bytes) for one in daily["C-1"].used] == [
        *((2, 1, 110), (4, 3, 110), (5, 4, 110), (6, 5, 110)),
    ]
    monthly = await days.spent(replace(asked, every=Every.MONTH), by_quarter=(), packs=())
    assert list(monthly["C-1"].used) == [
        UsedOn(date(2026, 5, 2), 1, 110, 1),
        UsedOn(date(2026, 5, 4), 3, 330, 12),
    ]


async def test_quarters_of_an_hour_and_packs_are_told_where_they_are_asked_for(
    database: Database,
) -> None:
    await filled(
        database, record(1), record(2, at=NOON + timedelta(minutes=14)), record(3, billable=False)
    )
    async with database.hot() as connection:
        await connection.execute(
            "INSERT INTO gateway.pack_purchase VALUES ('P', 'C-1', 1, 5, 1999, 'EUR', $1, NULL)",
            NOON,
        )
    spent = await SqlDays(database).spent(MAY, by_quarter=["C-1"], packs=["C-1"])
    assert list(spent["C-1"].quarters) == [Quarter(NOON, 2, 220, 2)]
    assert list(spent["C-1"].packs) == [(NOON.date(), 1999)]
    without = await SqlDays(database).spent(MAY, by_quarter=(), packs=())
    assert (without["C-1"].quarters, without["C-1"].packs) == ((), ())


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(durations_us=some.lists(some.integers(0, 10**8), min_size=1, max_size=60))
async def test_a_percentile_is_within_one_percent_of_the_time_of_a_call_that_was_made(
    database: Database, durations_us: list[int]
) -> None:
    async with database.hot() as connection:
        await connection.execute("TRUNCATE gateway.usage")
    await filled(database, *(record(n, duration_us=us) for n, us in enumerate(durations_us)))
    [(_, counts)] = await counted(database)
    ordered = sorted(durations_us)
    for percent, told in ((50, counts.p50_us), (95, counts.p95_us), (99, counts.p99_us)):
        exact = ordered[-(-len(ordered) * percent // 100) - 1]
        assert told is not None
        # And within the microsecond to which it is rounded.
        assert abs(told - exact) <= exact * 0.01 + 1
