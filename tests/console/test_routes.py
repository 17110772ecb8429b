"""The page's door: for this machine only, and a stream that no browser can hold up."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from typing import Any

import httpx
import pytest
from httpx import ASGITransport
from starlette.types import ASGIApp, Message

from console import feed as feed_module
from console import routes
from console.feed import Feed
from console.ports import EndpointSeen, Paid, Place, ServiceSeen
from kit.database import Database
from tests.console import entries
from tests.console.serving import serving
from tests.hub import until

EVSE = "FRPD1E1"


@dataclass
class Wings:
    """What the wings would answer."""

    found: list[Place] = field(default_factory=list)
    paid: dict[str, list[Paid]] = field(default_factory=dict)
    seen: list[ServiceSeen] = field(default_factory=list)

    async def places(self, limit: int) -> Sequence[Place]:
        return self.found[:limit]

    async def names(self) -> dict[str, str]:
        return {"NL*ALF": "Alfa"}

    async def payments(self, run_id: str) -> Sequence[Paid]:
        return self.paid.get(run_id, [])

    async def services(self, limit: int) -> Sequence[ServiceSeen]:
        return self.seen[:limit]


@dataclass
class Console:
    app: ASGIApp
    feed: Feed
    wings: Wings
    url: str
    http: httpx.AsyncClient


@pytest.fixture
async def console(database: Database) -> AsyncIterator[Console]:
    feed, wings = Feed(database), Wings()
    feed.start()
    app = routes.app(feed, wings, wings, wings, wings)
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=15) as http:
        yield Console(app, feed, wings, url, http)
        await feed.close()


@asynccontextmanager
async def stream(http: httpx.AsyncClient) -> AsyncIterator[AsyncIterator[list[dict[str, Any]]]]:
    """The batches that a browser's EventSource would hand to the page."""
    async with http.stream("GET", "/console/events") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"

        async def batches() -> AsyncIterator[list[dict[str, Any]]]:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

        yield batches()


async def in_one_piece(url: str, request: bytes) -> bytes:
    """The answer to a request as it stands, which no client library has tidied up."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    async with asyncio.timeout(15):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_the_stream_tells_the_state_and_then_the_changes(
    console: Console, database: Database
) -> None:
    async with stream(console.http) as batches:
        ((state,)) = await anext(batches)
        assert (state["kind"], state["authorised"]) == ("state", 0)
        await entries.write(database, entries.authorised(EVSE))
        ((change,)) = await anext(batches)
        assert (change["kind"], change["evse"]) == ("authorised", EVSE)


async def test_two_browsers_are_told_the_same(console: Console, database: Database) -> None:
    async with stream(console.http) as one, stream(console.http) as other:
        await entries.write(database, entries.cdr(EVSE, "NL*ALF", "1.25"))
        for _ in range(2):
            first, second = await asyncio.gather(anext(one), anext(other))
            assert first == second


async def test_a_browser_that_leaves_is_forgotten_at_once(console: Console) -> None:
    async with stream(console.http) as batches:
        await anext(batches)
        assert console.feed.open_pages == 1
    await until(lambda: console.feed.open_pages == 0)


async def test_a_quiet_stream_says_that_it_is_still_there(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "QUIET_S", 0.01)
    async with console.http.stream("GET", "/console/events") as answer:
        lines = (line async for line in answer.aiter_lines() if line.startswith(":"))
        assert [await anext(lines), await anext(lines)] == [": still here"] * 2


async def test_a_browser_that_takes_nothing_is_cut_off_and_another_goes_on(
    console: Console, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "MOST_BEHIND", 3)
    monkeypatch.setattr(routes, "FAREWELL_S", 0.05)
    # More than all buffers between here and there hold, so that the hub's writes stand still.
    console.feed.day.used = {f"FRPD1E{number:040}" for number in range(300_000)}
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.setblocking(False)
        port = int(console.url.rpartition(":")[2])
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stuck, ("127.0.0.1", port))
        asked = b"GET /console/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        await loop.sock_sendall(stuck, asked)
        await until(lambda: console.feed.open_pages == 1)
        console.feed.day.used = set()
        async with stream(console.http) as batches:
            await anext(batches)
            assert console.feed.open_pages == 2
            for number in range(6):
                await entries.write(database, entries.authorised(f"FRPD1E{number}"))
                ((change,)) = await anext(batches)
                assert change["evse"] == f"FRPD1E{number}"
            await until(lambda: console.feed.open_pages == 1)


async def test_a_browser_that_stands_still_on_a_quiet_day_is_cut_off_too(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "STUCK_S", 0.05)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    scope = asked("127.0.0.1", "localhost", path="/console/events")
    async with asyncio.timeout(15):
        await console.app(scope, receive, send)
    assert console.feed.open_pages == 0


async def test_too_many_browsers_are_refused_and_told_why(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "MOST_PAGES", 1)
    async with stream(console.http) as batches:
        await anext(batches)
        answer = await console.http.get("/console/events")
    assert answer.status_code == 429
    assert answer.json()["type"].endswith("/too-many-pages")


async def test_when_the_hub_stops_the_stream_ends_in_order(console: Console) -> None:
    async with stream(console.http) as batches:
        await anext(batches)
        await console.feed.close()
        assert [batch async for batch in batches] == []


async def test_the_page_and_what_it_is_made_of(console: Console) -> None:
    assert (await console.http.get("/console")).headers["location"] == "/console/"
    page = await console.http.get("/console/")
    assert page.headers["content-type"].startswith("text/html")
    for part, media_type in (("day.js", "javascript"), ("day.css", "text/css")):
        assert f"/console/static/{part}" in page.text
        answer = await console.http.get(f"/console/static/{part}")
        assert answer.status_code == 200
        assert media_type in answer.headers["content-type"]


async def test_the_script_stays_small() -> None:
    assert len((routes.STATIC / "day.js").read_text().splitlines()) <= 500


async def test_the_day_is_told_at_once_too(console: Console, database: Database) -> None:
    await entries.write(database, entries.cdr(EVSE, "NL*ALF", "1.25"))
    await until(lambda: console.feed.day.cdrs == 1)
    assert (await console.http.get("/console/state")).json() == console.feed.day.state()


async def test_the_clock_is_that_of_most_charge_points(console: Console) -> None:
    assert (await console.http.get("/console/places")).json() == {"time_zone": "UTC", "places": []}
    console.wings.found = [
        Place("FRPD1E1", "FR*PD1", 48.87, 2.33, "Europe/Paris"),
        Place("FRPD1E2", "FR*PD1", 43.60, 1.44, "Europe/Paris"),
        Place("FRPD1E3", "FR*PD1", -20.88, 55.45, "Indian/Reunion"),
        Place("FRPD1E4", "FR*PD1", 45.76, 4.83, None),
    ]
    told = (await console.http.get("/console/places")).json()
    assert told["time_zone"] == "Europe/Paris"
    assert told["places"][0] == ["FRPD1E1", "FR*PD1", 48.87, 2.33]
    assert len(told["places"]) == 4


async def test_names_and_payments(console: Console) -> None:
    console.wings.paid["run-1"] = [Paid("NL*ALF", "FR*PD1", "EUR", 125)]
    assert (await console.http.get("/console/names")).json() == {"NL*ALF": "Alfa"}
    assert (await console.http.get("/console/runs/run-1/payments")).json() == [
        {"payer": "NL*ALF", "payee": "FR*PD1", "currency": "EUR", "amount_minor": 125}
    ]
    assert (await console.http.get("/console/runs/no-such-run/payments")).json() == []


async def test_how_the_services_fare(console: Console) -> None:
    assert (await console.http.get("/console/services/state")).json() == []
    failed_at = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    down = EndpointSeen("live-1", "open", 2, 1, "unreachable", failed_at)
    fresh = EndpointSeen("live-2", "closed", 2, 0, None, None)
    console.wings.seen = [
        ServiceSeen("weather", 2, "NL*ABC", 5, 12, 3, 1, 42.5, [down, fresh]),
        *[ServiceSeen(f"s{n}", 1, "NL*ABC", 5, 0, 0, 0, None, []) for n in range(300)],
    ]
    told = (await console.http.get("/console/services/state")).json()
    assert len(told) == routes.MOST_SERVICES
    assert told[0] == {
        **{"name": "weather", "major": 2, "provider": "NL*ABC", "calls": 12, "failed": 3},
        **{"theirs": 1, "calls_a_minute": 2.4, "p95_ms": 42.5},
        "endpoints": [
            {
                **{"place": "live-1", "state": "open", "processes": 2, "resting_in": 1},
                **{"last_failure": "unreachable", "failed_at": "2026-05-04T12:00:00+00:00"},
            },
            {
                **{"place": "live-2", "state": "closed", "processes": 2, "resting_in": 0},
                **{"last_failure": None, "failed_at": None},
            },
        ],
    }
    assert (told[1]["calls_a_minute"], told[1]["p95_ms"]) == (0, None)


async def test_the_page_of_the_services_and_what_it_is_made_of(console: Console) -> None:
    page = await console.http.get("/console/services")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for part in ("services.js", "services.css", "day.css"):
        assert f"/console/static/{part}" in page.text
        assert (await console.http.get(f"/console/static/{part}")).status_code == 200


OUTSIDE = (
    "/console/static/../routes.py",
    "/console/static/../../pyproject.toml",
    "/console/static/..%2froutes.py",
    "/console/static/%2e%2e/routes.py",
    "/console/static/..%5croutes.py",
    "/console/static//etc/passwd",
    "/console/static/",
)


async def test_nothing_but_the_static_files_is_served(console: Console) -> None:
    for path in OUTSIDE:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        answer = await in_one_piece(console.url, request.encode())
        assert answer.startswith(b"HTTP/1.1 404"), (path, answer)


async def test_there_is_nothing_to_change_here(console: Console) -> None:
    for path in (
        "/console/",
        "/console/events",
        "/console/state",
        "/console/services",
        "/console/services/state",
        "/console/static/day.js",
    ):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert (await console.http.request(method, path)).status_code == 405, (method, path)


def asked(client: str | None, host: str | None, path: str = "/console/state") -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [] if host is None else [(b"host", host.encode())],
        "client": None if client is None else (client, 40_000),
        "server": ("127.0.0.1", 8080),
    }


async def status_of(app: ASGIApp, scope: dict[str, Any]) -> int:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"])


OURS = ("127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1")
THEIRS = ("192.0.2.7", "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1", "", None)
OUR_NAMES = ("localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080")
OTHER_NAMES = (
    *("hub.example", "hub.example:8080", "localhost.example", "127.0.0.1.example:80"),
    *("10.0.0.1", "", None),
)


async def test_this_machine_is_shown_the_console(console: Console) -> None:
    for client, host in product(OURS, OUR_NAMES):
        assert await status_of(console.app, asked(client, host)) == 200, (client, host)


async def test_another_machine_is_refused(console: Console) -> None:
    for client, path in product(
        THEIRS, ("/console", "/console/", "/console/events", "/console/services/state")
    ):
        found = await status_of(console.app, asked(client, "localhost", path))
        assert found == 403, (client, path)


async def test_a_name_that_another_site_could_point_here_is_refused(console: Console) -> None:
    for host in OTHER_NAMES:
        assert await status_of(console.app, asked("127.0.0.1", host)) == 403, host


async def test_a_refusal_says_what_would_be_right(console: Console) -> None:
    transport = ASGITransport(console.app, client=("192.0.2.7", 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as stranger:
        answer = await stranger.get("/console/")
    assert answer.status_code == 403
    assert answer.json()["type"].endswith("/console-is-local")
    assert "tunnel" in answer.json()["rule"]


async def test_a_websocket_is_closed(console: Console) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await console.app({**asked("127.0.0.1", "localhost"), "type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close"}]


async def test_every_answer_forbids_what_the_page_does_not_need(console: Console) -> None:
    for path, host in (
        ("/console/", "localhost"),
        ("/console/static/day.js", "localhost"),
        ("/console/state", "localhost"),
        ("/console/nothing", "localhost"),
        ("/console/", "hub.example"),
    ):
        answer = await console.http.get(path, headers={"Host": host})
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-cache"
        assert "access-control-allow-origin" not in answer.headers
