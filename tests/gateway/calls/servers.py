"""Real servers on loopback: the door under uvicorn, partners as good and as bad as they come."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import uvicorn
from aiohttp import web
from starlette.types import ASGIApp

DEADLINE_S = 10.0


async def until(condition: Callable[[], bool], *, deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition; TimeoutError says that it did not come."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110  the condition is anything, not an event
            await asyncio.sleep(0.005)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The application under uvicorn, as in production; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = _Server(
        uvicorn.Config(
            app, lifespan="off", ws="none", log_config=None, access_log=False, loop="none"
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listening]))
    await until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@dataclass
class Partner:
    """A partner's ordinary service: remembers what it was asked."""

    address: str = ""
    requests: list[web.BaseRequest] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: set[int] = field(default_factory=set)


@asynccontextmanager
async def partner(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> AsyncIterator[Partner]:
    found = Partner()

    async def remember(request: web.BaseRequest) -> web.StreamResponse:
        found.requests.append(request)
        found.connections.add(id(request.transport))
        found.bodies.append(await request.content.read())
        return await handle(request)

    runner = web.ServerRunner(web.Server(remember), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()


@dataclass
class Raw:
    """A server that says just these bytes. `hangs`: then keeps the connection open."""

    address: str = ""
    accepted: int = 0
    closed_by_caller: int = 0


@asynccontextmanager
async def raw_partner(says: bytes, *, hangs: bool = False) -> AsyncIterator[Raw]:
    found = Raw()
    under_way: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(says)
            await writer.drain()
            if hangs:
                while await reader.read(1024):
                    pass
                found.closed_by_caller += 1
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.accepted += 1
        task = asyncio.create_task(answer(reader, writer))
        under_way.add(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    found.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
