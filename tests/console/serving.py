"""An application behind uvicorn on a real socket, as `gridroam serve` puts it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from tests.hub import until


class _Server(uvicorn.Server):
    """Leaves the signals to the tests."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(
    app: ASGIApp, *, port: int = 0, stopping: asyncio.Event | None = None
) -> AsyncIterator[str]:
    """The URL. At the end, `stopping` is set as the hub sets it: when it takes no more calls."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        server = _Server(
            uvicorn.Config(
                app, http="httptools", log_config=None, lifespan="off", timeout_graceful_shutdown=5
            )
        )
        running = asyncio.create_task(server.serve(sockets=[listening]))
        await until(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            if stopping is not None:
                stopping.set()
            server.should_exit = True
            await running
