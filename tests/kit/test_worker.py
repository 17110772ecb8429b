"""A worker goes on while there is work, waits when there is none, and outlives its failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from kit.actor import acting_as, actor_now
from kit.worker import Worker, woken_by


async def test_a_worker_goes_on_while_there_is_more() -> None:
    steps: list[int] = []
    done = asyncio.Event()

    async def step() -> bool:
        steps.append(len(steps))
        if len(steps) == 5:
            done.set()
        return len(steps) < 5

    worker = Worker("counting", step, idle_s=60)
    worker.start()
    await asyncio.wait_for(done.wait(), 10)
    await worker.close()
    assert steps == [0, 1, 2, 3, 4]


async def test_waking_ends_the_wait() -> None:
    steps = asyncio.Queue[int]()

    async def step() -> bool:
        steps.put_nowait(1)
        return False

    worker = Worker("sleeping", step, idle_s=3600)
    worker.start()
    await asyncio.wait_for(steps.get(), 10)
    worker.wake()
    await asyncio.wait_for(steps.get(), 10)
    await worker.close()


async def test_a_worker_that_is_woken_at_the_moment_of_its_end_ends() -> None:
    steps = asyncio.Queue[int]()

    async def step() -> bool:
        steps.put_nowait(1)
        return False

    worker = Worker("sleeping", step, idle_s=3600)
    worker.start()
    await asyncio.wait_for(steps.get(), 10)
    await asyncio.sleep(0)
    worker.wake()
    closing = asyncio.create_task(worker.close())
    done, _ = await asyncio.wait([closing], timeout=5)
    assert done


async def test_a_failed_step_is_tried_again() -> None:
    tries = asyncio.Queue[int]()

    async def step() -> bool:
        tries.put_nowait(1)
        raise ConnectionError("the database is away")

    worker = Worker("failing", step)
    worker.start()
    for _ in range(2):
        await asyncio.wait_for(tries.get(), 10)
    await worker.close()


async def test_the_pause_after_failures_grows_no_longer_than_it_may() -> None:
    # The fifth try would be 3 seconds after the first, if each pause were twice the one before.
    tried = asyncio.Queue[int]()

    async def step() -> bool:
        tried.put_nowait(1)
        raise OSError("away")

    worker = Worker("failing", step, back_off_most_s=0.001)
    worker.start()
    async with asyncio.timeout(2):
        for _ in range(5):
            await tried.get()
    await worker.close()


async def test_whatever_is_heard_wakes_it_until_the_block_is_left() -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    steps: asyncio.Queue[None] = asyncio.Queue()

    async def told() -> AsyncIterator[str]:
        while True:
            yield await heard.get()

    async def step() -> bool:
        steps.put_nowait(None)
        return False

    worker = Worker("listening", step, idle_s=3_600)
    async with asyncio.timeout(5), woken_by(worker, told()):
        await steps.get()
        heard.put_nowait("news")
        await steps.get()
    heard.put_nowait("news")
    await asyncio.sleep(0)
    assert steps.empty()
    assert heard.qsize() == 1


async def test_what_a_worker_does_is_its_own_act_whoever_started_it() -> None:
    acted = asyncio.Queue[str | None]()

    async def step() -> bool:
        acted.put_nowait(actor_now())
        return False

    worker = Worker("topics: find", step, idle_s=3600)
    with acting_as("client:frpd1-1"):
        worker.start()
    assert await asyncio.wait_for(acted.get(), 10) == "task:topics"
    await worker.close()
