"""How a status report is taken (ProvideEVSEStatusData)."""

from __future__ import annotations

from kit.clock import Clock
from kit.event_log import NewEvent
from roaming.events import EventType
from search_evse.availability.model import Reported, Standing, judge
from search_evse.availability.ports import Boards


async def report_status(reported: Reported, *, boards: Boards, clock: Clock) -> Standing:
    """Hold the status if it is news, tell of it if it is another, and answer what now stands.

    Raises NoSuchEvse, EvseOfAnother or StatusInTheFuture.
    """
    async with boards.open() as board:
        before = await board.standing(reported.evse_id)
        now_stands = judge(reported, before, clock())
        if before is None or now_stands == before:
            return now_stands
        await board.write(reported.evse_id, now_stands)
        if now_stands.status is not before.status:
            await board.tell(
                NewEvent(
                    stream=f"evses:{now_stands.operator}",
                    type=EventType.EVSE_STATUS_CHANGED,
                    party=now_stands.operator,
                    body={
                        "evse_id": reported.evse_id,
                        "from": before.status,
                        "to": now_stands.status,
                    },
                    occurred_at=now_stands.at,
                )
            )
    return now_stands
