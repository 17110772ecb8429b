"""The day's page, its state and its stream. No log-in, so for this machine's own browser only."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from console.feed import Feed
from console.ports import Clearings, Directory, Map
from kit import problem
from kit.encoding import encode_json
from kit.http import json_response

STATIC = Path(__file__).parent / "static"
MOST_PLACES = 20_000
# Nothing is fetched from anywhere else, and nobody frames the page.
SECURITY_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


def app(feed: Feed, places: Map, directory: Directory, clearings: Clearings) -> ASGIApp:
    """The console, mounted under /console."""

    async def page(_: Request) -> Response:
        return FileResponse(STATIC / "day.html")

    async def home(request: Request) -> Response:
        return RedirectResponse(request.url.path + "/")

    async def show_places(_: Request) -> Response:
        found = await places.places(MOST_PLACES)
        zones = Counter(one.time_zone for one in found if one.time_zone)
        return json_response(
            {
                # The day's clock is the one that hangs at most of its charge points.
                "time_zone": zones.most_common(1)[0][0] if zones else "UTC",
                "places": [
                    [one.evse_id, one.operator, one.latitude, one.longitude] for one in found
                ],
            }
        )

    async def show_names(_: Request) -> Response:
        return json_response(await directory.names())

    async def show_state(_: Request) -> Response:
        return json_response(feed.day.state())

    async def show_payments(request: Request) -> Response:
        paid = await clearings.payments(request.path_params["run_id"])
        return json_response(
            [
                {
                    "payer": one.payer,
                    "payee": one.payee,
                    "currency": one.currency,
                    "amount_minor": one.amount_minor,
                }
                for one in paid
            ]
        )

    async def stream(_: Request) -> Response:
        async def lines() -> AsyncIterator[bytes]:
            async for batch in feed.changes():
                yield b"data: " + encode_json(batch) + b"\n\n"

        return StreamingResponse(
            lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    made = Starlette(
        routes=[
            Route("/console", home),
            Route("/console/", page),
            Route("/console/places", show_places),
            Route("/console/names", show_names),
            Route("/console/state", show_state),
            Route("/console/runs/{run_id}/payments", show_payments),
            Route("/console/events", stream),
            Mount("/console/static", StaticFiles(directory=STATIC)),
        ]
    )
    problem.install(made)
    return _for_this_machine(made)


def _for_this_machine(inner: ASGIApp) -> ASGIApp:
    """Refuse other machines, and names that another site could point here (DNS rebinding)."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if not (_is_loopback((scope.get("client") or ("", 0))[0]) and _names_loopback(host)):
            refused = problem.problem_response(
                403,
                "ConsoleIsLocal",
                "The console has no log-in yet, and is shown on the hub's own machine only.",
                rule="open http://127.0.0.1:<port>/console there, or through an SSH tunnel",
            )
            await refused(scope, receive, send)
            return

        async def send_with_headers(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                found = message.get("headers")
                assert isinstance(found, list)
                message["headers"] = [*found, *SECURITY_HEADERS]
            await send(message)

        await inner(scope, receive, send_with_headers)  # type: ignore[arg-type]

    return guarded


def _names_loopback(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return name == "localhost" or _is_loopback(name.strip("[]"))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
