"""Playing in the order of the day: no step of a station before its last, none lost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gridroam.rehearsal.inputs import PlayedCharge
from gridroam.rehearsal.play import LANES, Lanes, repeats, timeline
from roaming.token import TokenUid

MIDNIGHT = datetime(2024, 12, 19, tzinfo=UTC)


def charge(line: int, begins: int, lasts: int, card: str = "04A2B3C4") -> PlayedCharge:
    start = MIDNIGHT + timedelta(minutes=begins)
    return PlayedCharge(line, "FRPD1E1", TokenUid(card), start, start + timedelta(minutes=lasts), 1)


days = some.lists(some.tuples(some.integers(0, 60), some.integers(-5, 60)), max_size=30).map(
    lambda told: sorted(
        (charge(n, begins, lasts) for n, (begins, lasts) in enumerate(told)),
        key=lambda one: (one.start, one.line),
    )
)


@given(days)
def test_every_charge_starts_once_and_stops_once_in_the_order_of_time(
    charges: list[PlayedCharge],
) -> None:
    steps = list(timeline(charges))
    assert [c for c, starts in steps if starts] == charges
    assert sorted(c.line for c, starts in steps if not starts) == sorted(c.line for c in charges)
    times = [c.start if starts else max(c.start, c.end) for c, starts in steps]
    assert times == sorted(times)
    for one in charges:
        assert steps.index((one, True)) < steps.index((one, False))


def test_the_same_charge_told_twice_is_noticed_and_another_card_is_another_charge() -> None:
    told = [charge(1, 0, 30), charge(2, 0, 30), charge(3, 0, 30, card="04FFFFFF"), charge(4, 0, 31)]
    assert repeats(told) == {2}


async def test_steps_of_one_key_keep_their_order_and_lanes_are_bounded() -> None:
    lanes = Lanes()
    done: list[tuple[str, int]] = []
    under_way = most = 0

    async def step(key: str, number: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        done.append((key, number))
        under_way -= 1

    for number in range(50):
        for key in "abcdef":
            await lanes.put(key, partial(step, key, number))
    await lanes.drain()
    for key in "abcdef":
        assert [n for k, n in done if k == key] == list(range(50))
    assert most <= min(LANES, 6)


async def test_the_first_failure_ends_the_replay() -> None:
    lanes = Lanes()

    async def fail() -> None:
        raise ConnectionError("the hub is gone")

    await lanes.put("a", fail)
    with pytest.raises(ConnectionError, match="the hub is gone"):
        await lanes.drain()
