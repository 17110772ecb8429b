"""A hub on a real socket, a provider and a caller whose days are bad, and two neighbours who must
not notice: `undisturbed` says whether they did.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from httpx import ASGITransport
from lxml import etree

from bridge.soap_envelope import (
    ENVELOPES,
    BadEnvelope,
    content_type,
    is_fault,
    read_fault,
    taken_apart,
)
from gateway.bridging.faults import PROBLEM
from tests.faults.test_two_processes import SHOW, agree, publish
from tests.flows.test_bridging import POINTS_FILES, files_of
from tests.gateway.bridging.fakes import document, interface
from tests.gateway.calls.servers import served
from tests.hub import Hub, Partner, Server, answering, running, server, until

# So long a neighbour's call may take, on a busy machine.
PATIENCE_S = 5.0
LIMIT = 1000
WEATHER_FILES = files_of("wsdl", "weather.wsdl", dict(document().files))
WEATHER = interface()
ASK = WEATHER.request("Ask", {"place": "Paris"})


@dataclass(frozen=True, slots=True)
class Way:
    """How a service is called. `version` is that of SOAP, "" in JSON; `good`: a good answer, and
    its type."""

    service: str
    path: str
    content: bytes
    headers: Mapping[str, str]
    version: str
    good: tuple[bytes, str]

    async def __call__(self, http: httpx.AsyncClient, token: str) -> httpx.Response:
        headers = {**self.headers, "Authorization": f"Bearer {token}"}
        return await http.post(self.path, content=self.content, headers=headers)


def in_json(service: str, path: str, payload: Any, good: tuple[bytes, str]) -> Way:
    headers = {"Content-Type": "application/json"}
    return Way(
        service, f"/services/{service}/{path}", json.dumps(payload).encode(), headers, "", good
    )


def in_soap(
    service: str, version: str, content: bytes, action: str, good: tuple[bytes, str]
) -> Way:
    asked = content.replace(ENVELOPES["1.1"].encode(), ENVELOPES[version].encode())
    headers = {"Content-Type": content_type(version, action)}
    if version == "1.1":
        headers["SOAPAction"] = f'"{action}"'
    return Way(service, f"/services/{service}/soap", asked, headers, version, good)


def told(version: str) -> tuple[bytes, str]:
    return WEATHER.envelope("Ask", {"hours": 7}, version), content_type(version, "")


POWER = (b'{"power_w": 22000}', "application/json")
WAYS = {
    "JSON to SOAP": in_json("weather", "Ask", {"place": "Paris"}, told("1.1")),
    "SOAP 1.1 to REST": in_soap("points", "1.1", SHOW.content, SHOW.soap_action, POWER),
    "SOAP 1.2 to REST": in_soap("points", "1.2", SHOW.content, SHOW.soap_action, POWER),
    "SOAP 1.1 to SOAP": in_soap("weather", "1.1", ASK.content, ASK.soap_action, told("1.1")),
    "SOAP 1.2 to SOAP": in_soap("weather", "1.2", ASK.content, ASK.soap_action, told("1.2")),
    "REST to REST": in_json("points", "points/7", {}, POWER),
}

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Moody:
    """A provider of bare bytes, which behaves as it is told once it has heard a whole request."""

    def __init__(self) -> None:
        self.behaviour: Behaviour | None = None
        self.asked = 0
        self.let_go = 0
        self.url = ""
        self._server: asyncio.Server | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """At its address, where it has had one."""
        port = int(self.url.rpartition(":")[2] or 0)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._under_way.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._under_way.add(asyncio.create_task(self._answer(reader, writer)))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
                if length is not None:
                    await reader.readexactly(int(length[1]))
                self.asked += 1
                assert self.behaviour is not None
                await self.behaviour(reader, writer)
        except ConnectionError:
            self.let_go += 1
        finally:
            writer.close()


def answered(content: bytes, type_of_content: str, status: str = "200 OK", *more: str) -> bytes:
    """A whole answer with its true length."""
    lines = [
        f"HTTP/1.1 {status}",
        "Connection: close",
        f"Content-Type: {type_of_content}",
        f"Content-Length: {len(content)}",
        *more,
    ]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + content


def saying(*pieces: bytes) -> Behaviour:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return behave


async def hanging(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while await reader.read(1024):
        pass
    raise ConnectionAbortedError("whoever asked waits no longer")


@dataclass(frozen=True, slots=True)
class Street:
    """`provider` and `caller` are those of the bad days; `neighbour` calls a service beside."""

    url: str
    http: httpx.AsyncClient
    moody: Moody
    provider: Partner
    caller: Partner
    neighbour: Partner
    good: Counter[str] = field(default_factory=Counter)

    async def opens(self, service: str, *, timeout_s: float) -> None:
        """The provider describes, publishes and offers it, and the caller agrees."""
        protocol, files = {"points": ("rest", POINTS_FILES), "weather": ("soap", WEATHER_FILES)}[
            service
        ]
        # What it needs of a provider is where it is.
        at = Server(url=self.moody.url)
        await publish(self.provider, service, protocol, at, files)
        await self.provider.put(
            f"/marketplace/services/{service}/v1/handling", {"timeout_s": timeout_s}
        )
        await agree(self.provider, self.caller, service, quota={"calls_per_day": LIMIT})

    async def call(self, way: Way) -> httpx.Response:
        return await way(self.http, self.caller.token)

    async def cost(self, way: Way, *, least: int = 0) -> int:
        """What all calls to the service have cost beside the good ones, as a good one tells.

        What is being given back is on its way for a moment, and meanwhile told as used: so it is
        asked again until it is the `least` that it can be.
        """
        for _ in range(20):
            self.moody.behaviour = saying(answered(*way.good))
            answer = await self.call(way)
            assert answer.status_code == 200, answer.text
            self.good[way.service] += 1
            found = LIMIT - int(answer.headers["RateLimit-Remaining"]) - self.good[way.service]
            if found <= least:
                break
            await asyncio.sleep(0.1)
        return found

    @asynccontextmanager
    async def undisturbed(self) -> AsyncIterator[None]:
        """The neighbour calls all the while, and each call is answered well, and soon."""
        statuses: list[int] = []
        over = False

        async def calling() -> None:
            while not over:
                answer = self.neighbour.call("GET", "/services/good/7")
                statuses.append((await asyncio.wait_for(answer, PATIENCE_S)).status)
                await asyncio.sleep(0.01)

        callers = asyncio.gather(*(calling() for _ in range(2)))
        try:
            await until(lambda: len(statuses) >= 4 or callers.done())
            before = len(statuses)
            yield
            await until(lambda: len(statuses) >= before + 4 or callers.done())
        finally:
            over = True
            await callers
        assert set(statuses) == {200}


@asynccontextmanager
async def street(database_url: str, tmp_path: Path) -> AsyncIterator[Street]:
    moody = Moody()
    await moody.open()
    try:
        async with running(database_url, tmp_path / "home") as inside:
            transport = inside.http._transport
            assert isinstance(transport, ASGITransport)
            async with (
                server(answering({"kw": 7})) as good,
                served(transport.app) as url,
                httpx.AsyncClient(base_url=url, timeout=20) as http,
            ):
                hub = Hub(http, inside.parts)
                parties = {"NL*CHS": "service-provider", "FR*PD1": "evse-operator"}
                provider, caller = [await hub.partner(*one) for one in parties.items()]
                beside = await hub.partner("NL*FCS", "service-provider")
                neighbour = await hub.partner("DE*EVP", "evsp")
                described = {"name": "good", "category": "value-added", "description": "Good"}
                await beside.post("/marketplace/services", described | {"endpoint": good.url})
                await beside.post("/marketplace/services/good/v1/publish")
                await agree(beside, neighbour, "good")
                yield Street(url, http, moody, provider, caller, neighbour)
    finally:
        await moody.close()


def outcome(way: Way, answer: httpx.Response) -> str:
    """`502 provider-broken`, `1.2 Server provider-broken`, or what the provider itself has said."""
    assert "Location" not in answer.headers
    announced = answer.headers.get("Content-Type", "")
    if announced == "application/problem+json":
        assert not way.version
        assert answer.json()["rule"]
        return f"{answer.status_code} {answer.json()['type'].rpartition('/')[2]}"
    if not way.version or announced != content_type(way.version, ""):
        return f"{answer.status_code} as it came"
    try:
        parts = taken_apart(answer.content)
    except BadEnvelope:
        # Between two who speak SOAP the hub carries what it does not read.
        return f"{answer.status_code} as it came"
    assert parts.version == way.version
    if not is_fault(parts.body[0], way.version):
        return f"{answer.status_code} as it came"
    found, details = read_fault(parts.body[0], way.version)
    expected = 400 if way.version == "1.2" and found.client else 500
    assert answer.status_code == expected
    members = {
        etree.QName(one).localname: one.text or ""
        for detail in details
        if detail.tag == f"{{{PROBLEM}}}problem"
        for one in detail
    }
    if not members:
        return f"{found.code} in its own words"
    assert members["rule"]
    return f"{found.code} {members['type'].rpartition('/')[2]}"
