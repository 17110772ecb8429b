"""What the parts of a hub share while it is put together: see `gridroam.wiring`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Protocol
from uuid import uuid4

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.health.store import SqlReports
from gridroam.core import Core
from gridroam.settings import Settings
from kit.access_token import Verifier
from marketplace.access.keys import KeyRing
from marketplace.access.model import KeyRules

AUDIENCE = "gridroam"
VERSION = "0.1.0"


class Worker(Protocol):
    def start(self) -> None: ...

    async def close(self) -> None: ...


class Assembly:
    """One hub being put together: what its parts share, and what is closed with it."""

    def __init__(
        self, settings: Settings, parts: Core, stack: AsyncExitStack, stopping: asyncio.Event
    ) -> None:
        assert settings.public_url is not None
        self.stopping = stopping
        self.settings = settings
        self.parts = parts
        self.stack = stack
        self.registry = CollectorRegistry()
        self.reports = SqlReports(parts.database, uuid4().hex)
        self.url = settings.public_url
        self.verifier = Verifier(self.url, AUDIENCE, parts.clock)
        self.ring = KeyRing(parts.box, KeyRules())
        self.front: ASGIApp | None = None

    async def whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The hub's own door, for a part that calls it like anybody."""
        assert self.front is not None, "charge points come when all of the hub is there"
        await self.front(scope, receive, send)

    def start(self, *workers: Worker) -> None:
        """What works beside the calls until the hub closes; the last that began ends first."""
        for worker in workers:
            worker.start()
            self.stack.push_async_callback(worker.close)


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    """Run a coroutine beside the block, and end it with the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
