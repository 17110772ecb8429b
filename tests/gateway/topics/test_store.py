"""Topics read from the real log, and the subscribers' books."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.topics import model
from gateway.topics.model import (
    START,
    Draft,
    EventId,
    Filter,
    Source,
    TooManySubscriptions,
    Way,
    Wish,
)
from gateway.topics.store import SqlLog, SqlSubscriptions
from kit import event_log
from kit.database import Database
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.party import PartyId
from tests.gateway.topics.fakes import NOW, PROVIDER, SUBSCRIBER, TOPIC, published

OPERATOR = PartyId("FR*PD1")


def of_evse(type_: EventType) -> NewEvent:
    return NewEvent(f"evses:{OPERATOR}", type_, OPERATOR, {"evse_id": "FRPD1E1"}, NOW)


async def test_each_topic_gives_out_its_own_events_and_no_others(database: Database) -> None:
    log = SqlLog(database)
    ids = await published(database, ("a:b", 1))
    await log.publish("another", PROVIDER, [Draft("a", "told", 2, NOW)])
    async with database.hot() as connection:
        told = [of_evse(EventType.EVSE_STATUS_CHANGED), of_evse(EventType.EVSE_CHANGED)]
        await event_log.append(connection, told)
    (found,) = await log.read(Source(TOPIC), START, limit=100, most_bytes=1_000_000)
    assert (str(found.id), found.key, found.type, found.data) == (ids[0], "a:b", "told", 1)
    for topic in ("evse-status", "evse-data"):
        (found,) = await log.read(Source(topic), START, limit=100, most_bytes=1_000_000)
        assert (found.key, found.data) == (OPERATOR, {"evse_id": "FRPD1E1"})
    own = await log.read(Source("own-events", OPERATOR), START, limit=100, most_bytes=1_000_000)
    assert [one.type for one in own] == ["evse-status-changed", "evse-changed"]
    assert {one.key for one in own} == {f"evses:{OPERATOR}"}


async def test_a_slow_writers_event_is_waited_for_and_never_passed_over(
    database: Database,
) -> None:
    log = SqlLog(database)
    slow = NewEvent(
        model.stream_of(TOPIC, "slow"),
        EventType.TOPIC_EVENT_PUBLISHED,
        PROVIDER,
        {"type": "told", "data": 1},
        NOW,
    )
    async with database.hot() as connection:
        await event_log.append(connection, [slow])
        await published(database, ("fast", 2))
        # It has a lower place and is not there yet: nobody may go on behind it.
        assert await log.read(Source(TOPIC), START, limit=100, most_bytes=1_000_000) == []
        assert (await log.newest()) == START
    found = await log.read(Source(TOPIC), START, limit=100, most_bytes=1_000_000)
    assert [one.data for one in found] == [1, 2]
    assert await log.read(Source(TOPIC), found[0].id, limit=100, most_bytes=1_000_000) == found[1:]


async def test_a_page_is_bounded_by_bytes_and_has_one_event_at_least(database: Database) -> None:
    log = SqlLog(database)
    await published(database, *(("a", number) for number in range(10)))
    everything = await log.read(Source(TOPIC), START, limit=10, most_bytes=1_000_000)
    assert len(everything) == 10
    assert await log.read(Source(TOPIC), START, limit=10, most_bytes=1) == everything[:1]
    some = await log.read(Source(TOPIC), START, limit=10, most_bytes=100)
    assert 1 < len(some) < 10


async def test_events_are_all_published_or_none(database: Database) -> None:
    log = SqlLog(database)
    drafts = [Draft("a", "told", 1, NOW), Draft("b", "told", "\0", NOW)]
    with pytest.raises(Exception, match="Unicode"):
        await log.publish(TOPIC, PROVIDER, drafts)
    assert await log.read(Source(TOPIC), START, limit=100, most_bytes=1_000_000) == []


async def test_asking_twice_for_a_subscription_is_asking_once(database: Database) -> None:
    books = SqlSubscriptions(database)
    wish = Wish(Way.PULL, filter=Filter(types=frozenset({"t"})))
    made, new = await books.keep(SUBSCRIBER, TOPIC, "mine", wish, START, NOW)
    assert new
    moved = await books.move(made, EventId(5, 5))
    again, new = await books.keep(SUBSCRIBER, TOPIC, "mine", wish, START, NOW + timedelta(days=1))
    assert (again.cursor, again.wish, again.made_at, new) == (moved, wish, NOW, False)
    assert await books.of(PROVIDER, TOPIC) == []
    await books.end(again, NOW)
    assert await books.find(SUBSCRIBER, TOPIC, "mine") is None


async def test_a_cursor_never_goes_back(database: Database) -> None:
    books = SqlSubscriptions(database)
    one, _ = await books.keep(SUBSCRIBER, TOPIC, "mine", Wish(Way.PULL), START, NOW)
    for asked, stands in ((3, 3), (2, 3), (3, 3), (4, 4)):
        assert await books.move(one, EventId(1, asked)) == EventId(1, stands)


async def test_a_party_has_so_many_subscriptions_of_a_topic(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "MOST_SUBSCRIPTIONS", 2)
    books = SqlSubscriptions(database)
    for name in ("one", "two", "two"):
        await books.keep(SUBSCRIBER, TOPIC, name, Wish(Way.PULL), START, NOW)
    with pytest.raises(TooManySubscriptions):
        await books.keep(SUBSCRIBER, TOPIC, "three", Wish(Way.PULL), START, NOW)
    await books.keep(PROVIDER, TOPIC, "three", Wish(Way.PULL), START, NOW)


async def test_the_lag_counts_what_is_behind_and_since_when(database: Database) -> None:
    books = SqlSubscriptions(database)
    one, _ = await books.keep(SUBSCRIBER, TOPIC, "mine", Wish(Way.PULL), START, NOW)
    assert (await books.lag(one, 100)).oldest_at is None
    await published(database, *(("a", number) for number in range(5)))
    lag = await books.lag(one, 100)
    (first, *_) = await SqlLog(database).read(Source(TOPIC), START, limit=100, most_bytes=1_000_000)
    assert (lag.events, lag.oldest_at) == (5, first.recorded_at)
    assert (await books.lag(one, 3)).events == 3
