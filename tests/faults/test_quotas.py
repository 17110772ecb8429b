"""Limits hold over processes: of N calls allowed N pass, whoever makes them, and whoever dies."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from gateway.calls.store import LARGEST_BLOCK, LAST_CALLS
from gateway.packs.model import Balance, Bargain, Purchase
from gateway.packs.store import SqlBooks
from kit.database import Database
from tests.faults.calling import AT_ONCE, CONTRACT
from tests.gateway.calls.fakes import NOON, OPERATOR, PROVIDER

DEADLINE_S = 90.0


@dataclass(slots=True)
class Caller:
    """A process that makes calls, and the windows of those that passed."""

    process: asyncio.subprocess.Process
    passed: list[int] = field(default_factory=list)
    reading: asyncio.Task[None] | None = None

    def go(self) -> None:
        self._say()
        self.reading = asyncio.create_task(self._read())

    def end(self) -> None:
        self._say()

    def kill(self) -> None:
        self.process.kill()

    def _say(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            # One that was killed may have been in the middle of it: but a pipe takes lines whole.
            self.passed.append(int(line))


@asynccontextmanager
async def callers(
    database_url: str, limits: dict[str, int], calls: Sequence[int], *more: str
) -> AsyncIterator[list[Caller]]:
    """As many processes as `calls` has numbers, ready to make so many each."""
    async with AsyncExitStack() as stack:
        found = []
        for number in calls:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.faults.calling"),
                *(database_url, json.dumps(limits), str(number), *more),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            stack.callback(_killed, process)
            found.append(Caller(process))
        for one in found:
            assert one.process.stdout is not None
            assert await one.process.stdout.readline() == b"ready\n"
        yield found


def _killed(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()


async def ended(found: Sequence[Caller]) -> int:
    """All calls that passed, once every process has made its calls and ended."""
    for one in found:
        if one.process.returncode is None:
            one.end()
    async with asyncio.timeout(DEADLINE_S):
        for one in found:
            assert one.reading is not None
            await one.reading
            await one.process.wait()
    return sum(len(one.passed) for one in found)


async def buy(database_url: str, calls: int) -> None:
    database = await Database.open(database_url, pool_size=1)
    bargain = Bargain(CONTRACT, OPERATOR, PROVIDER, None, in_force=True)
    async with SqlBooks(database).open() as book:
        await book.buy(Purchase("p-1", CONTRACT, 1, calls, 0, None, NOON), bargain, None)
    await database.close()


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("per_day", 700),
        ("pack", 700),
        ("pack", 5_000),
        ("per_day", LAST_CALLS + 3_000),
        ("per_month", LAST_CALLS + 3_000),
    ],
)
async def test_of_a_limit_exactly_so_many_pass_under_ten_times_the_load(
    database_url: str, name: str, limit: int
) -> None:
    await buy(database_url, limit)
    # One process stops early and lives on, with whatever it has then.
    calls = [limit // 5, limit * 5, limit * 5]
    async with callers(database_url, {name: limit}, calls, NOON.isoformat()) as found:
        for one in found:
            one.go()
        assert await ended(found) == limit
        assert all(one.passed for one in found)


async def test_of_a_second_at_most_so_many_pass_and_as_a_rule_all(database_url: str) -> None:
    limit, seconds = 150, 4
    async with callers(database_url, {"per_second": limit}, [seconds] * 3) as found:
        for one in found:
            one.go()
        await ended(found)
        counted = Counter(window for one in found for window in one.passed)
    assert max(counted.values()) <= limit
    # The first and the last second are begun and left in their middle.
    whole = [counted[window] for window in range(min(counted) + 1, max(counted))]
    assert len(whole) >= 2
    assert whole == [limit] * len(whole)


@pytest.mark.parametrize(
    ("name", "limit", "held"),
    [
        ("pack", 3_000, 0),
        ("per_month", 3_000, 0),
        ("per_month", LAST_CALLS + 10_000, LARGEST_BLOCK),
    ],
)
async def test_a_process_that_is_killed_costs_what_was_under_way_and_never_gains_a_call(
    database_url: str, name: str, limit: int, held: int
) -> None:
    await buy(database_url, limit)
    calls = [limit * 5] * 3
    async with callers(database_url, {name: limit}, calls, NOON.isoformat()) as found:
        for one in found:
            one.go()
        victim, *others = found
        async with asyncio.timeout(DEADLINE_S):
            # Of all: on a busy machine two may have used it up before the third has its tenth.
            while sum(len(one.passed) for one in found) < limit // 4:  # noqa: ASYNC110  they tell
                await asyncio.sleep(0.001)
        victim.kill()
        await victim.process.wait()
        passed = await ended([victim, *others])
    assert limit - AT_ONCE - held <= passed <= limit
    assert len(victim.passed) < limit


async def test_a_process_that_ends_in_order_leaves_all_it_had(database_url: str) -> None:
    limit = 900
    await buy(database_url, limit)
    async with callers(database_url, {"pack": limit}, [300] * 3, NOON.isoformat()) as found:
        for one in found:
            one.go()
            await ended([one])
        assert [len(one.passed) for one in found] == [300] * 3
    database = await Database.open(database_url, pool_size=1)
    async with SqlBooks(database).open() as book:
        assert await book.balance(CONTRACT) == Balance(limit, limit)
    await database.close()
