"""The front of the hub: which root goes where, and the questions that machines ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple
from uuid import uuid4

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gridroam import docs_page, openapi
from gridroam.service_apps import ServiceApp
from kit import problem
from kit.database import Database
from kit.http import json_response
from kit.metrics import exposition

READY_WITHIN_S = 2.0


class Document(NamedTuple):
    """A page that tells how to call us or be called, and so is no secret."""

    operation: str
    summary: str
    media_type: str
    content: bytes


def doors(
    *,
    url: str,
    main: ASGIApp,
    described: FastAPI,
    services: Mapping[str, ServiceApp],
    gateway: ASGIApp | None,
    console: ASGIApp | None,
    central_system: ASGIApp | None,
    registry: CollectorRegistry,
    database: Database,
    contracts_age_s: Callable[[], float],
    oldest_contracts_s: float,
    parts: Collection[str],
    documents: Mapping[str, Document] | None = None,
) -> ASGIApp:
    """One application for all roots of INTERFACES. What is not among `parts` is a 404.

    `documents` are there for everybody, by their paths.
    """
    told = dict(_UNDESCRIBED)
    for path, one in (documents or {}).items():
        told[path] = _plain(one.operation, one.summary, one.media_type)
    if gateway is not None:
        told |= _IN_OTHER_WORDS
    if central_system is not None:
        told |= _CHARGE_POINTS

    def documented() -> dict[str, Any]:
        return openapi.document(url, described, services, told)

    operation = _operation(
        documented, registry, database, lambda: contracts_age_s() > oldest_contracts_s
    )
    roots: list[tuple[str, ASGIApp | None]] = [
        *((path, _app_of(path, one)) for path, one in (documents or {}).items()),
        ("/services/", gateway),
        ("/ocpp/", central_system),
        ("/console", console),
        ("/health/", operation),
        ("/metrics", operation),
        ("/openapi.json", operation),
        ("/docs", operation),
    ]
    if "marketplace" not in parts:
        roots.append(("/marketplace/", None))
    if central_system is None:
        roots.append(("/central-system/", None))
    served = [(root, _absent if app is None else app) for root, app in roots]

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        for root, app in served:
            if path.startswith(root):
                await app(scope, receive, send)
                return
        await main(scope, receive, send)

    return front


def _app_of(path: str, document: Document) -> ASGIApp:
    async def show(_: Request) -> Response:
        return Response(document.content, media_type=document.media_type)

    app = Starlette(routes=[Route(path, show)])
    problem.install(app)
    return app


async def _absent(scope: Scope, receive: Receive, send: Send) -> None:
    response = problem.problem_response(
        404,
        "NotHere",
        "This process does not run the part of the hub that answers here.",
        request_id=uuid4().hex,
        rule="gridroam serve --only",
    )
    await response(scope, receive, send)


def _operation(
    documented: Callable[[], dict[str, Any]],
    registry: CollectorRegistry,
    database: Database,
    stale: Callable[[], bool],
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
        if stale():
            return _not_ready("the table of contracts is too old to be trusted")
        return json_response({"status": "ready"})

    async def metrics(_: Request) -> Response:
        text, media_type = exposition(registry)
        return Response(text, media_type=media_type)

    def told() -> dict[str, Any]:
        if not whole:
            whole.update(documented())
        return whole

    async def document(_: Request) -> Response:
        return json_response(told())

    async def docs(_: Request) -> Response:
        return HTMLResponse(docs_page.page(told()), headers=docs_page.HEADERS)

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


def _plain(operation: str, summary: str, media_type: str) -> dict[str, Any]:
    content = {media_type: {"schema": {"type": "object" if "json" in media_type else "string"}}}
    return {
        "get": {
            "operationId": operation,
            "summary": summary,
            "tags": ["operation"],
            "security": [],
            "responses": {"200": {"description": "OK", "content": content}},
        }
    }


_UNDESCRIBED = {
    "/health/live": _plain("live", "Whether the process runs", "application/json"),
    "/health/ready": _plain(
        "ready", "Whether it can answer: database and contracts are there", "application/json"
    ),
    "/metrics": _plain("metrics", "Figures for Prometheus", "text/plain"),
    "/openapi.json": _plain("openapi", "This document", "application/json"),
    "/docs": _plain("docs", "This document for people", "text/html"),
}
_SERVICE = {
    "name": "service",
    "in": "path",
    "required": True,
    "description": "with an interface document, or one of the hub's own; `{service}/v2` for a major"
    " version other than 1",
    "schema": {"type": "string"},
}
_ENVELOPE = {
    "text/xml": {"schema": {"type": "string", "description": "SOAP 1.1"}},
    "application/soap+xml": {"schema": {"type": "string", "description": "SOAP 1.2"}},
}
# Tools that fetch a description know nothing of tokens.
_TOLD_TO_TOOLS: list[dict[str, list[str]]] = [{"oauth2": []}, {"basic": []}]
_IN_OTHER_WORDS: dict[str, dict[str, Any]] = {
    "/services/{service}/soap": {
        "post": {
            "operationId": "call-by-soap",
            "summary": "Call a service in SOAP 1.1 or 1.2, whatever its provider speaks",
            "description": "With an access token; or without the header, by a WS-Security"
            " UsernameToken of client id and secret. A fault's detail holds the problem document's"
            " members. See docs/soap.md.",
            "tags": ["services"],
            "parameters": [_SERVICE],
            "requestBody": {"required": True, "content": _ENVELOPE},
            "responses": {
                "200": {"description": "The answer's envelope", "content": _ENVELOPE},
                "default": {
                    "description": "A fault: 500 in SOAP 1.1, 400 or 500 in SOAP 1.2",
                    "content": _ENVELOPE,
                },
            },
        },
        "get": {
            "operationId": "show-wsdl",
            "summary": "The WSDL of a service: its provider's, or made from its OpenAPI document",
            "description": "Without a contract. The WSDLs of the hub's own services are public.",
            "tags": ["services"],
            "security": _TOLD_TO_TOOLS,
            "parameters": [
                _SERVICE,
                {
                    "name": "wsdl",
                    "in": "query",
                    "required": True,
                    "allowEmptyValue": True,
                    "description": "empty, or the name of a file that the WSDL imports",
                    "schema": {"type": "string"},
                },
            ],
            "responses": {
                "200": {
                    "description": "WSDL 1.1, or a file of it",
                    "content": {"text/xml": {"schema": {"type": "string"}}},
                }
            },
        },
    },
    "/services/{service}/openapi.json": {
        "get": {
            "operationId": "show-openapi",
            "summary": "The OpenAPI document of a service: its provider's, or made from its WSDL",
            "description": "Without a contract.",
            "tags": ["services"],
            "security": _TOLD_TO_TOOLS,
            "parameters": [
                _SERVICE,
                {
                    "name": "file",
                    "in": "query",
                    "description": "the name of a file that the document refers to",
                    "schema": {"type": "string"},
                },
            ],
            "responses": {
                "200": {
                    "description": "OpenAPI, or a file of it",
                    "content": {"application/json": {"schema": {"type": "object"}}},
                }
            },
        }
    },
}
_CHARGE_POINTS = {
    "/ocpp/{operator}/{charge_point}": {
        "get": {
            "operationId": "connect-charge-point",
            "summary": "A charge point's WebSocket: OCPP 1.6 JSON, subprotocol ocpp1.6",
            "description": "With HTTP Basic: the charge point's identity and the password that"
            " its operator enrolled it with.",
            "tags": ["central-system"],
            "security": [],
            "parameters": [
                {
                    "name": "operator",
                    "in": "path",
                    "required": True,
                    "description": "as FR-PD1 or FRPD1",
                    "schema": {"type": "string"},
                },
                {
                    "name": "charge_point",
                    "in": "path",
                    "required": True,
                    "description": "the identity that the charge point was enrolled by",
                    "schema": {"type": "string"},
                },
            ],
            "responses": {"101": {"description": "Switching to the WebSocket"}},
        }
    }
}
