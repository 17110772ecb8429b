"""Drivers look for free charge points: the hub's search hears of every change of status.

Only the newest status of an EVSE is sent, and never by the hand that answers the charge point.
"""

from __future__ import annotations

import asyncio

import structlog

from central_system.hub.model import HubRefused
from central_system.stations.model import Due
from central_system.stations.ports import SearchEvse, Statuses
from kit.worker import Worker

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 100
IN_FLIGHT = 8


class StatusTeller:
    """Tells the hub. A hub that is away is asked again, with growing pauses, for ever."""

    def __init__(self, statuses: Statuses, search: SearchEvse, *, idle_s: float = 0.5) -> None:
        self._statuses = statuses
        self._search = search
        self._worker = Worker("evse-status", self.step, idle_s=idle_s)

    def start(self) -> None:
        self._worker.start()

    async def close(self) -> None:
        await self._worker.close()

    async def step(self) -> bool:
        """Tell what is due now; whether there may be more. HubAway."""
        due = await self._statuses.due(MOST_AT_ONCE)
        free = asyncio.Semaphore(IN_FLIGHT)

        async def tell(one: Due) -> None:
            async with free:
                await self._tell(one)

        failures = [
            outcome
            for outcome in await asyncio.gather(*map(tell, due), return_exceptions=True)
            if isinstance(outcome, BaseException)
        ]
        if failures:
            raise failures[0]
        return len(due) == MOST_AT_ONCE

    async def _tell(self, due: Due) -> None:
        try:
            await self._search.tell_status(due.ref.operator, due.evse_id, due.status)
        except HubRefused as refused:
            # An EVSE that the hub has no master data of: the next change will ask anew.
            log.warning("status refused", evse_id=due.evse_id.display, error=refused.detail)
        await self._statuses.told(due)
