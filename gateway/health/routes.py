"""`GET /marketplace/services/{name}/v{major}/health`: how a provider's endpoints are."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from gateway.health import flows
from gateway.health.model import Health
from gateway.health.ports import Catalogue, Reports
from kit.clock import Clock
from kit.http import Caller, caller_of, known_query
from roaming.party import PartyId


class FailureShown(BaseModel):
    """The last one that any process has seen."""

    kind: str
    at: datetime


class EndpointShown(BaseModel):
    """One endpoint, as all `processes` together see it that have called it lately.

    `state` is the worst that one of them sees; `resting_in`: so many let it alone. Calls and
    failures are those since these processes began; the times, of their last 512 answers each.
    """

    url: str
    environment: Literal["live", "sandbox"]
    state: Literal["closed", "half-open", "open"]
    processes: int
    resting_in: int
    calls: int
    failures: int
    last_failure: FailureShown | None
    p50_ms: float | None
    p99_ms: float | None

    @classmethod
    def of(cls, health: Health) -> EndpointShown:
        failed = health.failed
        return cls(
            url=health.place.url,
            environment="sandbox" if health.place.sandbox else "live",
            state=health.state.value,
            processes=health.processes,
            resting_in=health.resting_in,
            calls=health.calls,
            failures=health.failures,
            last_failure=None if failed is None else FailureShown(kind=failed.kind, at=failed.at),
            p50_ms=None if health.p50_us is None else health.p50_us / 1000,
            p99_ms=None if health.p99_us is None else health.p99_us / 1000,
        )


class HealthShown(BaseModel):
    service: str
    major: int
    endpoints: list[EndpointShown]


def router(catalogue: Catalogue, reports: Reports, clock: Clock, *, hub: PartyId) -> APIRouter:
    routes = APIRouter(
        prefix="/marketplace/services", tags=["services"], dependencies=[Depends(known_query)]
    )

    @routes.get("/{name}/v{major}/health", summary="How the endpoints of an own service are")
    async def service_health(
        name: str, major: int, caller: Annotated[Caller, Depends(caller_of)]
    ) -> HealthShown:
        found = await flows.health_of(
            name,
            major,
            caller.party,
            catalogue=catalogue,
            reports=reports,
            hub=hub,
            now=clock(),
        )
        return HealthShown(
            service=name, major=major, endpoints=[EndpointShown.of(one) for one in found]
        )

    return routes
