"""Many callers, one commit; one bad item costs nobody else anything."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kit.actor import acting_as, actor_now
from kit.batching import Batcher


class Ledger:
    """Writes like a transaction: all of a batch or nothing."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()

    async def write(self, items: Sequence[int]) -> list[int]:
        await self.gate.wait()
        if -1 in items:
            raise ValueError("minus one")
        self.batches.append(list(items))
        return [item * 10 for item in items]


async def test_what_gathers_while_one_batch_is_written_goes_together() -> None:
    ledger = Ledger()
    batcher = Batcher(ledger.write)
    waiting = [asyncio.create_task(batcher.put(0))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting += [asyncio.create_task(batcher.put(n)) for n in range(1, 50)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting), "nobody is answered before the commit"
    ledger.gate.set()
    assert await asyncio.gather(*waiting) == [n * 10 for n in range(50)]
    assert len(ledger.batches) == 2


async def test_a_batch_is_no_longer_than_its_bound() -> None:
    ledger = Ledger()
    ledger.gate.set()
    batcher = Batcher(ledger.write, most=8)
    await asyncio.gather(*(batcher.put(n) for n in range(50)))
    assert max(len(batch) for batch in ledger.batches) == 8


async def test_one_bad_item_is_refused_alone() -> None:
    ledger = Ledger()
    ledger.gate.set()
    batcher = Batcher(ledger.write)
    tasks = [asyncio.create_task(batcher.put(n)) for n in (1, 2, -1, 3)]
    with pytest.raises(ValueError, match="minus one"):
        await tasks[2]
    assert [await tasks[n] for n in (0, 1, 3)] == [10, 20, 30]


async def test_a_caller_that_leaves_does_not_undo_the_others() -> None:
    ledger = Ledger()
    batcher = Batcher(ledger.write)
    tasks = [asyncio.create_task(batcher.put(n)) for n in (1, 2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    ledger.gate.set()
    assert await tasks[1] == 20


async def test_close_waits_for_what_was_taken() -> None:
    ledger = Ledger()
    batcher = Batcher(ledger.write)
    task = asyncio.create_task(batcher.put(4))
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    assert not closing.done()
    ledger.gate.set()
    await closing
    assert await task == 40


async def test_so_many_batches_as_are_allowed_are_written_side_by_side() -> None:
    under_way, most_under_way = 0, 0

    async def write(items: Sequence[int]) -> list[int]:
        nonlocal under_way, most_under_way
        under_way += 1
        most_under_way = max(most_under_way, under_way)
        for _ in range(3):
            await asyncio.sleep(0)
        under_way -= 1
        return [item * 10 for item in items]

    batcher = Batcher(write, most=4, at_once=3)

    async def put(n: int) -> int:
        for _ in range(n % 7):
            await asyncio.sleep(0)
        return await batcher.put(n)

    assert await asyncio.gather(*map(put, range(100))) == [n * 10 for n in range(100)]
    assert most_under_way == 3
    await batcher.close()


async def test_what_is_put_in_the_moment_when_a_writer_ends_is_written() -> None:
    ledger = Ledger()
    ledger.gate.set()
    batcher = Batcher(ledger.write)

    async def again_and_again() -> None:
        for n in range(20):
            assert await batcher.put(n) == n * 10

    async with asyncio.timeout(5):
        await asyncio.gather(*(again_and_again() for _ in range(3)))


async def test_a_batch_is_nobodys_act() -> None:
    async def write(items: Sequence[int]) -> list[str | None]:
        return [actor_now() for _ in items]

    batcher = Batcher(write)
    with acting_as("client:frpd1-1"):
        assert await batcher.put(1) is None
        assert actor_now() == "client:frpd1-1"
