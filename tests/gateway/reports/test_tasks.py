"""Days are rolled up one after another, without a pause while there are more."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.reports.tasks import roller
from tests.hub import until

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Days:
    def __init__(self) -> None:
        self.left = 3
        self.seen: list[datetime] = []

    async def step(self, now: datetime) -> bool:
        self.seen.append(now)
        self.left -= 1
        return self.left > 0


async def test_all_days_that_wait_are_rolled_up_at_once() -> None:
    days = Days()
    worker = roller(days, lambda: NOW, idle_s=3600)
    worker.start()
    await until(lambda: days.left == 0)
    await worker.close()
    assert days.seen == [NOW] * 3
