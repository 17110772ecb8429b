"""The front of the hub: which root goes where, and the questions that machines ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gridroam import openapi
from gridroam.service_apps import ServiceApp
from kit import problem
from kit.database import Database
from kit.http import json_response
from kit.metrics import exposition

READY_WITHIN_S = 2.0
STALE_AFTER_S = 30.0


def doors(
    *,
    main: ASGIApp,
    described: FastAPI,
    services: Mapping[str, ServiceApp],
    gateway: ASGIApp | None,
    console: ASGIApp | None,
    central_system: ASGIApp | None,
    registry: CollectorRegistry,
    database: Database,
    contracts_age_s: Callable[[], float],
) -> ASGIApp:
    """One application for all roots of INTERFACES. A part that does not run here is a 404."""
    operation = _operation(described, services, registry, database, contracts_age_s)
    roots: list[tuple[str, ASGIApp | None]] = [
        ("/services/", gateway),
        ("/ocpp/", central_system),
        ("/console", console),
        ("/health/", operation),
        ("/metrics", operation),
        ("/openapi.json", operation),
        ("/docs", operation),
    ]
    served = [(root, app) for root, app in roots if app is not None]

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        for root, app in served:
            if path.startswith(root):
                await app(scope, receive, send)
                return
        await main(scope, receive, send)

    return front


def _operation(
    described: FastAPI,
    services: Mapping[str, ServiceApp],
    registry: CollectorRegistry,
    database: Database,
    contracts_age_s: Callable[[], float],
) -> ASGIApp:
    whole: dict[str, Any] = {}

    async def live(_: Request) -> Response:
        return json_response({"status": "live"})

    async def ready(_: Request) -> Response:
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await database.pool.fetchval("SELECT 1")
        except (TimeoutError, OSError) as error:
            return _not_ready(f"the database does not answer: {type(error).__name__}")
        if contracts_age_s() > STALE_AFTER_S:
            return _not_ready("the table of contracts is too old to be trusted")
        return json_response({"status": "ready"})

    async def metrics(_: Request) -> Response:
        text, media_type = exposition(registry)
        return Response(text, media_type=media_type)

    async def document(_: Request) -> Response:
        if not whole:
            whole.update(openapi.document(described, services, _UNDESCRIBED))
        return json_response(whole)

    async def docs(_: Request) -> Response:
        return get_swagger_ui_html(openapi_url="/openapi.json", title="Gridroam")

    app = Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", metrics),
            Route("/openapi.json", document),
            Route("/docs", docs),
        ]
    )
    problem.install(app)
    return app


def _not_ready(why: str) -> Response:
    return problem.problem_response(503, "NotReady", why)


def _plain(summary: str) -> dict[str, Any]:
    responses = {"200": {"description": "OK"}}
    return {"get": {"summary": summary, "security": [], "responses": responses}}


_UNDESCRIBED = {
    "/health/live": _plain("Whether the process runs"),
    "/health/ready": _plain("Whether it can answer: database and contracts are there"),
    "/metrics": _plain("Figures for Prometheus"),
}
