"""What a contract may allow of a service is what its document tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from fastapi import APIRouter, FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.requests import Request
from starlette.responses import Response

from gridroam import openapi
from gridroam.assembly import Assembly
from gridroam.core import core
from gridroam.home import Home
from gridroam.service_apps import ServiceApp, operation_name, tie_in
from gridroam.settings import Settings
from gridroam.wiring import services_of
from kit.clock import utc_now
from kit.database import Database
from kit.http import HotRoute
from tests.hub import URL


async def never(_: Request) -> Response:
    raise AssertionError("named, never called")


def told(service: ServiceApp) -> Sequence[tuple[str, str, str]]:
    """The operations as the framework's own OpenAPI document has them."""
    return [
        (method.upper(), path, operation["operationId"])
        for path, item in service.described.openapi()["paths"].items()
        for method, operation in item.items()
    ]


async def test_each_service_of_the_hub_names_the_operations_that_its_document_tells(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, public_url=URL)
    parts = core(
        database, Home(tmp_path, database_url).secret, hub=settings.hub_party, clock=utc_now
    )
    async with AsyncExitStack() as stack:
        services = services_of(Assembly(settings, parts, stack, asyncio.Event()))
        assert sorted(services) == ["clearing-house", "contract-validation", "search-evse"]
        for name, service in services.items():
            hot = [(route.method, route.path, route.operation) for route in service.hot]
            assert sorted(service.operations) == sorted([*hot, *told(service)]), name


def test_a_path_without_its_parameters_kinds_and_each_method_is_an_operation() -> None:
    router = APIRouter(prefix="/things")
    router.add_api_route("/{name:path}", never, methods=["GET", "PUT"], name="one_thing")
    router.add_api_route("/{name}", never, methods=["DELETE"], operation_id="end-thing")
    hot = HotRoute("POST", "/things", never, "new-thing", "New")
    assert ServiceApp([hot], [router]).operations == [
        ("POST", "/things", "new-thing"),
        ("GET", "/things/{name}", "one-thing"),
        ("PUT", "/things/{name}", "one-thing"),
        ("DELETE", "/things/{name}", "end-thing"),
    ]


def things() -> APIRouter:
    router = APIRouter(prefix="/things", tags=["things"])

    @router.get("", summary="All of them")
    async def list_things() -> list[str]:
        return ["one"]

    @router.get("/{name}", operation_id="see-thing")
    async def thing(name: str) -> dict[str, str]:
        return {"name": name}

    return router


def test_routers_are_told_of_as_if_the_framework_had_included_them() -> None:
    tied, included = (FastAPI(generate_unique_id_function=operation_name) for _ in range(2))
    tie_in(tied, things())
    included.include_router(things())
    assert openapi.document(URL, tied, {}, {}) == openapi.document(URL, included, {}, {})


async def test_what_answers_is_the_route_that_was_made_at_the_start() -> None:
    app, router = FastAPI(openapi_url=None), things()
    tie_in(app, router)
    assert app.routes == router.routes
    async with AsyncClient(transport=ASGITransport(app), base_url=URL) as http:
        assert (await http.get("/things")).json() == ["one"]
        assert (await http.get("/things/two")).json() == {"name": "two"}
        assert (await http.post("/things")).status_code == 405
