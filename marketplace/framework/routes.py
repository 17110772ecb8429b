"""The contract framework over HTTP: modules read and published, contracts on paper."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from documents.printed import printer
from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_of, json_response, page_link
from kit.idempotency import once
from marketplace.framework import flows
from marketplace.framework.model import MOST_PLACE, Kind, Module, Need
from marketplace.framework.paper import print_contract
from marketplace.framework.ports import Agreements, Paper, Shelves
from roaming.party import PartyId

Calling = Annotated[Caller, Depends(caller_of)]
PDF = "application/pdf"


class ModuleAsked(BaseModel):
    """A module's next version.

    `schema`: a JSON Schema (2020-12) of its parameters: an object without further members.
    `template`: of its text, in Jinja2, with `if`, `for`, and the filters `count`, `money`, `day`,
    `listed`, `default`, `join`, `length`, `lower`. `kinds`: `required` or `optional` by kind of
    service. `standard`: the parameters where it is not mentioned; null: it has to be. `from_terms`:
    its parameters are what the terms say by these names. `place`: where it stands in a contract.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    title: str
    purpose: str
    place: int = MOST_PLACE
    parameters_schema: dict[str, Any] = Field(alias="schema")
    template: str
    kinds: dict[Kind, Need]
    standard: dict[str, Any] | None = None
    from_terms: bool = False


class ModuleHead(BaseModel):
    """What a module is for, and for which kinds of service it is required or optional."""

    name: str
    version: int
    title: str
    purpose: str
    place: int
    kinds: dict[Kind, Need]
    standard: dict[str, Any] | None
    from_terms: bool
    sha256: str

    @classmethod
    def of(cls, module: Module) -> ModuleHead:
        return cls(version=module.version, sha256=module.digest.hex(), **_told(module))


class ModuleShown(ModuleHead):
    """A module, whole. `versions`: all that there are."""

    parameters_schema: dict[str, Any] = Field(alias="schema")
    template: str
    versions: list[int]

    @classmethod
    def whole(cls, module: Module, versions: Sequence[Module]) -> ModuleShown:
        return cls(
            version=module.version,
            sha256=module.digest.hex(),
            versions=[one.version for one in versions],
            **module.to_json(),
        )


class DocumentShown(BaseModel):
    """`contract_id`, `agreed_at`, `offering_id`, `negotiation_id` and `replaces` where there is
    such a thing."""

    model_config = ConfigDict(extra="allow")
    format: str
    parties: dict[str, dict[str, str]]
    service: dict[str, Any]
    validity: dict[str, str | None]
    terms: dict[str, Any]
    clauses: list[dict[str, Any]]


def router(
    shelves: Shelves, agreements: Agreements, database: Database, clock: Clock, *, hub: PartyId
) -> APIRouter:
    routes = APIRouter(prefix="/marketplace", tags=["contract framework"])

    @routes.get("/framework/modules", summary="The modules that contracts are put together from")
    async def list_modules(
        request: Request,
        response: Response,
        _: Calling,
        kind: Kind | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[str | None, Query(pattern="^[0-9]{1,6}$")] = None,
    ) -> list[ModuleHead]:
        library = await flows.read(shelves)
        found = [one for one in library.current() if kind is None or kind in one.kinds]
        begins = int(cursor or 0)
        more = str(begins + limit) if len(found) > begins + limit else None
        response.headers.update(page_link(request, more))
        return [ModuleHead.of(one) for one in found[begins : begins + limit]]

    @routes.get("/framework/modules/{name}", summary="A module, in its current version")
    async def show_module(name: str, _: Calling) -> ModuleShown:
        versions = (await flows.read(shelves)).versions(name)
        return ModuleShown.whole(versions[-1], versions)

    @routes.get("/framework/modules/{name}/{version}", summary="A version of a module")
    async def show_version(
        name: str, version: Annotated[int, InPath(ge=1, le=1_000_000)], _: Calling
    ) -> ModuleShown:
        library = await flows.read(shelves)
        return ModuleShown.whole(library.find(name, version), library.versions(name))

    @routes.post(
        "/framework/modules",
        summary="Publish a module's next version; by the hub's operator",
        status_code=201,
        response_model=ModuleShown,
    )
    async def publish_module(request: Request, asked: ModuleAsked, caller: Calling) -> Response:
        async def run() -> Response:
            module = Module.parse(asked.model_dump(mode="json", by_alias=True))
            kept = await flows.publish(shelves, caller.party, hub, module, clock())
            versions = (await flows.read(shelves)).versions(kept.name)
            shown = ModuleShown.whole(kept, versions)
            return json_response(shown.model_dump(mode="json", by_alias=True), 201)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.get(
        "/contracts/{contract_id}/document",
        summary="One of the caller's contracts as a document: canonical JSON, or PDF by `Accept`",
        response_model=DocumentShown,
        responses={200: {"content": {PDF: {}}}},
    )
    async def show_document(request: Request, contract_id: str, caller: Calling) -> Response:
        kept = await flows.paper(shelves, agreements, caller.party, contract_id, clock())
        if PDF in request.headers.get("accept", ""):
            return await _printed(kept, contract_id)
        tag = {"ETag": f'"{hashlib.sha256(kept.body).hexdigest()}"', "Vary": "Accept"}
        return Response(kept.body, media_type="application/json", headers=tag)

    @routes.get(
        "/contracts/{contract_id}/document.pdf",
        summary="One of the caller's contracts on paper (PDF/A-3), its JSON in it",
        response_class=Response,
        responses={200: {"content": {PDF: {}}}},
    )
    async def show_paper(contract_id: str, caller: Calling) -> Response:
        kept = await flows.paper(shelves, agreements, caller.party, contract_id, clock())
        return await _printed(kept, contract_id)

    return routes


async def _printed(paper: Paper, contract_id: str) -> Response:
    # In a thread: a page takes as long as a hundred calls.
    made = await asyncio.to_thread(print_contract, paper, printer())
    name = f'inline; filename="contract-{contract_id}.pdf"'
    return Response(made, media_type=PDF, headers={"Content-Disposition": name, "Vary": "Accept"})


def _told(module: Module) -> dict[str, Any]:
    """What a module says of itself, without its inside."""
    told = module.to_json()
    return {name: told[name] for name in told if name not in ("schema", "template")}
