"""The catalogue over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_of, json_response, page_link, read_body
from kit.idempotency import once
from kit.secrets import SecretBox
from marketplace.services import flows, login, upload
from marketplace.services.flows import NoInterface
from marketplace.services.handling import Handling
from marketplace.services.login import Login, PasswordKind
from marketplace.services.model import (
    Action,
    BadService,
    Endpoint,
    Environment,
    Operation,
    Protocol,
    Service,
    Status,
)
from marketplace.services.ports import Catalogue, Memory, Reader

Calling = Annotated[Caller, Depends(caller_of)]


class OperationShape(BaseModel):
    """One thing to call."""

    model_config = ConfigDict(extra="forbid")
    name: str
    method: str
    path: str


class ServiceEndpoint(BaseModel):
    """A further address. Those of `sandbox` take the calls of sandbox clients, and no others."""

    model_config = ConfigDict(extra="forbid")
    url: str
    environment: Environment = Environment.LIVE


class EndpointsAsked(BaseModel):
    """Where a service is answered from now on. Null: nowhere yet."""

    model_config = ConfigDict(extra="forbid")
    endpoint: str | None = None
    more_endpoints: list[ServiceEndpoint] = Field(default_factory=list)


class HandlingShape(BaseModel):
    """How calls are carried. What is left out is as usual: contracts enforced, 30 seconds, no maps.

    `timeouts_s` and `maps` go by the names of operations. `health_path`: below each endpoint, as
    `/health`, where `GET` answers 2xx while it is well; null: it is not asked.
    """

    model_config = ConfigDict(extra="forbid")
    mode: Literal["off", "shadow", "enforce"] = "enforce"
    timeout_s: float = 30.0
    timeouts_s: dict[str, float] = Field(default_factory=dict)
    maps: dict[str, dict[str, str | None]] = Field(default_factory=dict)
    health_path: str | None = None


class LoginAsked(BaseModel):
    """A WS-Security UsernameToken that the provider's own SOAP server wants to see."""

    model_config = ConfigDict(extra="forbid")
    username: str
    password: str
    kind: PasswordKind = PasswordKind.DIGEST


class ServiceAsked(BaseModel):
    """A service of the calling party. `endpoint` is where the gateway forwards its calls; it may
    follow until the service is published. A topic has none.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    major: int = 1
    category: str
    description: str
    protocol: Literal["rest", "soap", "topic"] = "rest"
    endpoint: str | None = None
    more_endpoints: list[ServiceEndpoint] = Field(default_factory=list)
    handling: dict[str, Any] = Field(default_factory=dict)
    documentation: str = ""
    operations: list[OperationShape] = Field(default_factory=list)

    def of(self, caller: Caller, now: datetime) -> Service:
        return Service(
            name=self.name,
            major=self.major,
            provider=caller.party,
            status=Status.DRAFT,
            category=self.category,
            description=self.description,
            endpoint=self.endpoint,
            protocol=Protocol(self.protocol),
            documentation=self.documentation,
            operations=tuple(Operation(one.name, one.method, one.path) for one in self.operations),
            registered_at=now,
            more_endpoints=_endpoints(self.more_endpoints),
            handling=Handling.parse(self.handling),
        )


class ServiceShown(BaseModel):
    """A service in the catalogue. Where and how it is answered is between its provider and the hub:
    `endpoint`, `more_endpoints`, `handling`, `login` (whether there is one) and `held` (whether the
    hub has suspended it, and alone publishes it again) are null for others.

    `interface`: where its document is. `sandbox`: whether calls may be tried.
    """

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
    interface: str | None
    sandbox: bool
    endpoint: str | None = None
    more_endpoints: list[ServiceEndpoint] | None = None
    handling: dict[str, Any] | None = None
    login: bool | None = None
    held: bool | None = None

    @classmethod
    def of(cls, service: Service, *, whole: bool) -> ServiceShown:
        """`whole`: as its provider, or the hub, sees it."""
        version = "" if service.major == 1 else f"/v{service.major}"
        document = f"{PREFIX}/{service.name}/v{service.major}/interface"
        found = cls(
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
            path=f"/services/{service.name}{version}" if service.callable else None,
            interface=document if service.interface_digest is not None else None,
            sandbox=any(one.environment is Environment.SANDBOX for one in service.more_endpoints),
        )
        if whole:
            found.endpoint = service.endpoint
            found.more_endpoints = [
                ServiceEndpoint(url=one.url, environment=one.environment)
                for one in service.more_endpoints
            ]
            found.handling = {
                "mode": service.handling.mode.value,
                "timeout_s": service.handling.timeout_s,
                **service.handling.to_json(),
            }
            found.login = service.login is not None
            found.held = service.held
        return found


class FileShown(BaseModel):
    path: str
    bytes: int


class InterfaceShown(BaseModel):
    """A service's document. Each file is found below it, by its path."""

    kind: str
    root: str
    digest: str
    files: list[FileShown]


PREFIX = "/marketplace/services"
ONE = "/{name}/v{major}"
_DOCUMENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            name: {"schema": {"type": "object"} if "json" in name else {"type": "string"}}
            for name in upload.TYPES
        },
    }
}
# Told in the document only: `Handling.parse` reads it, and names what is wrong by its path.
_HANDLING: dict[str, Any] = {
    "requestBody": {
        "content": {"application/json": {"schema": HandlingShape.model_json_schema()}},
    }
}
_MEDIA_TYPES = {
    "json": "application/json",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "wsdl": "text/xml",
    "xsd": "text/xml",
    "xml": "text/xml",
}
# A partner's file, shown from the hub's own address: no browser is to run anything in it.
_INERT = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}


def router(
    catalogue: Catalogue,
    database: Database,
    clock: Clock,
    memory: Memory,
    *,
    reader: Reader,
    box: SecretBox,
    allow_loopback: bool,
) -> APIRouter:
    """`allow_loopback`: the hub may be sent to addresses of this very machine."""
    routes = APIRouter(prefix=PREFIX, tags=["services"])

    async def change(
        request: Request,
        caller: Caller,
        run: Callable[[], Awaitable[Service]],
        *,
        status: int = 200,
        body: bytes | None = None,
    ) -> Response:
        """One write, once; the service after it."""

        async def answer() -> Response:
            return json_response(_shown(await run(), caller).model_dump(mode="json"), status)

        return await once(
            request, answer, database=database, party=caller.party, clock=clock, body=body
        )

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
        return [_shown(service, caller) for service in found[:limit]]

    @routes.get(ONE, summary="One version of a service")
    async def show_service(name: str, major: int, caller: Calling) -> ServiceShown:
        return _shown(await flows.find(catalogue, caller.party, name, major), caller)

    @routes.post(
        "",
        summary="Register a service of the caller, as a draft",
        status_code=201,
        response_model=ServiceShown,
    )
    async def register_service(request: Request, asked: ServiceAsked, caller: Calling) -> Response:
        async def run() -> Service:
            now = clock()
            return await flows.register(
                catalogue,
                asked.of(caller, now),
                memory=memory,
                allow_loopback=allow_loopback,
                now=now,
            )

        return await change(request, caller, run, status=201)

    @routes.post(
        f"{ONE}/{{action}}",
        summary="Publish, suspend or retire the caller's service",
        response_model=ServiceShown,
    )
    async def change_service(
        request: Request, name: str, major: int, action: Action, caller: Calling
    ) -> Response:
        async def run() -> Service:
            return await flows.change(
                catalogue, caller.party, name, major, action, memory=memory, now=clock()
            )

        return await change(request, caller, run)

    @routes.put(
        f"{ONE}/endpoints",
        summary="Say where the caller's service is answered from now on",
        response_model=ServiceShown,
    )
    async def set_service_endpoints(
        request: Request, name: str, major: int, asked: EndpointsAsked, caller: Calling
    ) -> Response:
        async def run() -> Service:
            return await flows.set_endpoints(
                catalogue,
                caller.party,
                name,
                major,
                asked.endpoint,
                _endpoints(asked.more_endpoints),
                memory=memory,
                allow_loopback=allow_loopback,
                now=clock(),
            )

        return await change(request, caller, run)

    @routes.put(
        f"{ONE}/handling",
        summary="Say how calls of the caller's service are carried from now on",
        response_model=ServiceShown,
        openapi_extra=_HANDLING,
    )
    async def set_service_handling(
        request: Request, name: str, major: int, asked: dict[str, Any], caller: Calling
    ) -> Response:
        async def run() -> Service:
            return await flows.set_handling(
                catalogue,
                caller.party,
                name,
                major,
                Handling.parse(asked),
                memory=memory,
                now=clock(),
            )

        return await change(request, caller, run)

    @routes.put(
        f"{ONE}/login",
        summary="Say by what login the caller's SOAP server knows the hub",
        response_model=ServiceShown,
    )
    async def set_service_login(
        request: Request, name: str, major: int, asked: LoginAsked, caller: Calling
    ) -> Response:
        async def run() -> Service:
            told = login.checked(Login(asked.username, asked.password, asked.kind))
            sealed = login.seal(box, told, name, major)
            return await flows.set_login(
                catalogue, caller.party, name, major, sealed, memory=memory, now=clock()
            )

        return await change(request, caller, run)

    @routes.delete(
        f"{ONE}/login",
        summary="Call the caller's SOAP server without a login",
        response_model=ServiceShown,
    )
    async def remove_service_login(
        request: Request, name: str, major: int, caller: Calling
    ) -> Response:
        async def run() -> Service:
            return await flows.set_login(
                catalogue, caller.party, name, major, None, memory=memory, now=clock()
            )

        return await change(request, caller, run)

    @routes.put(
        f"{ONE}/interface",
        summary="Describe the caller's service by an OpenAPI document or a WSDL",
        response_model=ServiceShown,
        openapi_extra=_DOCUMENT,
    )
    async def set_service_interface(
        request: Request,
        name: str,
        major: int,
        caller: Calling,
        root: Annotated[str | None, Query(max_length=200)] = None,
    ) -> Response:
        content = await read_body(request, upload.MOST_UPLOADED)
        media_type = request.headers.get("content-type", "")

        async def run() -> Service:
            document = await asyncio.to_thread(upload.document_of, content, media_type, root)
            return await flows.set_interface(
                catalogue,
                caller.party,
                name,
                major,
                document,
                reader=reader,
                memory=memory,
                now=clock(),
            )

        return await change(request, caller, run, body=content)

    @routes.get(
        f"{ONE}/interface",
        summary="What the document of a service consists of",
        response_model=InterfaceShown,
    )
    async def show_service_interface(
        request: Request, name: str, major: int, caller: Calling
    ) -> Response:
        document = await flows.interface(catalogue, caller.party, name, major)
        told = upload.shown(document)
        return _unless_known(request, told["digest"]) or json_response(
            told, headers=_etag(told["digest"])
        )

    @routes.get(
        f"{ONE}/interface/{{path:path}}",
        summary="One file of the document of a service",
        response_class=Response,
    )
    async def show_interface_file(
        request: Request, name: str, major: int, path: str, caller: Calling
    ) -> Response:
        document = await flows.interface(catalogue, caller.party, name, major)
        content = document.files.get(path)
        if content is None:
            raise NoInterface("the document has no such file", field="path", value=path[:200])
        digest = document.digest.hex()
        ending = path.rpartition(".")[2].lower()
        return _unless_known(request, digest) or Response(
            content,
            media_type=_MEDIA_TYPES.get(ending, "application/octet-stream"),
            headers=_etag(digest) | _INERT,
        )

    return routes


def _shown(service: Service, caller: Caller) -> ServiceShown:
    return ServiceShown.of(service, whole=caller.party == service.provider)


def _endpoints(asked: list[ServiceEndpoint]) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(one.url, one.environment) for one in asked)


def _etag(digest: str) -> dict[str, str]:
    return {"ETag": f'"{digest}"'}


def _unless_known(request: Request, digest: str) -> Response | None:
    """304 where the caller has this very document already (RFC 9110, section 13.1.2)."""
    known = request.headers.get("if-none-match", "")
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    if "*" in tags or f'"{digest}"' in tags:
        return Response(status_code=304, headers=_etag(digest))
    return None


def _after(cursor: str | None) -> tuple[str, int] | None:
    if cursor is None:
        return None
    name, _, major = cursor.partition(":")
    if not (name.isascii() and name.isprintable() and major.isdecimal() and len(major) <= 4):
        raise BadService("no cursor of ours", field="cursor", value=cursor[:100], rule="as given")
    return name, int(major)
