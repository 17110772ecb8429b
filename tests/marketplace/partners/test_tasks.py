"""On the day, leave is taken by a worker."""

from __future__ import annotations

from datetime import timedelta

from kit import event_log
from kit.event_log import START
from marketplace.partners import flows
from marketplace.partners.tasks import leave_taker
from tests.hub import until
from tests.marketplace.fakes import EVSP, HUB, NOW, OPERATOR, HandClock, Member
from tests.marketplace.partners.test_routes import standing
from tests.marketplace.services.test_routes import PARKING
from tests.marketplace.whole import Marketplace


async def test_a_worker_takes_leave_when_the_notice_has_run_and_not_before(
    market: Marketplace, operator: Member, evsp: Member, clock: HandClock
) -> None:
    await operator.http.post("/marketplace/services", json=PARKING)
    await operator.http.post("/marketplace/services/parking/v1/publish")
    offered = await operator.http.post(
        "/marketplace/offerings", json={"service": "parking", "terms": {"notice_days": 10}}
    )
    offering_id = offered.json()["offering_id"]
    await evsp.http.post("/marketplace/contracts", json={"offering_id": offering_id})
    await operator.http.post(standing(OPERATOR, "leave"))

    async def told() -> set[str]:
        async with market.database.begin() as connection:
            every = await event_log.read(connection, START, types=["partner-left"])
        return {one.party for one in every}

    clock.now = NOW + timedelta(days=10) - timedelta(seconds=1)
    await flows.take_leave(market.core.partners, now=clock())
    assert await told() == set()
    clock.forward(seconds=1)
    worker = leave_taker(market.core.partners, clock)
    worker.start()
    try:

        async def everybody_knows() -> bool:
            return await told() == {OPERATOR, EVSP, HUB}

        await until(everybody_knows)
    finally:
        await worker.close()
