"""A process of a hub that takes calls of one contract as fast as it can; started by the tests.

    python -m tests.faults.calling DATABASE_URL {"per_day": 1000} CALLS [AT]

Says `ready`, waits for a line, and then writes for each call that passes the window that it counts
in, one a line, at once: what it had passed when it was killed is known to its parent. AT is the
time of all calls; without it, CALLS are seconds to go on for.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from datetime import datetime

from gateway.calls.model import Quota
from gateway.calls.refusals import OverLimit
from gateway.calls.store import SqlQuotas
from kit.clock import utc_now
from kit.database import Database

AT_ONCE = 32
CONTRACT = "C-1"


async def call(quotas: SqlQuotas, quota: Quota, at: datetime) -> None:
    try:
        allowance = await quotas.reserve(CONTRACT, quota, at)
    except OverLimit:
        return
    # Past all buffers: it counts as made, whatever becomes of this process.
    os.write(1, f"{allowance.leases[0].window}\n".encode())


async def main(url: str, limits: str, calls: int, at: datetime | None) -> None:
    database = await Database.open(url, pool_size=4)
    quotas = SqlQuotas(database)
    quota = Quota(**json.loads(limits))
    os.write(1, b"ready\n")
    await asyncio.to_thread(sys.stdin.readline)
    ends_s = time.monotonic() + calls
    left = calls

    async def caller() -> None:
        nonlocal left
        while time.monotonic() < ends_s if at is None else left > 0:
            left -= 1
            await call(quotas, quota, at or utc_now())
            # A hub's calls do more than this between two looks at their quota.
            await asyncio.sleep(0)

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    # Alive until told to end: what it holds, it holds as a process that nobody calls any more.
    await asyncio.to_thread(sys.stdin.readline)
    await quotas.close()
    await database.close()


if __name__ == "__main__":
    _, _url, _limits, _calls, *_at = sys.argv
    asyncio.run(main(_url, _limits, int(_calls), datetime.fromisoformat(_at[0]) if _at else None))
