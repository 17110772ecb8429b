"""The catalogue over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_of, json_response, page_link, read_body
from kit.idempotency import once
from kit.secrets import SecretBox
from marketplace.services import flows, login, upload
from marketplace.services.flows import NoInterface
from marketplace.services.handling import Handling
from marketplace.services.lifecycle import Action
from marketplace.services.login import Login
from marketplace.services.model import BadService, Category, Protocol, Service, Status, category_of
from marketplace.services.ports import Catalogue, Memory, Pulse, Reader, Search
from marketplace.services.shapes import (
    PREFIX,
    ChangeAsked,
    EndpointsAsked,
    HandlingShape,
    InterfaceShown,
    LoginAsked,
    ServiceAsked,
    ServiceShown,
    VersionShown,
    VersionsShown,
    endpoints_of,
)
from roaming.party import PartyId

Calling = Annotated[Caller, Depends(caller_of)]


ONE = "/{name}/v{major}"
MOST_WORDS = 20
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
    pulse: Pulse,
    hub: PartyId,
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
        category: Annotated[str | None, Query(json_schema_extra={"enum": list(Category)})] = None,
        status: Status | None = None,
        tag: Annotated[str | None, Query(pattern="^[a-z0-9-]{1,50}$")] = None,
        provider: str | None = None,
        protocol: Protocol | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: str | None = None,
    ) -> list[ServiceShown]:
        words = tuple(q.replace("\x00", " ").split()[:MOST_WORDS])
        if words and not any(letter.isalnum() for word in words for letter in word):
            raise BadService(
                "there is no word to look for", field="q", value=q, rule="a letter or a digit"
            )
        search = Search(
            words=words,
            category=None if category is None else category_of(category),
            status=status,
            tag=tag,
            provider=None if provider is None else PartyId(provider),
            protocol=protocol,
        )
        found = await flows.search(catalogue, caller.party, search, _after(cursor), limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        more = None if last is None else f"{last.name}:{last.major}"
        response.headers.update(page_link(request, more))
        return [_shown(service, caller) for service in found[:limit]]

    @routes.get("/{name}", summary="A service in all its versions, with all that is known of each")
    async def show_versions(name: str, caller: Calling) -> VersionsShown:
        viewer = None if caller.party == hub else caller.party
        found = await flows.versions(catalogue, viewer, name)
        successors = {one.replaces: one for one in await flows.successors(catalogue, viewer, found)}
        shown = []
        for service in found:
            whole = caller.party in (service.provider, hub)
            shown.append(
                VersionShown.with_links(
                    service,
                    successors.get(service.key),
                    whole=whole,
                    endpoints=await pulse.of(service) if whole else None,
                )
            )
        return VersionsShown(name=name, provider=found[0].provider, versions=shown)

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
        summary="Bring the caller's service into test, publish, suspend, deprecate or retire it",
        response_model=ServiceShown,
    )
    async def change_service(
        request: Request,
        name: str,
        major: int,
        action: Action,
        caller: Calling,
        asked: ChangeAsked | None = None,
    ) -> Response:
        async def run() -> Service:
            wish = None if asked is None else asked.wish
            return await flows.change(
                catalogue, caller.party, name, major, action, memory=memory, now=clock(), wish=wish
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
                endpoints_of(asked.more_endpoints),
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
