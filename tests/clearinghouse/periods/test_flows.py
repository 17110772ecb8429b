"""Closing a month loses nothing and doubles nothing, also under load and when it is broken off."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.cdrs.life import State as CdrState
from clearinghouse.ledger.store import SqlLedger
from clearinghouse.periods import flows
from clearinghouse.periods.model import Month, Overview, PeriodNotOver, State
from clearinghouse.periods.store import SqlBooks
from kit.database import Database, Hot
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import intake_of, keep_customer, many, submission

HUB = PartyId("EU*GRD")
JANUARY, FEBRUARY = Month(2025, 1), Month(2025, 2)
NOW = datetime(2025, 2, 1, tzinfo=UTC)


async def close(
    database: Database, month: Month = JANUARY, *, now: datetime = NOW, early: bool = False
) -> Overview:
    return await flows.close(
        month, early=early, hub=HUB, books=SqlBooks(database), clock=lambda: now
    )


async def show(database: Database, month: Month) -> Overview:
    return await flows.show(month, books=SqlBooks(database))


async def test_an_empty_month_closes(database: Database) -> None:
    closed = await close(database)
    assert (closed.period.state, closed.totals) == (State.CLOSED, ())
    assert await close(database, now=NOW + timedelta(days=1)) == closed


async def test_a_month_that_runs_is_not_closed_by_mistake(database: Database) -> None:
    with pytest.raises(PeriodNotOver):
        await close(database, FEBRUARY)
    assert (await show(database, FEBRUARY)).period.state is State.OPEN


async def test_a_record_that_comes_late_belongs_to_the_open_month(database: Database) -> None:
    await keep_customer(database)
    intake = intake_of(database)
    await cdr_flows.receive([submission("A-1")], intake=intake)
    before = await close(database)
    [total] = before.totals
    assert (total.charges_minor, total.vat_minor, total.cdrs) == (500, 100, 1)

    late = submission("A-2", start="2025-01-15T14:00:00Z", end="2025-01-15T15:00:00Z")
    [outcome] = await cdr_flows.receive([late], intake=intake)
    assert outcome.cdr.state in (CdrState.ACCEPTED, CdrState.FLAGGED)
    assert outcome.cdr.moved_to == FEBRUARY.starts_at
    assert await close(database) == before
    [total] = (await show(database, FEBRUARY)).totals
    assert (total.charges_minor, total.cdrs) == (500, 1)


async def test_months_that_anything_was_posted_to_are_known(database: Database) -> None:
    await keep_customer(database)
    await cdr_flows.receive(
        [
            submission("A-1"),
            submission("A-2", start="2024-12-31T22:00:00Z", end="2024-12-31T23:30:00Z"),
        ],
        intake=intake_of(database),
    )
    await close(database)
    assert [
        (str(one.month), one.state.value) for one in await flows.known(books=SqlBooks(database))
    ] == [
        ("2024-12", "open"),
        ("2025-01", "closed"),
    ]


async def test_closing_under_load_keeps_every_cent_in_exactly_one_period(
    database: Database,
) -> None:
    """A thousand records from many writers at once, and a month closed by hand in the midst."""
    await keep_customer(database)
    intake = intake_of(database)
    records = many(1_000)
    closed: list[Overview] = []
    in_the_midst = asyncio.Event()

    async def write(part: int) -> None:
        for index in range(part, len(records), 20):
            await cdr_flows.receive([records[index]], intake=intake)
            if index > 200:
                in_the_midst.set()

    async def close_by_hand() -> None:
        await in_the_midst.wait()
        closed.append(await close(database, early=True))

    await asyncio.gather(close_by_hand(), *map(write, range(20)))
    [in_january], [in_february] = closed[0].totals, (await show(database, FEBRUARY)).totals
    assert 0 < in_january.cdrs < 1_000
    assert in_january.cdrs + in_february.cdrs == 1_000
    assert in_january.charges_minor + in_february.charges_minor == 500_000
    assert in_january.vat_minor + in_february.vat_minor == 100_000
    assert (await show(database, JANUARY)).totals == (in_january,)
    async with database.hot() as connection:
        months = Counter(
            {
                row["month"]: row["records"]
                for row in await connection.fetch(
                    "SELECT to_char(value_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month,"
                    " count(*) AS records FROM clearinghouse.ledger_posting GROUP BY 1"
                )
            }
        )
    assert months == {"2025-01": in_january.cdrs, "2025-02": in_february.cdrs}
    audit = await SqlLedger(database).audit()
    assert (audit.postings, audit.faults) == (1_000, [])


async def test_a_closing_that_was_broken_off_goes_on_where_it_was(database: Database) -> None:
    await keep_customer(database)
    await cdr_flows.receive([submission("A-1")], intake=intake_of(database))
    posted: list[Month] = []

    async def fails(_: Hot, __: Month, ___: datetime) -> None:
        raise ConnectionError("the database went away")

    async def posts(_: Hot, month: Month, __: datetime) -> None:
        posted.append(month)

    with pytest.raises(ConnectionError):
        await flows.close(JANUARY, hub=HUB, books=SqlBooks(database, [fails]), clock=lambda: NOW)
    halfway = await show(database, JANUARY)
    assert halfway.period.state is State.CLOSING
    late = submission("A-2", start="2025-01-15T14:00:00Z", end="2025-01-15T15:00:00Z")
    [outcome] = await cdr_flows.receive([late], intake=intake_of(database))
    assert outcome.cdr.value_at == FEBRUARY.starts_at

    for _ in range(2):
        closed = await flows.close(
            JANUARY, hub=HUB, books=SqlBooks(database, [posts]), clock=lambda: NOW
        )
        assert closed.period.state is State.CLOSED
        assert closed.totals == halfway.totals
    assert posted == [JANUARY]


async def test_two_who_close_at_the_same_moment_close_once(database: Database) -> None:
    one, two = await asyncio.gather(close(database), close(database))
    assert one == two
    async with database.hot() as connection:
        told = await connection.fetch("SELECT type FROM kit.event WHERE stream = 'periods'")
    assert sorted(row["type"] for row in told) == ["period-closed", "period-closing"]
