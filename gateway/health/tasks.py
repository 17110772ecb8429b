"""Every process tells what it sees of the endpoints that it calls, every few seconds."""

from __future__ import annotations

from gateway.health.ports import Reports, Seen
from kit.clock import Clock
from kit.worker import Worker

TELL_EVERY_S = 2.0


def teller(seen: Seen, reports: Reports, clock: Clock) -> Worker:
    async def tell() -> bool:
        await reports.keep(list(seen()), clock())
        return False

    return Worker("endpoint-health", tell, idle_s=TELL_EVERY_S)
