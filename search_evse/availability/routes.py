"""Status reports over HTTP, by the operator that runs the EVSE."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, BaseModel

from kit.clock import Clock
from kit.http import caller_of
from roaming.evse_id import EvseId
from search_evse.availability import flows
from search_evse.availability.model import Reported
from search_evse.availability.ports import Boards
from search_evse.sites.model import Status


class StatusTold(BaseModel):
    """An OCPI status, and since when it is so; now, if nothing is said."""

    model_config = {"extra": "forbid"}

    status: Status
    at: AwareDatetime | None = None


class StatusShown(BaseModel):
    evse_id: str
    status: Status
    at: datetime


def router(boards: Boards, clock: Clock) -> APIRouter:
    """The routes of availability, relative to the service's root."""
    routes = APIRouter(tags=["search-evse: availability"])

    @routes.put("/evses/{evse_id}/status")
    async def report_status(evse_id: str, told: StatusTold, request: Request) -> StatusShown:
        """Report a status. A report older than the standing status changes nothing.

        The answer is what stands now. The same report again changes nothing, so it needs no
        Idempotency-Key.
        """
        caller = caller_of(request)
        caller.must_be("evse-operator")
        since = clock() if told.at is None else told.at.astimezone(UTC)
        reported = Reported(EvseId(evse_id), told.status, since, caller.party)
        standing = await flows.report_status(reported, boards=boards, clock=clock)
        return StatusShown(evse_id=reported.evse_id.display, status=standing.status, at=standing.at)

    return routes
