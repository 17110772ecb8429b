"""Who waits for a topic hears of what is new on it, and of nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.topics.bell import Bell
from gateway.topics.desk import wait
from gateway.topics.model import Source, stream_of
from kit import event_log
from kit.database import Database
from kit.event_log import NewEvent
from roaming.events import EventType
from tests.gateway.topics.fakes import NOW, PROVIDER, TOPIC, published


@pytest.fixture
async def bell(database: Database) -> AsyncIterator[Bell]:
    made = Bell(database, asyncio.Event())
    made.start()
    yield made
    await made.close()


async def rings(rung: asyncio.Event) -> bool:
    await wait(rung, 10.0)
    return rung.is_set()


async def test_it_rings_for_whoever_reads_what_is_new_and_for_nobody_else(
    bell: Bell, database: Database
) -> None:
    with (
        bell.waiting(Source(TOPIC)) as topic,
        bell.waiting(Source("own-events", PROVIDER)) as own,
        bell.waiting(Source("another")) as another,
    ):
        # Until it has had its first look, what is new is not new to it.
        while not topic.is_set():
            await published(database, ("a", 1))
            await wait(topic, 0.1)
        assert await rings(own)
        assert not another.is_set()


async def test_it_rings_when_a_slow_writer_is_done(bell: Bell, database: Database) -> None:
    heard: list[Source] = []
    bell.heard_by(heard.extend)
    while Source(TOPIC) not in heard:
        await published(database, ("a", 1))
        await asyncio.sleep(0.02)
    slow = NewEvent(
        stream_of("slow", "a"),
        EventType.TOPIC_EVENT_PUBLISHED,
        PROVIDER,
        {"type": "told", "data": 1},
        NOW,
    )
    with bell.waiting(Source("slow")) as rung:
        async with database.hot() as connection:
            await event_log.append(connection, [slow])
            await published(database, ("a", 2))
            assert not rung.is_set()
        assert await rings(rung)


async def test_nobody_waits_for_a_hub_that_stops(bell: Bell) -> None:
    with bell.waiting(Source(TOPIC)) as rung:
        bell.stopping.set()
        assert await rings(rung)
