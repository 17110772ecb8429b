"""`GET /marketplace/monitoring`: how the services fare that a partner calls or provides."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from gateway.monitoring.model import By, Every, Figures, Question, checked
from gateway.monitoring.ports import Records
from kit.clock import Clock
from kit.http import Caller, Instant, caller_of, known_query, page_link

USUAL = timedelta(hours=1)


class FiguresShown(BaseModel):
    """Calls of a service, contract and operation, as finely as asked; the rest is null.

    `begins_at`: the step of `every`. `caller_errors` were answered with 400 to 499,
    `provider_errors` with 500 and above. Times from call to answer, in milliseconds.
    """

    begins_at: datetime | None
    service: str
    major: int
    contract_id: str | None
    operation: str | None
    calls: int
    per_second: float
    caller_errors: int
    provider_errors: int
    error_share: float
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @classmethod
    def of(cls, one: Figures) -> FiguresShown:
        return cls(
            begins_at=one.begins_at,
            service=one.service,
            major=one.major,
            contract_id=one.contract_id,
            operation=one.operation,
            calls=one.calls,
            per_second=round(one.per_second, 6),
            caller_errors=one.caller_errors,
            provider_errors=one.provider_errors,
            error_share=round(one.error_share, 6),
            p50_ms=one.p50_us / 1000,
            p95_ms=one.p95_us / 1000,
            p99_ms=one.p99_us / 1000,
        )


class MonitoringShown(BaseModel):
    since: datetime
    until: datetime
    figures: list[FiguresShown]


def router(records: Records, clock: Clock) -> APIRouter:
    """A party sees calls that it made, and those that it answered; nobody else's."""
    routes = APIRouter(prefix="/marketplace", tags=["usage"], dependencies=[Depends(known_query)])

    @routes.get("/monitoring", summary="Rate, errors and times of own calls and services")
    async def monitoring(
        request: Request,
        response: Response,
        caller: Annotated[Caller, Depends(caller_of)],
        since: Annotated[Instant | None, Query(description="an hour before `until`")] = None,
        until: Annotated[Instant | None, Query(description="excluded; now")] = None,
        by: Annotated[By, Query(description="how finely calls are told apart")] = By.OPERATION,
        every: Annotated[Every, Query(description="in steps of so long")] = Every.WHOLE,
        service: Annotated[str | None, Query(max_length=100)] = None,
        contract_id: Annotated[str | None, Query(max_length=200)] = None,
        operation: Annotated[str | None, Query(max_length=500)] = None,
        sandbox: Annotated[bool, Query(description="those that were tried out, instead")] = False,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: str | None = None,
    ) -> MonitoringShown:
        end = until or clock()
        question = checked(
            Question(since or end - USUAL, end, by, every, service, contract_id, operation, sandbox)
        )
        page = await records.figures(caller.party, question, limit=limit, cursor=cursor)
        response.headers.update(page_link(request, page.next_cursor))
        return MonitoringShown(
            since=question.since,
            until=question.until,
            figures=[FiguresShown.of(one) for one in page.figures],
        )

    return routes
