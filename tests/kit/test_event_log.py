"""The log keeps its laws: same transaction, none skipped, none changed, chains that verify."""

from __future__ import annotations

import asyncio
import random
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, cast

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kit import event_log
from kit.actor import acting_as
from kit.database import Database, Hot
from kit.event_log import START, Cursor, NewEvent
from tests.hub import until

NOON = datetime(2024, 12, 19, 12, tzinfo=UTC)


def fact(stream: str = "station:FR*PD1:CP1", **body: object) -> NewEvent:
    return NewEvent(stream, "ocpp-message", "FR*PD1", body, NOON)


async def test_events_are_undone_with_the_transaction_that_told_them(database: Database) -> None:
    async def fail_after_telling(open_transaction: AbstractAsyncContextManager[Any]) -> None:
        async with open_transaction as connection:
            await event_log.append(connection, [fact(n=1)])
            raise ZeroDivisionError

    for open_transaction in (database.begin(), database.hot()):
        with pytest.raises(ZeroDivisionError):
            await fail_after_telling(open_transaction)
    async with database.hot() as hot:
        assert await event_log.read(hot, START) == []


async def test_what_was_written_is_read_in_order_by_both_kinds_of_connection(
    database: Database,
) -> None:
    async with database.begin() as connection:
        first = await event_log.append(connection, [fact(n=1), fact(stream="a", n=2)])
    async with database.hot() as hot:
        second = await event_log.append(hot, [fact(n=3)])
    async with database.begin() as connection:
        read = await event_log.read(connection, START)
    assert [event.cursor for event in read] == sorted([*first, *second])
    assert sorted(event.body["n"] for event in read) == [1, 2, 3]
    assert [e.version for e in read if e.stream.startswith("station")] == [1, 2]


async def test_a_reader_filters_by_type_party_and_stream(database: Database) -> None:
    other = NewEvent("b", "cdr-accepted", "DE*ABC", {}, NOON)
    async with database.hot() as hot:
        await event_log.append(hot, [fact(), other])
    async with database.hot() as hot:
        assert [e.stream for e in await event_log.read(hot, START, types=["cdr-accepted"])] == ["b"]
        assert [e.stream for e in await event_log.read(hot, START, party="DE*ABC")] == ["b"]
        assert [e.party for e in await event_log.read(hot, START, stream="b")] == ["DE*ABC"]


async def test_headings_are_of_the_same_events_in_the_same_order(database: Database) -> None:
    async with database.hot() as hot:
        await event_log.append(hot, [fact(), NewEvent("b", "cdr-accepted", "DE*ABC", {}, NOON)])
    async with database.hot() as hot:
        told = await event_log.read(hot, START)
        assert await event_log.headings(hot, START, limit=10) == [
            (one.cursor, one.stream, one.type, one.party) for one in told
        ]
        assert len(await event_log.headings(hot, told[0].cursor, limit=10)) == 1


async def test_bodies_come_up_to_so_many_bytes_and_one_at_least(database: Database) -> None:
    async with database.hot() as hot:
        await event_log.append(hot, [fact(n=n, text="x" * 100) for n in range(10)])
    async with database.hot() as hot:
        for most, count in ((1, 1), (150, 2), (100_000, 10)):
            some = await event_log.read_where(
                hot, START, "party = $4", "FR*PD1", limit=10, most_bytes=most
            )
            assert [one.body["n"] for one in some] == [*range(count)]


async def test_no_event_of_a_slow_writer_is_skipped(database: Database) -> None:
    writers, each = 8, 25
    done = asyncio.Event()
    seen: list[tuple[int, int]] = []

    async def write(writer: int) -> None:
        rng = random.Random(writer)
        for n in range(each):
            async with database.hot() as hot:
                await event_log.append(hot, [fact(stream=f"s{writer}", writer=writer, n=n)])
                # The position is given out; the commit comes late, in another order.
                await asyncio.sleep(rng.random() / 200)

    async def read() -> None:
        cursor = START
        while True:
            last = done.is_set()
            async with database.hot() as hot:
                batch = await event_log.read(hot, cursor, limit=7)
            seen.extend((event.body["writer"], event.body["n"]) for event in batch)
            if batch:
                cursor = batch[-1].cursor
            elif last:
                return
            await asyncio.sleep(0)

    reader = asyncio.create_task(read())
    await asyncio.gather(*(write(writer) for writer in range(writers - 1)))
    done.set()
    await reader
    assert len(seen) == len(set(seen)) == (writers - 1) * each


async def test_follow_yields_what_is_committed_later(database: Database) -> None:
    events = event_log.follow(database, START, look_again_s=0.1)
    async with database.hot() as hot:
        await event_log.append(hot, [fact(n=1)])
    assert [event.body["n"] for event in await anext(events)] == [1]
    async with database.hot() as hot:
        await event_log.append(hot, [fact(n=2)])
    assert [event.body["n"] for event in await asyncio.wait_for(anext(events), 10)] == [2]
    await events.aclose()


async def test_a_cursor_is_kept_with_the_transaction(database: Database) -> None:
    async with database.hot() as hot:
        assert await event_log.load_cursor(hot, "forwarder") == START
        await event_log.save_cursor(hot, "forwarder", Cursor(7, 3))
    async with database.begin() as connection:
        await event_log.save_cursor(connection, "forwarder", Cursor(8, 1))
        assert await event_log.load_cursor(connection, "forwarder") == Cursor(8, 1)
    assert Cursor.parse(str(Cursor(8, 1))) == Cursor(8, 1)


async def test_the_log_is_append_only(database: Database) -> None:
    async with database.hot() as hot:
        await event_log.append(hot, [fact(n=1)])
    for change in (
        "UPDATE kit.event SET type = 'x'",
        "DELETE FROM kit.event",
        "TRUNCATE kit.event",
    ):
        with pytest.raises(DBAPIError, match="append-only"):
            async with database.begin() as connection:
                await connection.execute(text(change))


async def test_a_changed_event_breaks_the_chain_of_its_stream(database: Database) -> None:
    async with database.hot() as hot:
        await event_log.append(hot, [fact(n=n) for n in range(5)])
        assert await event_log.broken_links(hot, "station:FR*PD1:CP1") == []
    async with database.hot() as hot:
        # What an intruder with the database's own rights could do.
        await hot.execute("ALTER TABLE kit.event DISABLE TRIGGER append_only")
        await hot.execute("UPDATE kit.event SET body = '{\"n\": 99}' WHERE version = 3")
        assert await event_log.broken_links(hot, "station:FR*PD1:CP1") == [3]


async def test_two_writers_of_one_stream_never_share_a_version(database: Database) -> None:
    async def write() -> None:
        for _ in range(10):
            async with database.hot() as hot:
                await event_log.append(hot, [fact(), fact(stream="z"), fact(stream="a")])

    await asyncio.gather(*(write() for _ in range(6)))
    async with database.hot() as hot:
        for stream in ("station:FR*PD1:CP1", "z", "a"):
            events = await event_log.read(hot, START, stream=stream)
            assert sorted(event.version for event in events) == list(range(1, 61))
            assert await event_log.broken_links(hot, stream) == []


@pytest.mark.parametrize("kept", [True, False])
async def test_who_begins_a_stream_beside_another_goes_on_from_what_the_other_kept(
    database: Database, kept: bool
) -> None:
    async def write_later() -> None:
        async with database.hot() as hot:
            await event_log.append(hot, [fact(n=2), fact(n=3)])

    async with database.pool.acquire() as early:
        begun = early.transaction()
        await begun.start()
        await event_log.append(cast(Hot, early), [fact(n=1)])
        later = asyncio.create_task(write_later())
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        await until(lambda: database.pool.fetchval(waits))
        await (begun.commit() if kept else begun.rollback())
        await later
    async with database.hot() as hot:
        events = await event_log.read(hot, START)
        assert await event_log.broken_links(hot, events[0].stream) == []
    numbers = [1, 2, 3] if kept else [2, 3]
    assert [event.body["n"] for event in events] == numbers
    assert [event.version for event in events] == list(range(1, len(numbers) + 1))


async def test_a_stream_is_read_in_its_own_order_whichever_writer_began_first(
    database: Database,
) -> None:
    async with database.hot() as early:
        # It has its transaction id before the other begins, and its turn after the other's end.
        await early.execute("SELECT pg_current_xact_id()")
        async with database.hot() as late:
            first = await event_log.append(late, [fact(n=1)])
        second = await event_log.append(early, [fact(n=2)])
    assert first < second
    async with database.hot() as hot:
        read = await event_log.read(hot, START)
    assert [(event.version, event.body["n"]) for event in read] == [(1, 1), (2, 2)]
    assert [event.cursor for event in read] == [*first, *second]


async def test_a_body_that_is_not_json_is_refused_and_writes_nothing(database: Database) -> None:
    with pytest.raises(TypeError):
        async with database.hot() as hot:
            await event_log.append(hot, [fact(), fact(bad=object())])
    with pytest.raises(asyncpg.PostgresError):
        async with database.hot() as hot:
            await event_log.append(hot, [fact(), fact(bad="\x00")])
    async with database.hot() as hot:
        assert await event_log.read(hot, START) == []


async def test_an_event_is_the_act_of_whoever_acted_where_it_was_made(database: Database) -> None:
    with acting_as("client:frpd1-1"):
        theirs = fact(n=1)
    async with database.hot() as hot:
        await event_log.append(hot, [theirs, fact(n=2)])
        with acting_as("task:forwarding"):
            await event_log.append(hot, [fact(n=3)])
    async with database.hot() as hot:
        told = await event_log.read(hot, START)
        assert await event_log.broken_links(hot, told[0].stream) == []
    assert [one.actor for one in told] == ["client:frpd1-1", None, "task:forwarding"]


async def test_the_chain_holds_an_event_to_its_actor(database: Database) -> None:
    with acting_as("client:frpd1-1"):
        theirs = fact(n=1)
    async with database.hot() as hot:
        await event_log.append(hot, [theirs, fact(n=2)])
        await hot.execute("ALTER TABLE kit.event DISABLE TRIGGER append_only")
        await hot.execute("UPDATE kit.event SET actor = 'client:debet-1' WHERE version = 1")
        assert await event_log.broken_links(hot, theirs.stream) == [1]
        await hot.execute("UPDATE kit.event SET actor = 'client:frpd1-1' WHERE version = 1")
        await hot.execute("UPDATE kit.event SET actor = 'office' WHERE version = 2")
        assert await event_log.broken_links(hot, theirs.stream) == [2]
