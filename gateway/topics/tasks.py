"""The workers that send: one for each subscription with a webhook, so that none waits for another.

Of one party only a few send at once: a subscriber that hangs holds up its own subscriptions alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime

from gateway.topics.model import Source, Subscription
from gateway.topics.ports import CHANNEL, Subscriptions
from gateway.topics.sending import Post, send_next
from kit.database import Database
from kit.worker import Worker
from roaming.party import PartyId

MOST_OF_A_PARTY = 8
FIND_EVERY_S = 5.0
# The bell wakes a line when there is something; this is for a ring that was lost.
IDLE_S = 30.0
LAGS_EVERY_S = 15.0


class Deliverer:
    """Sends to every webhook there is, from `start` to `close`."""

    def __init__(self, database: Database, post: Post, subscriptions: Subscriptions) -> None:
        self._database = database
        self._post = post
        self._subscriptions = subscriptions
        self._lines: dict[str, _Line] = {}
        self._turns: dict[PartyId, asyncio.Semaphore] = {}
        self._finder = Worker("topics: find", self._find, idle_s=FIND_EVERY_S)
        self._lags = Worker("topics: lags", self._tell_lags, idle_s=LAGS_EVERY_S)
        self._listening: asyncio.Task[None] | None = None
        post.desk.bell.heard_by(self._heard)

    def start(self) -> None:
        self._finder.start()
        self._lags.start()
        self._listening = asyncio.create_task(self._listen(), name="topics: hear of subscribers")

    async def close(self) -> None:
        """Stop at once. What was under way is sent again, under its own ids, at the next start."""
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
        await self._finder.close()
        await self._lags.close()
        await asyncio.gather(*(line.worker.close() for line in self._lines.values()))

    def _heard(self, news: Collection[Source]) -> None:
        for line in self._lines.values():
            if line.source in news:
                line.worker.wake()

    async def _listen(self) -> None:
        async with self._database.listen(CHANNEL) as notices:
            async for subscription_id in notices:
                self._finder.wake()
                if subscription_id in self._lines:
                    self._lines[subscription_id].worker.wake()

    async def _find(self) -> bool:
        active = {one.subscription_id: one for one in await self._post.outbox.active()}
        for gone in self._lines.keys() - active.keys():
            await self._lines.pop(gone).worker.close()
        for new in active.keys() - self._lines.keys():
            turns = self._turns.setdefault(active[new].party, asyncio.Semaphore(MOST_OF_A_PARTY))
            self._lines[new] = _Line(active[new], self._post, turns)
            self._lines[new].worker.start()
        return False

    async def _tell_lags(self) -> bool:
        now, lags = self._post.desk.clock(), dict[str, float]()
        for one in await self._subscriptions.all():
            oldest_at = (await self._subscriptions.lag(one, 1)).oldest_at
            lag_s = 0.0 if oldest_at is None else (now - oldest_at).total_seconds()
            lags[one.topic] = max(lags.get(one.topic, 0.0), lag_s)
        self._post.desk.metrics.lags(lags)
        return False


class _Line:
    """One subscription's worker."""

    def __init__(self, subscription: Subscription, post: Post, turns: asyncio.Semaphore) -> None:
        self.source = subscription.source
        self._subscription_id = subscription.subscription_id
        self._post = post
        self._turns = turns
        self.worker = Worker(f"topics: {subscription.topic}", self._step, idle_s=IDLE_S)

    async def _step(self) -> bool:
        async with self._turns:
            step = await send_next(self._subscription_id, post=self._post, chance=random.random())
        if step.until is not None:
            self._wake_at(step.until)
        return step.more

    def _wake_at(self, moment: datetime) -> None:
        wait_s = (moment - self._post.desk.clock()).total_seconds()
        if wait_s < IDLE_S:
            asyncio.get_running_loop().call_later(max(wait_s, 0.01), self.worker.wake)
