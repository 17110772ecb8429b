"""What a second worker process adds, and what a million calls leave behind.

A whole hub, once with one worker and once with two, and the best of some rounds of each by the
clock. PostgreSQL, the provider and the load share the machine's cores with the workers, so the CPU
time of the busiest worker is told, too: connections are not dealt out evenly, and with a core for
each worker it is the busiest that calls would wait for. Then a million calls in a row: how much
larger the one worker is at their end than after the first hundred thousand.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import Progress

from bench.market import Market, market
from bench.processes import Asked, PeerMissing, cpu_s, load
from bench.row import Options, Row

NAME = "gateway-workers"

LIMIT = "one worker"
AT_ONCE = 64
MOST_A_TURN = 50_000


async def run(options: Options) -> list[Row]:
    requests, rounds = (1_000, 1) if options.quick else (20_000, 7)
    many, warm = (4_000, 1_000) if options.quick else (1_000_000, 100_000)
    async with market(options.database_url, options.scratch, workers=1) as place:
        await _calls(place, requests)
        ones = [await _busiest(place, requests) for _ in range(rounds)]
        await _calls(place, warm)
        before = _memory_mb(place)
        await _calls(place, many)
        after = _memory_mb(place)
    async with market(options.database_url, options.scratch, workers=2) as place:
        await _calls(place, requests)
        twos = [await _busiest(place, requests) for _ in range(rounds)]
    one, two = max(rate for _, rate in ones), max(rate for _, rate in twos)
    busiest_s = [median(cpu for cpu, _ in some) for some in (ones, twos)]
    params = {"calls": requests, "rounds": rounds, "at_once": AT_ONCE}
    return [
        Row(
            name=NAME,
            ours=round(two),
            unit="calls/s of two workers by the clock (aim: >= 1.7 x)",
            limit=LIMIT,
            limit_value=round(one),
            ratio_to_limit=round(two / one, 2),
            params={
                **params,
                "busiest_cpu_us": round(busiest_s[1] / requests * 1e6, 1),
                "one_cpu_us": round(busiest_s[0] / requests * 1e6, 1),
            },
        ),
        Row(
            name=NAME,
            ours=round(after, 1),
            unit="MB resident after so many calls",
            limit=f"after {warm:,}",
            limit_value=round(before, 1),
            ratio_to_limit=round(after / before, 2),
            params={"calls": many},
        ),
    ]


async def _busiest(place: Market, requests: int) -> tuple[float, float]:
    """CPU seconds of the busiest worker, and calls a second by the clock."""
    workers = place.workers
    before = [cpu_s(one) for one in workers]
    seconds = await _calls(place, requests)
    spent = [cpu_s(one) - was for one, was in zip(workers, before, strict=True)]
    return max(spent), requests / seconds


async def _calls(place: Market, requests: int) -> float:
    """Seconds that so many calls took. PeerMissing where one was not answered by a 2xx."""
    seconds, left = 0.0, requests
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        task = progress.add_task("calling", total=requests)
        while left:
            some = min(left, MOST_A_TURN)
            asked = Asked(place.call, place.requester.headers)
            spent, good = await load(asked, requests=some, at_once=AT_ONCE)
            if good != some:
                raise PeerMissing(f"only {good} of {some} calls were answered by a 2xx")
            seconds += spent
            left -= some
            progress.advance(task, some)
    # What was metered is written within a tenth of a second, and is part of the work.
    await asyncio.sleep(0.3)
    return seconds


def _memory_mb(place: Market) -> float:
    """What the worker holds now (proc(5), VmRSS)."""
    [worker] = place.workers
    for line in Path(f"/proc/{worker}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise PeerMissing("the hub has ended")
