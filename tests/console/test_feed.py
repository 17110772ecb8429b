"""Every open page is told all, in order; none of them can hold up the others, or the hub."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import text

from console.feed import MOST_BEHIND, MOST_PAGES, Feed, Page, TooManyPages
from kit.database import Database
from tests.console import entries
from tests.hub import until

EVSE = "FRPD1E1"


@pytest.fixture
async def feed(database: Database) -> AsyncIterator[Feed]:
    feed = Feed(database)
    feed.start()
    yield feed
    await feed.close()


async def told(page: Page) -> list[dict[str, Any]]:
    async with asyncio.timeout(15):
        batch = await page.next()
    assert batch is not None
    found: list[dict[str, Any]] = json.loads(batch)
    return found


async def authorised_as_shown(page: Page, expected: int) -> int:
    """What a page adds up to that was told the state and then its changes."""
    (state,) = await told(page)
    assert state["kind"] == "state"
    count: int = state["authorised"]
    while count < expected:
        count += sum(one["kind"] == "authorised" for one in await told(page))
    return count


async def test_a_page_is_told_the_state_first_then_what_changes(
    database: Database, feed: Feed
) -> None:
    await entries.write(database, entries.authorised(EVSE))
    await until(lambda: feed.day.authorised == 1)
    with feed.page() as page:
        (state,) = await told(page)
        assert (state["kind"], state["authorised"], state["charging"]) == ("state", 1, [EVSE])
        await entries.write(database, entries.refused("FRPD1E2", "contract-blocked"))
        (change,) = await told(page)
        assert (change["kind"], change["evse"]) == ("refused", "FRPD1E2")


async def test_pages_that_open_in_mid_day_miss_nothing_and_see_nothing_twice(
    database: Database, feed: Feed
) -> None:
    rounds, at_once = 40, 25

    async def play() -> None:
        for _ in range(rounds):
            await entries.write(database, *(entries.authorised(EVSE) for _ in range(at_once)))

    async def look(after: int) -> int:
        await until(lambda: feed.day.authorised >= after)
        with feed.page() as page:
            return await authorised_as_shown(page, rounds * at_once)

    playing = asyncio.create_task(play())
    counts = await asyncio.gather(*(look(after) for after in range(0, 1000, 90)))
    await playing
    assert set(counts) == {rounds * at_once}


async def test_two_pages_are_told_the_same(database: Database, feed: Feed) -> None:
    with feed.page() as one, feed.page() as other:
        assert await told(one) == await told(other)
        await entries.write(database, entries.cdr(EVSE, "NL*ALF", "1.25"))
        assert await told(one) == await told(other)


async def test_a_page_that_falls_behind_is_cut_off_and_forgotten_and_the_others_go_on() -> None:
    slow, quick = Page(b"state"), Page(b"state")
    for number in range(MOST_BEHIND + 5):
        slow.tell(b"%d" % number)
        quick.tell(b"%d" % number)
        await quick.next()
    assert slow.cut.is_set()
    assert await slow.next() is None
    assert not quick.cut.is_set()
    assert await quick.next() == b"%d" % (MOST_BEHIND + 4)


async def test_what_nobody_looks_at_is_not_kept(database: Database, feed: Feed) -> None:
    with feed.page():
        assert feed.open_pages == 1
    assert feed.open_pages == 0
    await entries.write(database, entries.authorised(EVSE))
    await until(lambda: feed.day.authorised == 1)
    with feed.page() as page:
        assert [one["kind"] for one in await told(page)] == ["state"]


async def test_more_pages_than_anybody_looks_at_are_refused(feed: Feed) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_PAGES):
            stack.enter_context(feed.page())
        with pytest.raises(TooManyPages), feed.page():
            raise AssertionError("it opened")
    with feed.page() as page:
        assert await told(page)


async def test_when_the_hub_stops_every_page_ends(feed: Feed) -> None:
    with feed.page() as page:
        await feed.close()
        assert await told(page)
        assert await page.next() is None
    with feed.page() as late:
        assert await told(late)
        assert await late.next() is None


async def test_a_broken_database_connection_costs_no_event_and_doubles_none(
    database: Database, feed: Feed
) -> None:
    await entries.write(database, entries.authorised(EVSE))
    await until(lambda: feed.day.authorised == 1)
    async with database.begin() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    await entries.write(database, entries.authorised(EVSE), entries.authorised(EVSE))
    await until(lambda: feed.day.authorised >= 3)
    await entries.write(database, entries.authorised(EVSE))
    await until(lambda: feed.day.authorised >= 4)
    assert feed.day.authorised == 4
