"""The day's page, its state and its stream; the services' page.

No log-in, so for this machine's own browser only.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.feed import Feed, Page
from console.ports import Clearings, Directory, Map, Services, ServiceSeen
from kit import problem
from kit.http import json_response

STATIC = Path(__file__).parent / "static"
MOST_PLACES = 20_000
MOST_SERVICES = 200
# Nothing is fetched from anywhere else, and nobody frames the page.
SECURITY_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # A page and a script of two releases do not understand each other.
    (b"cache-control", b"no-cache"),
]
# Between two words on a quiet stream: keeps the connection, and finds a browser that vanished.
QUIET_S = 15.0
# A browser that takes nothing for so long is cut off; it gets the state when it is back.
STUCK_S = 30.0
FAREWELL_S = 1.0


def app(
    feed: Feed, places: Map, directory: Directory, clearings: Clearings, services: Services
) -> ASGIApp:
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

    async def services_page(_: Request) -> Response:
        return FileResponse(STATIC / "services.html")

    async def show_services(_: Request) -> Response:
        return json_response([_service(one) for one in await services.services(MOST_SERVICES)])

    made = Starlette(
        routes=[
            Route("/console", home),
            Route("/console/", page),
            Route("/console/places", show_places),
            Route("/console/names", show_names),
            Route("/console/state", show_state),
            Route("/console/runs/{run_id}/payments", show_payments),
            Route("/console/services", services_page),
            Route("/console/services/state", show_services),
            Route("/console/events", _Stream(feed), methods=["GET"]),
            Mount("/console/static", StaticFiles(directory=STATIC)),
        ]
    )
    problem.install(made)
    return _for_this_machine(made)


def _service(one: ServiceSeen) -> dict[str, object]:
    return {
        "name": one.name,
        "major": one.major,
        "provider": one.provider,
        "calls_a_minute": round(one.calls / one.minutes, 1),
        "calls": one.calls,
        "failed": one.failed,
        "theirs": one.theirs,
        "p95_ms": one.p95_ms,
        "endpoints": [
            {
                "place": end.place,
                "state": end.state,
                "processes": end.processes,
                "resting_in": end.resting_in,
                "last_failure": end.last_failure,
                "failed_at": None if end.failed_at is None else end.failed_at.isoformat(),
            }
            for end in one.endpoints
        ],
    }


class _Stream:
    """Server-sent events to one browser, until it leaves, takes nothing more, or the hub ends."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._feed.page() as page:
            telling = asyncio.create_task(_tell(page, send))
            watching = [
                asyncio.create_task(_left(receive)),
                asyncio.create_task(page.cut.wait()),
            ]
            try:
                await asyncio.wait([telling, *watching], return_when=asyncio.FIRST_COMPLETED)
                if page.cut.is_set():
                    await asyncio.wait([telling], timeout=FAREWELL_S)
            finally:
                for task in (telling, *watching):
                    task.cancel()
                ends = await asyncio.gather(telling, *watching, return_exceptions=True)
        for end in ends:
            # A connection that broke or stood still is the browser's affair; the rest is a fault.
            if isinstance(end, Exception) and not isinstance(end, OSError):
                raise end


async def _tell(page: Page, send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    # The browser waits so long before it comes back.
    line = b"retry: 1000\n\n"
    while True:
        async with asyncio.timeout(STUCK_S):
            await send({"type": "http.response.body", "body": line, "more_body": True})
        try:
            async with asyncio.timeout(QUIET_S):
                batch = await page.next()
        except TimeoutError:
            line = b": still here\n\n"
            continue
        if batch is None:
            break
        line = b"data: " + batch + b"\n\n"
    await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def _for_this_machine(inner: ASGIApp) -> ASGIApp:
    """Refuse other machines, and names that another site could point here (DNS rebinding)."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = list(message.get("headers", ()))
                said = {name for name, _ in found}
                more = [one for one in SECURITY_HEADERS if one[0] not in said]
                message = {**message, "headers": found + more}
            await send(message)

        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if not (_is_loopback((scope.get("client") or ("", 0))[0]) and _names_loopback(host)):
            refused = problem.problem_response(
                403,
                "ConsoleIsLocal",
                "The console has no log-in yet, and is shown on the hub's own machine only.",
                rule="open http://127.0.0.1:<port>/console there, or through an SSH tunnel",
            )
            await refused(scope, receive, with_headers)
            return
        await inner(scope, receive, with_headers)

    return guarded


def _names_loopback(host: str) -> bool:
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    return name.lower() == "localhost" or _is_loopback(name.strip("[]"))


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    # A socket for both versions shows IPv4's 127.0.0.1 as ::ffff:127.0.0.1.
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback
