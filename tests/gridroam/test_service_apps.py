"""What a contract may allow of a service is what its document tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gridroam.core import core
from gridroam.home import Home
from gridroam.service_apps import ServiceApp
from gridroam.settings import Settings
from gridroam.wiring import _Hub
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
        services = _Hub(settings, parts, stack, asyncio.Event()).services()
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
