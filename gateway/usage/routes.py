"""`GET /marketplace/usage`: what a partner has called, and what was called of it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from gateway.usage.model import DayOfUse
from gateway.usage.ports import Usage
from kit.clock import Clock
from kit.http import Caller, caller_of, known_query, page_link

DEFAULT_DAYS = 31


class DayOfUseOut(BaseModel):
    """The calls of one contract on one UTC day. `contract_id` null: let through without one.

    What was tried out in the sandbox has rows of its own, and costs nothing.
    """

    day: date
    contract_id: str | None
    requester: str
    provider: str
    service: str
    major: int
    calls: int
    billable_calls: int
    failed_calls: int
    bytes_in: int
    bytes_out: int
    sandbox: bool


class UsageOut(BaseModel):
    usage: list[DayOfUseOut]


def router(usage: Usage, clock: Clock) -> APIRouter:
    """Usage by contract and day; a party sees where it is requester or provider, nothing else."""
    routes = APIRouter(prefix="/marketplace", tags=["usage"], dependencies=[Depends(known_query)])

    @routes.get("/usage", summary="Own usage by contract and day")
    async def own_usage(
        request: Request,
        response: Response,
        caller: Annotated[Caller, Depends(caller_of)],
        first: Annotated[date | None, Query(description="UTC day; 31 days ago if absent")] = None,
        last: Annotated[date | None, Query(description="UTC day, included; else today")] = None,
        contract_id: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: str | None = None,
    ) -> UsageOut:
        today = clock().date()
        page = await usage.by_day(
            caller.party,
            first=first or today - timedelta(days=DEFAULT_DAYS),
            last=last or today,
            contract_id=contract_id,
            limit=limit,
            cursor=cursor,
        )
        response.headers.update(page_link(request, page.next_cursor))
        return UsageOut(usage=[_shown(day) for day in page.days])

    return routes


def _shown(day: DayOfUse) -> DayOfUseOut:
    return DayOfUseOut(
        day=day.day,
        contract_id=day.contract_id,
        requester=str(day.requester),
        provider=str(day.provider),
        service=day.service,
        major=day.major,
        calls=day.calls,
        billable_calls=day.billable_calls,
        failed_calls=day.failed_calls,
        bytes_in=day.bytes_in,
        bytes_out=day.bytes_out,
        sandbox=day.sandbox,
    )
