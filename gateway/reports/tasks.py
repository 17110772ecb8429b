"""The worker that rolls days up when they are over, and once more when records came late."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from kit.clock import Clock
from kit.worker import Worker


class Roller(Protocol):
    async def step(self, now: datetime) -> bool: ...


def roller(days: Roller, clock: Clock, *, idle_s: float = 60.0) -> Worker:
    """Looks once a minute. What is not rolled up yet is read from the records, so none waits."""

    async def step() -> bool:
        return await days.step(clock())

    return Worker("reports: days", step, idle_s=idle_s)
