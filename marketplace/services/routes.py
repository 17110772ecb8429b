"""The catalogue over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_of, json_response, page_link
from kit.idempotency import once
from marketplace.services import flows
from marketplace.services.model import (
    Action,
    BadService,
    Operation,
    Protocol,
    Service,
    Status,
)
from marketplace.services.ports import Catalogue, Memory

Calling = Annotated[Caller, Depends(caller_of)]


class OperationShape(BaseModel):
    """One thing to call."""

    model_config = ConfigDict(extra="forbid")
    name: str
    method: str
    path: str


class ServiceAsked(BaseModel):
    """A service of the calling party. `endpoint` is where the gateway forwards its calls."""

    model_config = ConfigDict(extra="forbid")
    name: str
    major: int = 1
    category: str
    description: str
    endpoint: str
    protocol: Literal["rest"] = "rest"
    documentation: str = ""
    operations: list[OperationShape] = Field(default_factory=list)


class ServiceShown(BaseModel):
    """A service in the catalogue. Where it is answered is between its provider and the hub."""

    name: str
    major: int
    provider: str
    status: str
    category: str
    description: str
    protocol: str
    documentation: str
    operations: list[OperationShape]
    registered_at: datetime
    path: str | None
    endpoint: str | None = None

    @classmethod
    def of(cls, service: Service, caller: Caller) -> ServiceShown:
        version = "" if service.major == 1 else f"/v{service.major}"
        callable_here = service.callable
        return cls(
            name=service.name,
            major=service.major,
            provider=service.provider,
            status=service.status,
            category=service.category,
            description=service.description,
            protocol=service.protocol,
            documentation=service.documentation,
            operations=[
                OperationShape(name=one.name, method=one.method, path=one.path)
                for one in service.operations
            ],
            registered_at=service.registered_at,
            path=f"/services/{service.name}{version}" if callable_here else None,
            endpoint=service.endpoint if caller.party == service.provider else None,
        )


def router(
    catalogue: Catalogue,
    database: Database,
    clock: Clock,
    memory: Memory,
    *,
    allow_loopback: bool,
) -> APIRouter:
    """`allow_loopback`: the hub may be sent to addresses of this very machine."""
    routes = APIRouter(prefix="/marketplace/services", tags=["services"])

    @routes.get("", summary="Search the catalogue")
    async def search_services(
        request: Request,
        caller: Calling,
        response: Response,
        q: Annotated[str, Query(max_length=500)] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: str | None = None,
    ) -> list[ServiceShown]:
        found = await flows.search(catalogue, caller.party, q, _after(cursor), limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        more = None if last is None else f"{last.name}:{last.major}"
        response.headers.update(page_link(request, more))
        return [ServiceShown.of(service, caller) for service in found[:limit]]

    @routes.get("/{name}/v{major}", summary="One version of a service")
    async def show_service(name: str, major: int, caller: Calling) -> ServiceShown:
        return ServiceShown.of(await flows.find(catalogue, caller.party, name, major), caller)

    @routes.post(
        "",
        summary="Register a service of the caller, as a draft",
        status_code=201,
        response_model=ServiceShown,
    )
    async def register_service(request: Request, asked: ServiceAsked, caller: Calling) -> Response:
        async def run() -> Response:
            now = clock()
            service = await flows.register(
                catalogue,
                Service(
                    name=asked.name,
                    major=asked.major,
                    provider=caller.party,
                    status=Status.DRAFT,
                    category=asked.category,
                    description=asked.description,
                    endpoint=asked.endpoint,
                    protocol=Protocol(asked.protocol),
                    documentation=asked.documentation,
                    operations=tuple(
                        Operation(one.name, one.method, one.path) for one in asked.operations
                    ),
                    registered_at=now,
                ),
                memory=memory,
                allow_loopback=allow_loopback,
                now=now,
            )
            return json_response(ServiceShown.of(service, caller).model_dump(mode="json"), 201)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.post(
        "/{name}/v{major}/{action}",
        summary="Publish, suspend or retire the caller's service",
        response_model=ServiceShown,
    )
    async def change_service(
        request: Request, name: str, major: int, action: Action, caller: Calling
    ) -> Response:
        async def run() -> Response:
            service = await flows.change(
                catalogue, caller.party, name, major, action, memory=memory, now=clock()
            )
            return json_response(ServiceShown.of(service, caller).model_dump(mode="json"))

        return await once(request, run, database=database, party=caller.party, clock=clock)

    return routes


def _after(cursor: str | None) -> tuple[str, int] | None:
    if cursor is None:
        return None
    name, _, major = cursor.partition(":")
    if not (name.isascii() and name.isprintable() and major.isdecimal() and len(major) <= 4):
        raise BadService("no cursor of ours", field="cursor", value=cursor[:100], rule="as given")
    return name, int(major)
