"""NOTIFY, heard: all that a process listens to comes over one connection.

A connection for each that listens would be a dozen of each process of a hub, and at PostgreSQL each
is a process of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from kit.server_away import AWAY

AGAIN_S = 0.2


class Listener:
    """Payloads of one NOTIFY channel, in order; iterate it. An empty text stands for "look again".

    After a lost connection it listens anew and yields an empty text, since something may have been
    missed meanwhile.
    """

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.ready = asyncio.Event()
        self._payloads: asyncio.Queue[str] = asyncio.Queue()

    def listens(self) -> None:
        """From now on; whatever came before may have been missed."""
        self._payloads.put_nowait("")
        self.ready.set()

    async def take(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        self._payloads.put_nowait(str(payload))

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> str:
        return await self._payloads.get()


class Notices:
    """The connection is made for the first that listens, made again when it is lost, and closed
    with the last. Only the task that keeps it speaks over it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._listeners: list[Listener] = []
        self._changed = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[Listener]:
        listener = Listener(channel)
        self._listeners.append(listener)
        self._changed.set()
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())
        try:
            await listener.ready.wait()
            yield listener
        finally:
            self._listeners.remove(listener)
            self._changed.set()
            if not self._listeners:
                keeping, self._keeping = self._keeping, None
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            try:
                connection = await asyncpg.connect(self._url)
            except AWAY:
                await asyncio.sleep(AGAIN_S)
                continue
            try:
                await self._hear(connection)
            except AWAY:
                await asyncio.sleep(AGAIN_S)
            finally:
                with suppress(*AWAY):
                    await connection.close(timeout=1)

    async def _hear(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Listen for all that want to, until the connection is lost."""

        async def lost(_: Any) -> None:
            self._changed.set()

        connection.add_termination_listener(lost)
        heard: list[Listener] = []
        while not connection.is_closed():
            self._changed.clear()
            for one in [one for one in heard if one not in self._listeners]:
                heard.remove(one)
                await connection.remove_listener(one.channel, one.take)
            for one in [one for one in self._listeners if one not in heard]:
                heard.append(one)
                await connection.add_listener(one.channel, one.take)
                one.listens()
            await self._changed.wait()
