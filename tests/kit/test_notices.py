"""All that listen share a connection, whoever comes and goes, and none misses a loss of it."""

from __future__ import annotations

from contextlib import AsyncExitStack

from kit.database import Database
from tests.hub import until

LISTENING = """SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND query ILIKE '%LISTEN%' AND pid <> pg_backend_pid()"""
ALL_OTHERS = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()"""


async def test_each_hears_its_own_channel_and_all_share_a_connection(database: Database) -> None:
    async with AsyncExitStack() as stack:
        one, also_one, other = [
            await stack.enter_async_context(database.listen(name)) for name in ("a", "a", "b")
        ]
        assert await database.pool.fetchval(LISTENING) == 1
        assert [await anext(each) for each in (one, also_one, other)] == ["", "", ""]
        for channel, payload in (("a", "1"), ("b", "2"), ("a", "3")):
            await database.pool.execute("SELECT pg_notify($1, $2)", channel, payload)
        assert [await anext(one), await anext(one)] == ["1", "3"]
        assert [await anext(also_one), await anext(also_one)] == ["1", "3"]
        assert await anext(other) == "2"


async def test_who_leaves_is_told_no_more_and_the_last_closes_the_connection(
    database: Database,
) -> None:
    async with database.listen("a") as staying:
        async with database.listen("a") as leaving:
            assert [await anext(staying), await anext(leaving)] == ["", ""]
        await database.pool.execute("NOTIFY a, '1'")
        assert await anext(staying) == "1"

    async def closed() -> bool:
        return bool(await database.pool.fetchval(LISTENING) == 0)

    await until(closed)
    async with database.listen("a") as again:
        assert await anext(again) == ""


async def test_after_a_lost_connection_all_look_again_and_go_on_listening(
    database: Database,
) -> None:
    async with database.listen("a") as one, database.listen("b") as other:
        assert [await anext(one), await anext(other)] == ["", ""]
        await database.pool.execute(ALL_OTHERS)
        assert [await anext(one), await anext(other)] == ["", ""]
        async with database.listen("c") as late:
            assert await anext(late) == ""
            for channel in "abc":
                await database.pool.execute("SELECT pg_notify($1, $2)", channel, f"to {channel}")
            told = [await anext(each) for each in (one, other, late)]
        assert told == ["to a", "to b", "to c"]
