"""Partners' bad days: what comes of a call to one, and that no call to another notices."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from gateway.calls.breaker import Rules
from gateway.calls.upstream import Upstream
from tests.gateway.calls.fakes import House
from tests.gateway.calls.servers import free_port, partner, served, until

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MEGABYTE = 1024 * 1024
AT_ONCE = 8
# Here the question is what each call comes to; who is let alone is another's (test_endpoints.py).
NEVER_LET_ALONE = Rules(failures_in_a_row=10_000, calls_to_judge=10_000)


@asynccontextmanager
async def door(house: House) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": "Bearer operator"}
    async with (
        served(house.open()) as address,
        httpx.AsyncClient(base_url=address, headers=headers, timeout=20) as client,
    ):
        try:
            yield client
        finally:
            await house.upstream.close()


@asynccontextmanager
async def behaving(behaviour: Behaviour) -> AsyncIterator[str]:
    """A server that behaves so once it has heard the head of a request; its address."""
    under_way: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await behaviour(reader, writer)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way.add(asyncio.create_task(answer(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def saying(*pieces: bytes, every_s: float = 0.0, for_ever: bool = False) -> Behaviour:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        while for_ever:
            await asyncio.sleep(every_s)
            writer.write(pieces[-1])
            await writer.drain()

    return behave


async def hanging(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while await reader.read(1024):
        pass


async def hello(_: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"hello": "there"})


HTML = b"<html><script>alert(1)</script>"
BAD_DAYS: dict[str, tuple[Behaviour, str]] = {
    "hangs": (hanging, "504 provider-silent"),
    "dribbles in its head": (
        saying(HEAD + b"X: ", b"y", every_s=0.1, for_ever=True),
        "504 provider-silent",
    ),
    "dribbles in a small body": (
        saying(HEAD + b"Content-Length: 60000\r\n\r\n", b"1", every_s=0.1, for_ever=True),
        "504 provider-silent",
    ),
    "dribbles without end": (saying(HEAD + b"\r\n", b"1", every_s=0.1, for_ever=True), "cut"),
    "closes without a word": (saying(), "502 provider-broken"),
    "closes in mid-head": (saying(HEAD), "502 provider-broken"),
    "closes in mid-body": (saying(HEAD + b"Content-Length: 9\r\n\r\n123"), "502 provider-broken"),
    "announces more than comes": (
        saying(HEAD + b"Content-Length: 900000\r\n\r\n" + b"x" * 100_000),
        "cut",
    ),
    "sends more than announced": (
        saying(HEAD + b"Content-Length: 3\r\n\r\nyesHTTP/1.1"),
        "200 yes",
    ),
    "a length that is none": (
        saying(HEAD + b"Content-Length: -3\r\n\r\nyes"),
        "502 provider-broken",
    ),
    "two lengths": (
        saying(HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nyes"),
        "502 provider-broken",
    ),
    "broken chunks": (
        saying(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nyes\r\n"),
        "502 provider-broken",
    ),
    "news without end": (
        saying(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", for_ever=True),
        "502 provider-broken",
    ),
    "a header without end": (
        saying(HEAD + b"X: ", b"y" * 8000, for_ever=True),
        "502 provider-broken",
    ),
    "headers without end": (saying(HEAD, b"X: y\r\n" * 500, for_ever=True), "502 provider-broken"),
    "garbage": (saying(bytes(range(256)) * 40), "502 provider-broken"),
    "another protocol": (saying(b"SSH-2.0-OpenSSH_9.6\r\n"), "502 provider-broken"),
    "HTML for JSON": (saying(HEAD + b"Content-Length: 31\r\n\r\n" + HTML), f"200 {HTML.decode()}"),
    "its own 500": (
        saying(b"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\noops"),
        "500 oops",
    ),
    "a redirect": (
        saying(b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\nno"),
        "302 no",
    ),
}


async def outcome(asked: Awaitable[httpx.Response]) -> str:
    try:
        answer = await asked
    except httpx.RemoteProtocolError:
        return "cut"
    if answer.headers.get("Content-Type") == "application/problem+json":
        assert answer.json()["rule"]
        return f"{answer.status_code} {answer.json()['type'].rpartition('/')[2]}"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Location" not in answer.headers
    return f"{answer.status_code} {answer.text}"


async def nobody_else_notices(house: House, client: httpx.AsyncClient, bad: str) -> set[str]:
    """Calls to a bad partner, and to a good one meanwhile; what the bad ones came to."""
    async with partner(hello) as theirs:
        house.publish("bad", bad)
        house.publish("good", theirs.address)
        asked = [
            asyncio.create_task(outcome(client.post("/services/bad/"))) for _ in range(AT_ONCE)
        ]
        for _ in range(10):
            answer = await asyncio.wait_for(client.get("/services/good/"), 3)
            assert (answer.status_code, answer.json()) == (200, {"hello": "there"})
        came = set(await asyncio.gather(*asked))
    assert house.upstream.under_way == 0
    # Each call is in the books, once.
    await until(lambda: len(house.meter.noted) == AT_ONCE + 10)
    return came


@pytest.fixture
def house() -> House:
    upstream = Upstream(
        connect_s=0.5, total_s=1.0, idle_s=0.8, allow_loopback=True, rules=NEVER_LET_ALONE
    )
    return House(upstream=upstream)


@pytest.mark.parametrize("day", BAD_DAYS)
async def test_a_partners_bad_day_is_its_own(house: House, day: str) -> None:
    behaviour, expected = BAD_DAYS[day]
    async with behaving(behaviour) as bad, door(house) as client:
        assert await nobody_else_notices(house, client, bad) == {expected}


async def test_a_partner_that_takes_no_connection_disturbs_nobody(house: House) -> None:
    async with door(house) as client:
        bad = f"http://127.0.0.1:{free_port()}"
        assert await nobody_else_notices(house, client, bad) == {"502 provider-unreachable"}


async def test_a_partner_that_never_accepts_disturbs_nobody(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listening:
        async with door(house) as client:
            bad = f"http://127.0.0.1:{listening.getsockname()[1]}"
            # Some connections are the kernel's to make, the others are never made.
            assert await nobody_else_notices(house, client, bad) == {"504 provider-silent"}


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_fifty_megabytes_pass_through_and_are_never_held(house: House) -> None:
    house.upstream = Upstream(allow_loopback=True)
    much = 50

    async def pours(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + f"Content-Length: {much * MEGABYTE}\r\n\r\n".encode())
        for _megabyte in range(much):
            writer.write(b"x" * MEGABYTE)
            await writer.drain()

    async with behaving(pours) as bad, door(house) as client:
        house.publish("pours", bad)
        before = most = resident_bytes()
        came = 0
        async with client.stream("GET", "/services/pours/") as answer:
            async for piece in answer.aiter_raw():
                came += len(piece)
                most = max(most, resident_bytes())
    assert came == much * MEGABYTE
    assert most - before < 16 * MEGABYTE
    assert [record.bytes_out for record in house.meter.noted] == [much * MEGABYTE]


async def test_a_caller_that_takes_nothing_keeps_no_partner_waiting(house: House) -> None:
    """And one that goes away in mid-answer keeps none either."""
    house.upstream = Upstream(caller_idle_s=0.5, allow_loopback=True)
    let_go = 0

    async def pours(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal let_go
        writer.write(HEAD + b"\r\n")
        try:
            while True:
                writer.write(b"x" * MEGABYTE)
                await writer.drain()
        except ConnectionError:
            let_go += 1

    async with behaving(pours) as bad, door(house) as client:
        house.publish("pours", bad)
        host, port = str(client.base_url).removeprefix("http://").rstrip("/").split(":")
        asking = (
            b"GET /services/pours/ HTTP/1.1\r\nHost: door\r\nAuthorization: Bearer operator\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(asking)
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: let_go == 1)
        writer.transport.abort()
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(asking)
        await reader.readexactly(5 * MEGABYTE)
        writer.transport.abort()
        await until(lambda: let_go == 2)
        await until(lambda: len(house.meter.noted) == 2)
    assert house.upstream.under_way == 0


async def test_a_caller_that_goes_away_in_mid_body_takes_its_call_with_it(house: House) -> None:
    heard: list[bytes] = []

    async def listens(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    async with behaving(listens) as theirs, door(house) as client:
        house.publish("listens", theirs)
        host, port = str(client.base_url).removeprefix("http://").rstrip("/").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /services/listens/ HTTP/1.1\r\nHost: door\r\nAuthorization: Bearer operator\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
        )
        await until(lambda: house.upstream.under_way == 1)
        writer.transport.abort()
        await until(lambda: [record.status for record in house.meter.noted] == [499])
        await until(lambda: len(heard) == 1)
    # What came is not the whole: it does not end as a chunked body ends.
    assert not heard[0].endswith(b"0\r\n\r\n")


PROVIDER = """
import asyncio, sys

async def answer(reader, writer):
    while head := await reader.readuntil(b"\\r\\n\\r\\n"):
        await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\ndone")

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@asynccontextmanager
async def provider_process() -> AsyncIterator[tuple[str, int]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROVIDER,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    try:
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_provider_process_that_is_killed_takes_no_call_with_it_that_may_be_repeated(
    house: House,
) -> None:
    house.upstream = Upstream(allow_loopback=True)
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(provider_process()) for _ in range(2)]
        client = await stack.enter_async_context(door(house))
        house.publish("work", *(url for url, _ in processes))
        done = 0
        statuses: list[int] = []

        async def caller() -> None:
            nonlocal done
            for _ in range(25):
                answer = await client.put("/services/work/", content=b"1")
                statuses.append(answer.status_code)
                done += 1

        calling = asyncio.gather(*(caller() for _ in range(16)))
        await until(lambda: done >= 60)
        [(both,)] = [(list(every),) for every in house.upstream.endpoints]
        # Of sixteen callers none may be at the one that dies, just then.
        await until(lambda: both[0].under_way > 0)
        os.kill(processes[0][1], signal.SIGKILL)
        await calling
    assert statuses == [200] * 400
    assert house.upstream.repeats > 0
