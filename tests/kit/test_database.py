"""Connections go from hand to hand, and what one did not commit is nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from kit.database import Database, Few, plan_for_these_values
from tests.hub import until


@pytest.fixture
async def one_connection(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, pool_size=1)
    yield database
    await database.close()


async def test_what_an_exception_ends_is_undone_before_the_connection_is_used_again(
    one_connection: Database,
) -> None:
    await one_connection.pool.execute("CREATE TABLE public.kept (n int)")

    async def write_and_fail() -> None:
        async with one_connection.hot() as connection:
            await connection.execute("INSERT INTO public.kept VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write_and_fail()
    assert await one_connection.pool.fetchval("SELECT count(*) FROM public.kept") == 0


async def test_a_caller_that_goes_away_leaves_no_transaction_and_no_lock_behind(
    one_connection: Database,
) -> None:
    locked = asyncio.Event()

    async def hold() -> None:
        async with one_connection.hot() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(7)")
            locked.set()
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    await locked.wait()
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    async with one_connection.pool.acquire() as connection:
        assert not connection.is_in_transaction()
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        assert await connection.fetchval(held) == 0


async def test_a_connection_that_was_lost_while_nobody_used_it_costs_nobody_a_request(
    one_connection: Database,
) -> None:
    async with one_connection.begin() as connection:
        lost = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)"
    await one_connection.pool.execute("SELECT pg_terminate_backend($1)", lost)
    await until(lambda: one_connection.pool.fetchval(gone, lost))
    async with one_connection.begin() as connection:
        assert (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one() != lost


async def test_plans_for_these_values_are_made_until_the_transaction_ends(
    one_connection: Database,
) -> None:
    async with one_connection.begin() as connection:
        await plan_for_these_values(connection)
        prepared = "PREPARE twice AS SELECT $1::int + $1"
        await connection.exec_driver_sql(prepared)
        for n in range(10):
            await connection.exec_driver_sql(f"EXECUTE twice ({n})")
        made = text(
            "SELECT custom_plans, generic_plans FROM pg_prepared_statements WHERE name = 'twice'"
        )
        assert (await connection.execute(made)).one() == (10, 0)
    async with one_connection.begin() as connection:
        assert await connection.scalar(text("SHOW plan_cache_mode")) == "auto"


async def test_jsonb_comes_and_goes_as_python_objects(one_connection: Database) -> None:
    sent = {"a": [1, "two", None], "b": {"c": True}}
    assert await one_connection.pool.fetchval("SELECT $1::jsonb", sent) == sent


async def test_one_kind_of_work_takes_no_more_connections_than_it_may(database: Database) -> None:
    few = Few(database, 2)
    held, free = 0, asyncio.Event()

    async def work() -> None:
        nonlocal held
        async with few.hot() as connection:
            await connection.fetchval("SELECT 1")
            held += 1
            await free.wait()

    async def two_work() -> bool:
        return held == 2

    tasks = [asyncio.create_task(work()) for _ in range(3)]
    await until(two_work)
    # The third waits, and whoever else has work does not.
    async with asyncio.timeout(5), database.hot() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert held == 2
    free.set()
    await asyncio.gather(*tasks)
    async with few.acquire() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert held == 3
