"""A topic as a stream, on a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.topics import desk, stream
from gridroam.core import core
from gridroam.home import Home
from gridroam.settings import Settings
from gridroam.wiring import hub as wired
from kit.clock import utc_now
from kit.database import Database
from tests.console.serving import serving
from tests.flows.test_topics import TOPIC, alert, topic_of
from tests.hub import URL, Hub, Partner, until

EVENTS = f"/topics/{TOPIC}/events"


@dataclass(frozen=True, slots=True)
class Serving:
    """A hub on a socket, whose subscriber has a contract on its provider's topic."""

    hub: Hub
    provider: Partner
    subscriber: Partner
    contract: str
    stopping: asyncio.Event


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[Serving]:
    place = Home(tmp_path / "home", database_url)
    settings = Settings(home=tmp_path / "home", public_url=URL)
    stopping = asyncio.Event()
    beside = await Database.open(database_url, pool_size=2)
    async with (
        wired(settings, place, database_url, stopping) as app,
        serving(app, stopping=stopping) as url,
        httpx.AsyncClient(base_url=url, timeout=15) as http,
    ):
        parts = core(beside, place.secret, hub=settings.hub_party, clock=utc_now)
        hub = Hub(http, parts)
        provider = await hub.partner("NL*FCS", "dso")
        subscriber = await hub.partner("FR*XYZ", "evsp")
        (contract,) = await topic_of(provider, subscriber)
        yield Serving(hub, provider, subscriber, contract, stopping)
    await beside.close()


class Stream:
    """What an EventSource would tell its page: events, and the last id."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.last_id = ""
        self._lines = answer.aiter_lines()

    async def line(self) -> str:
        """The next one that is not empty; an empty text at the end."""
        async with asyncio.timeout(15):
            async for line in self._lines:
                if line:
                    return line
        return ""

    async def event(self) -> Any:
        while True:
            line = await self.line()
            assert line, "the stream ended"
            if line.startswith("id: "):
                self.last_id = line.removeprefix("id: ")
            if line.startswith("data: "):
                return json.loads(line.removeprefix("data: "))


@asynccontextmanager
async def opened(
    reader: Partner, path: str = EVENTS, last_id: str | None = None
) -> AsyncIterator[Stream]:
    headers = {"Authorization": f"Bearer {reader.token}", "Accept": "text/event-stream"}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    async with reader.http.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer)


async def test_a_reader_that_comes_back_goes_on_after_the_last_id_that_it_saw(
    world: Serving,
) -> None:
    async with opened(world.subscriber) as stream:
        published = await world.provider.post(EVENTS, [alert(1), alert(2)])
        told = [await stream.event(), await stream.event()]
        assert [one["data"]["number"] for one in told] == [1, 2]
        assert [one["id"] for one in told] == published["ids"]
        assert stream.last_id == published["ids"][1]
    await world.provider.post(EVENTS, alert(3))
    async with opened(world.subscriber, last_id=published["ids"][0]) as stream:
        assert [(await stream.event())["data"]["number"] for _ in range(2)] == [2, 3]
    async with opened(world.subscriber, f"{EVENTS}?after=start") as stream:
        assert (await stream.event()) == told[0]


async def test_a_reader_is_spared_what_its_filter_does_not_take_and_told_how_far_that_was(
    world: Serving,
) -> None:
    async with opened(world.subscriber, f"{EVENTS}?keys=south") as stream:
        published = await world.provider.post(EVENTS, alert(1, "north"))
        while not (line := await stream.line()).startswith("id: "):
            assert not line.startswith("data: ")
        assert line == f"id: {published['ids'][0]}"
        await world.provider.post(EVENTS, alert(2, "south"))
        assert (await stream.event())["data"]["number"] == 2


async def test_a_suspended_contract_ends_the_stream_with_its_reason(world: Serving) -> None:
    async with opened(world.subscriber) as stream:
        path = f"/marketplace/contracts/{world.contract}"
        await world.provider.post(f"{path}/suspend", {"reason": "unpaid"})
        told = await stream.event()
        assert told["type"].endswith("/contract-suspended")
        assert await stream.line() == ""


async def test_a_revoked_token_ends_the_stream(world: Serving) -> None:
    subscriber = world.subscriber
    async with opened(subscriber) as stream:
        await subscriber.http.post(
            "/oauth/revoke",
            data={"token": subscriber.token},
            auth=httpx.BasicAuth(subscriber.client_id, subscriber.client_secret),
        )
        assert (await stream.event())["status"] == 401
        assert await stream.line() == ""


async def test_a_stream_ends_in_order_when_the_hub_stops(world: Serving) -> None:
    async with opened(world.subscriber) as stream:
        assert await stream.line() == "retry: 1000"
        world.stopping.set()
        assert await stream.line() == ""


async def test_a_quiet_stream_says_that_it_is_still_there(
    world: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "QUIET_S", 0.01)
    async with opened(world.subscriber) as reading:
        assert [await reading.line() for _ in range(3)][1:] == [": still here"] * 2


async def test_a_client_has_so_many_streams_and_no_more_and_gets_them_back(
    world: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "MOST_OF_A_CLIENT", 1)
    accepts = {"Accept": "text/event-stream"}
    async with opened(world.subscriber) as stream:
        await stream.line()
        refused = await world.subscriber.call("GET", EVENTS, headers=accepts)
        assert (refused.status, refused.problem) == (429, "too-many-streams")
        # Another client's are its own.
        async with opened(world.provider) as other:
            await other.line()

    async def free() -> bool:
        return (await world.subscriber.call("GET", f"{EVENTS}?wait_s=0.01")).status == 200

    await until(free)


async def test_a_reader_that_takes_nothing_is_cut_off_and_another_gets_everything(
    world: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STUCK_S", 0.2)
    host, _, port = str(world.subscriber.http.base_url.netloc, "ascii").partition(":")
    asked = (
        f"GET {EVENTS} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n"
        f"Authorization: Bearer {world.subscriber.token}\r\n\r\n"
    )
    # More than all buffers between here and there hold, so that the hub's writes stand still.
    large = [
        alert(number) | {"data": {"number": number, "x": "x" * 60_000}} for number in range(100)
    ]
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stuck, (host, int(port)))
        await loop.sock_sendall(stuck, asked.encode())
        async with opened(world.provider) as other:
            for _ in range(2):
                await world.provider.post(EVENTS, large)
            for number in [*range(100), *range(100)]:
                assert (await other.event())["data"]["number"] == number

        async def none_open() -> bool:
            told = (await world.provider.http.get("/metrics")).text
            return "\ngridroam_topic_streams 0.0\n" in told

        await until(none_open)
