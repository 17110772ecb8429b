"""A hub of two processes is one hub to its partners, whichever of them takes a connection, and
whatever words are spoken.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web

from bridge.document import Document, Kind
from bridge.openapi import RestInterface
from bridge.soap_face import SoapFace
from bridge.wsdl import SoapInterface
from tests.faults.test_topics import joined, partners_at
from tests.flows.test_bridging import ASK, FAULT, OCHP_FILES, POINTS, POINTS_FILES, TOKEN
from tests.gridroam.processes import serving, until
from tests.hub import Partner, Server, answering, server

WSDL = SoapFace.of(
    RestInterface.read(Document(Kind.OPENAPI, "a", {"a": json.dumps(POINTS).encode()})),
    target_namespace="urn:gridroam:points:1",
).wsdl("https://hub.example/services/points/soap")
SOAP = SoapInterface.read(Document(Kind.WSDL, "a", {"a": WSDL}))
SHOW = SOAP.request("showPoint", {"id": "7"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A way to call, over a connection of its own each time, so that either process may take it."""

    url: str
    path: str
    content: bytes
    headers: dict[str, str]

    async def __call__(self) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, timeout=15) as http:
            return await http.post(self.path, content=self.content, headers=self.headers)


def process_of(answer: httpx.Response) -> str:
    """Each process gives out request ids of its own (gateway/calls/routes.py)."""
    return answer.headers["X-Request-Id"][12:22]


async def publish(provider: Partner, name: str, protocol: str, at: Server, files: Any) -> None:
    described = {"name": name, "category": "value-added", "description": "A partner's own"}
    endpoint = {"endpoint": at.url, "protocol": protocol}
    await provider.post("/marketplace/services", described | endpoint)
    told = await provider.call(
        "PUT",
        f"/marketplace/services/{name}/v1/interface",
        json.dumps(files).encode(),
        headers={"Content-Type": "application/vnd.gridroam.interface+json"},
    )
    assert told.status == 200, told.body
    await provider.post(f"/marketplace/services/{name}/v1/publish")


async def agree(provider: Partner, requester: Partner, name: str, **terms: Any) -> str:
    offering = await provider.post("/marketplace/offerings", {"service": name, "terms": terms})
    return await requester.accepts(offering["offering_id"])


@dataclass(frozen=True, slots=True)
class Two:
    url: str
    provider: Partner
    requester: Partner
    rest: Server
    soap: Server

    def ways(self) -> dict[str, tuple[Asked, int]]:
        """What may be asked, and the status that says it reached the provider."""
        bearer = {"Authorization": f"Bearer {self.requester.token}"}
        as_json = bearer | {"Content-Type": "application/json"}
        as_soap = bearer | {"Content-Type": SHOW.content_type, **SHOW.headers}
        token = json.dumps(TOKEN).encode()
        return {
            "REST": (Asked(self.url, "/services/points/points/7", b"{}", as_json), 200),
            "SOAP": (Asked(self.url, "/services/points/soap", SHOW.content, as_soap), 200),
            # The provider says no in its own words: it was reached.
            "JSON": (Asked(self.url, f"/services/clearing/{ASK}", token, as_json), 422),
        }


async def saying_no(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=FAULT, status=500, content_type="text/xml")


@asynccontextmanager
async def two_processes(database_url: str, tmp_path: Path) -> AsyncIterator[Two]:
    home = tmp_path / "home"
    known = await joined(home, database_url)
    options: list[str | Path] = ["--home", home, "--database-url", database_url, "--workers", "2"]
    async with (
        server(answering({"power_w": 22_000})) as rest,
        server(saying_no) as soap,
        serving(*options, tmp_path=tmp_path) as hub,
        partners_at(hub, known) as (provider, requester),
    ):
        yield Two(hub.url, provider, requester, rest, soap)


async def reached_in_both(ask: Callable[[], Awaitable[httpx.Response]], status: int) -> None:
    """Wait until both processes let it through; from then on each of them does."""
    seen: set[str] = set()

    async def both() -> bool:
        answers = await asyncio.gather(*(ask() for _ in range(6)))
        seen.update(process_of(one) for one in answers if one.status_code == status)
        return len(seen) == 2

    await until(both)
    answers = await asyncio.gather(*(ask() for _ in range(12)))
    assert {one.status_code for one in answers} == {status}, [one.text for one in answers]


async def test_what_is_published_is_called_in_both_processes_without_a_restart(
    hub_database_url: str, tmp_path: Path
) -> None:
    async with two_processes(hub_database_url, tmp_path) as two:
        await publish(two.provider, "points", "rest", two.rest, POINTS_FILES)
        await publish(two.provider, "clearing", "soap", two.soap, OCHP_FILES)
        for name in ("points", "clearing"):
            await agree(two.provider, two.requester, name)
        for ask, status in two.ways().values():
            await reached_in_both(ask, status)
        # What is suspended is refused in both as well, in whatever words.
        await two.provider.post("/marketplace/services/points/v1/suspend")
        ways = two.ways()
        await reached_in_both(ways["REST"][0], 503)
        await reached_in_both(ways["SOAP"][0], 500)


async def test_a_limit_is_exact_whatever_words_and_whichever_process(
    hub_database_url: str, tmp_path: Path
) -> None:
    limit = 20
    async with two_processes(hub_database_url, tmp_path) as two:
        await publish(two.provider, "points", "rest", two.rest, POINTS_FILES)
        await agree(two.provider, two.requester, "points", quota={"calls_per_day": limit})
        ways = two.ways()
        seen: set[str] = set()
        passed = 0

        async def caller(number: int) -> None:
            nonlocal passed
            ask, status = ways["SOAP" if number % 2 else "REST"]
            for _ in range(20):
                answer = await ask()
                seen.add(process_of(answer))
                if answer.status_code == status:
                    passed += 1
                else:
                    assert "quota-exceeded" in answer.text or "no-contract" in answer.text

        await asyncio.gather(*(caller(number) for number in range(10)))
        assert len(seen) == 2
        assert passed == len(two.rest.came) == limit
        methods = {came.method for came in two.rest.came}
        # Both words were heard: an envelope becomes a GET.
        assert methods == {"GET", "POST"}
