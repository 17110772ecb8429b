"""Requests whose head does not end: what is kept of them is bounded, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from gridroam.heads import MOST_BYTES, BoundedProtocol, watch

HEAD = b"POST /x HTTP/1.1\r\nHost: hub\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MEGABYTE = 1024 * 1024


async def counting(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the headers and of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    told = f"{sum(len(n) + len(v) for n, v in scope['headers'])} {size}".encode()
    length = [(b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": told})


@asynccontextmanager
async def listening(head_within_s: float = 30) -> AsyncIterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(counting, http=BoundedProtocol, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        connections = server.server_state.connections
        watching = asyncio.create_task(watch(connections, after_s=head_within_s))
        while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            yield bound.getsockname()[1]
        finally:
            watching.cancel()
            server.should_exit = True
            await serving


async def pour(port: int, begins: bytes, piece: bytes) -> tuple[int, bytes]:
    """How much could be sent, up to a bound far beyond ours, and what was answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = 0
    with suppress(ConnectionError):
        writer.write(begins)
        while sent < 64 * MEGABYTE:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
    answer = b""
    with suppress(ConnectionError):
        answer = await reader.read()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return sent, answer


ENDLESS = {
    "a header": (HEAD + b"X: ", b"y" * 8192),
    "a header's name": (HEAD, b"y" * 8192),
    "headers": (HEAD, b"X: y\r\n" * 1000),
    "a path": (b"GET /", b"y" * 8192),
    "a header after the body": (CHUNKED + b"4\r\nbody\r\n0\r\nX: ", b"y" * 8192),
    "headers after the body": (CHUNKED + b"4\r\nbody\r\n0\r\n", b"X: y\r\n" * 1000),
    "words about a piece of the body": (CHUNKED + b"4;", b"y" * 8192),
}


@pytest.mark.parametrize(("begins", "piece"), ENDLESS.values(), ids=ENDLESS.keys())
async def test_what_does_not_end_is_broken_off(begins: bytes, piece: bytes) -> None:
    async with listening() as port, httpx.AsyncClient() as other:
        endless = asyncio.create_task(pour(port, begins, piece))
        for _ in range(5):
            told = await other.post(f"http://127.0.0.1:{port}/", content=b"12", timeout=3)
            assert told.text.endswith(" 2")
        sent, _ = await endless
    # Beside what we take, the two ends of the connection hold some.
    assert sent < 16 * MEGABYTE


async def test_who_still_listens_is_told_why() -> None:
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answering = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        writer.write(HEAD)
        async with asyncio.timeout(10):
            while not answering.done():
                # Little by little: what is thrown back would take the answer with it.
                writer.write(b"X: " + b"y" * 1019 + b"\r\n")
                await asyncio.sleep(0.001)
            head = await answering
        length = int(head.partition(b"Content-Length: ")[2].split()[0])
        body = await reader.readexactly(length)
        writer.close()
    assert head.startswith(b"HTTP/1.1 431 ")
    told = json.loads(body)
    assert (told["status"], told["field"]) == (431, "headers")
    assert str(MOST_BYTES) in told["rule"]


async def test_what_is_long_and_ends_is_taken_however_it_comes() -> None:
    """Long bodies, announced and in pieces, and heads below the bound, on one connection."""
    body = b"b" * MEGABYTE
    padding = b"X: " + b"y" * (MOST_BYTES - 1000) + b"\r\n"
    announced = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    chunked = CHUNKED + b"".join(b"100\r\n%b\r\n" % body[:256] for _ in range(4096)) + b"0\r\n\r\n"
    short = HEAD + b"Content-Length: 2\r\n\r\nok"
    asked = [announced, chunked, HEAD + padding + b"Content-Length: 0\r\n\r\n", short, chunked]
    async with listening() as port:
        for size in (1000, 70_000, 4 * MEGABYTE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            sizes = []
            for request in asked:
                for at in range(0, len(request), size):
                    writer.write(request[at : at + size])
                    await writer.drain()
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                sizes.append(int((await reader.readexactly(length)).split()[1]))
            writer.close()
            assert sizes == [MEGABYTE, MEGABYTE, 0, 2, MEGABYTE]


async def test_a_head_that_comes_byte_by_byte_is_a_head() -> None:
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for byte in HEAD + b"Content-Length: 2\r\n\r\nok":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()


@pytest.mark.parametrize(
    "begins",
    [b"", b"GET / HT", HEAD, HEAD + b"Content-Length: 0\r\n\r\nGET /"],
    ids=["nothing", "a word", "half", "half of the next"],
)
async def test_a_head_that_does_not_come_is_not_waited_for(begins: bytes) -> None:
    async with listening(head_within_s=0.3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begins)
        async with asyncio.timeout(10):
            # Closed by the hub: nothing more comes, but the answer to what was whole.
            told = await reader.read()
        writer.close()
    assert told.count(b"HTTP/1.1 200 ") == begins.count(b"\r\n\r\n")


async def test_a_body_may_take_longer_than_its_head() -> None:
    async with listening(head_within_s=0.3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 2\r\n\r\no")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await reader.read()
        writer.write(b"k")
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()
