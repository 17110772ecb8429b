"""Status reports over HTTP, by the operator that runs the EVSE."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, BaseModel, Field

from kit.clock import Clock
from kit.http import Caller, caller_of
from kit.problem import type_of
from roaming.evse_id import EvseId
from roaming.refusal import Refusal
from search_evse.availability import flows
from search_evse.availability.model import Reported
from search_evse.availability.ports import Boards
from search_evse.sites.model import Status


class StatusTold(BaseModel):
    """An OCPI status, and since when it is so; now, if nothing is said."""

    model_config = {"extra": "forbid"}

    status: Status
    at: AwareDatetime | None = None


class EvseStatusTold(StatusTold):
    # Bounded, and by that a text that can be told again: half a surrogate pair is none.
    evse_id: Annotated[str, Field(max_length=1000)]


class StatusesTold(BaseModel):
    model_config = {"extra": "forbid"}

    statuses: Annotated[list[EvseStatusTold], Field(min_length=1, max_length=1000)]


class WhyNot(BaseModel):
    """Why a report was not taken: as a problem document would say it."""

    type: str
    detail: str
    rule: str | None


class StatusTaken(BaseModel):
    """What stands now; `problem` where the report was not taken, and then nothing else."""

    evse_id: str
    status: Status | None = None
    at: datetime | None = None
    problem: WhyNot | None = None


class StatusesShown(BaseModel):
    statuses: list[StatusTaken]


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
        return await _report(evse_id, told, caller, boards, clock)

    @routes.post("/statuses")
    async def report_statuses(told: StatusesTold, request: Request) -> StatusesShown:
        """Report the status of up to 1,000 EVSEs; each is taken or refused by itself, in order.

        The same reports again change nothing, so they need no Idempotency-Key.
        """
        caller = caller_of(request)
        caller.must_be("evse-operator")
        taken = []
        for one in told.statuses:
            try:
                standing = await _report(one.evse_id, one, caller, boards, clock)
            except Refusal as refusal:
                why = WhyNot(
                    type=type_of(type(refusal).__name__), detail=refusal.detail, rule=refusal.rule
                )
                taken.append(StatusTaken(evse_id=one.evse_id, problem=why))
            else:
                taken.append(StatusTaken(**standing.model_dump()))
        return StatusesShown(statuses=taken)

    return routes


async def _report(
    evse_id: str, told: StatusTold, caller: Caller, boards: Boards, clock: Clock
) -> StatusShown:
    since = clock() if told.at is None else told.at.astimezone(UTC)
    reported = Reported(EvseId(evse_id), told.status, since, caller.party)
    standing = await flows.report_status(reported, boards=boards, clock=clock)
    return StatusShown(evse_id=reported.evse_id.display, status=standing.status, at=standing.at)
