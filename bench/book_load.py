"""The gateway's contract table: 200,000 contracts and 10,000 services read into memory.

In a process of its own, whose memory is told before and after; the aims are 5 seconds and 300 MB.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import msgspec

from bench.large_market import LargeMarket, load
from bench.row import Options, Row
from kit.clock import utc_now
from kit.database import Database
from marketplace.contracts.book import ContractBook
from marketplace.contracts.source import SqlBookSource

NAME = "book-load"
AIM_S, AIM_MB = 5.0, 300.0


async def run(options: Options) -> list[Row]:
    market = LargeMarket.quick() if options.quick else LargeMarket()
    database = await Database.open(options.database_url, pool_size=3)
    try:
        await load(database, market)
    finally:
        await database.close()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, options.database_url), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    spent_s, grown_mb, contracts = msgspec.json.decode(out)
    assert contracts == market.contracts
    return [
        Row(
            name=NAME,
            ours=value,
            unit=unit,
            limit="aim",
            limit_value=aim,
            ratio_to_limit=value / aim,
            params=market.sizes,
        )
        for value, unit, aim in ((spent_s, "s", AIM_S), (grown_mb, "MB", AIM_MB))
    ]


async def _loaded(url: str) -> tuple[float, float, int]:
    database = await Database.open(url, pool_size=2)
    try:
        book = ContractBook(SqlBookSource(database), utc_now)
        before_mb, began = _resident_mb(), time.perf_counter()
        await book.load()
        spent_s = time.perf_counter() - began
        return spent_s, max(_resident_mb() - before_mb, 0.01), len(book)
    finally:
        await database.close()


def _resident_mb() -> float:
    told = Path("/proc/self/status").read_text()
    [line] = [line for line in told.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_loaded(sys.argv[1]))))
