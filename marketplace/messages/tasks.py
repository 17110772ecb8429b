"""The workers that send: one for each party with something to be sent, so that none waits for
another."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from kit.database import Database
from kit.worker import Worker
from marketplace.messages import flows
from marketplace.messages.flows import Post
from marketplace.messages.ports import CHANNEL
from roaming.party import PartyId


class Courier:
    """Sends to every party that has an endpoint, from `start` to `close`.

    `idle_s`: how often to look without being woken, for what is due again, a notice that was lost
    or an endpoint that has been given meanwhile.
    """

    def __init__(self, database: Database, post: Post, *, idle_s: float = 1.0) -> None:
        self._database = database
        self._post = post
        self._lines: dict[PartyId, asyncio.Task[None]] = {}
        self._finder = Worker("messages: find", self._find, idle_s=idle_s)
        self._listening: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._finder.start()
        self._listening = asyncio.create_task(self._listen(), name="messages: listen")

    async def close(self) -> None:
        """Stop at once. What was under way is sent again, under its own id, at the next start."""
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
        await self._finder.close()
        for line in self._lines.values():
            line.cancel()
        await asyncio.gather(*self._lines.values(), return_exceptions=True)

    async def _listen(self) -> None:
        async with self._database.listen(CHANNEL) as notices:
            async for _ in notices:
                self._finder.wake()

    async def _find(self) -> bool:
        self._lines = {party: line for party, line in self._lines.items() if not line.done()}
        for party in await self._post.outbox.parties(self._post.clock()):
            if party not in self._lines:
                name = f"messages: {party}"
                self._lines[party] = asyncio.create_task(self._send_all(party), name=name)
        return False

    async def _send_all(self, party: PartyId) -> None:
        """All that can be sent now; what comes meanwhile is found by the finder again."""
        while await flows.send_next(party, post=self._post, chance=random.random()):
            pass
        self._finder.wake()
