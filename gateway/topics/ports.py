"""What topics need from elsewhere: the catalogue, the contracts, the log, and their own books."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from gateway.calls.model import Denial, Grant
from gateway.topics.model import (
    DeadLetter,
    Delivery,
    Draft,
    Event,
    EventId,
    Lag,
    Nothing,
    Paused,
    Reply,
    Source,
    Subscription,
    Topic,
    Wish,
)
from roaming.party import PartyId

CHANNEL = "topic_subscriptions"
"""Where it is told that a subscription has changed, by its id."""


class Market(Protocol):
    """The catalogue and the contracts, in memory. No method may wait."""

    def topic(self, name: str) -> Topic | None: ...

    def grant(self, party: PartyId, topic: Topic, at: datetime) -> Grant | Denial: ...

    def age_s(self, now: datetime) -> float:
        """Seconds since they were last known to be current."""
        ...

    @property
    def oldest_s(self) -> float:
        """What is older than this is not gone by."""
        ...


class Log(Protocol):
    """The log, as topics read and write it."""

    async def publish(
        self, topic: str, provider: PartyId, drafts: Sequence[Draft]
    ) -> Sequence[EventId]:
        """Durable when it returns, all or none."""
        ...

    async def read(
        self, source: Source, after: EventId, *, limit: int, most_bytes: int
    ) -> Sequence[Event]:
        """The next events in the order of the log; never past one that a slow writer may add."""
        ...

    async def newest(self) -> EventId:
        """A place behind everything that could be read now."""
        ...


class Evses(Protocol):
    async def hidden(self, evse_ids: Collection[str]) -> Collection[str]:
        """Those of these charge points that their operators do not publish now."""
        ...


class Subscriptions(Protocol):
    """The subscribers' own books."""

    async def find(self, party: PartyId, topic: str, name: str) -> Subscription | None: ...

    async def of(self, party: PartyId, topic: str) -> Sequence[Subscription]: ...

    async def all(self) -> Sequence[Subscription]:
        """Of everybody, some thousands at most."""
        ...

    async def keep(
        self, party: PartyId, topic: str, name: str, wish: Wish, start: EventId, now: datetime
    ) -> tuple[Subscription, bool]:
        """As wished, and whether it is new: then it begins at `start`. It is not paused after
        this. Raises TooManySubscriptions."""
        ...

    async def end(self, subscription: Subscription, now: datetime) -> None: ...

    async def move(self, subscription: Subscription, to: EventId) -> EventId:
        """The cursor after this: never back."""
        ...

    async def lag(self, subscription: Subscription, most: int) -> Lag: ...


class Outbox(Protocol):
    """What goes to webhooks. What ends a delivery does nothing where another process has taken the
    subscription over, or nobody subscribes any more."""

    async def active(self) -> Sequence[Subscription]:
        """Those with a webhook that are not paused."""
        ...

    async def look(self, subscription_id: str) -> Subscription | None:
        """It, where it is one of those."""
        ...

    async def next(
        self, subscription: Subscription, *, holder: str, now: datetime
    ) -> Delivery | Nothing:
        """What is to be sent now: the caller alone sends it, for as long as it goes on asking."""
        ...

    async def delivered(self, delivery: Delivery, *, holder: str, now: datetime) -> None: ...

    async def one_by_one(self, delivery: Delivery, *, holder: str) -> None:
        """One of these was not taken: they go on one by one."""
        ...

    async def hold(
        self, delivery: Delivery, says: str, again_at: datetime, *, holder: str, now: datetime
    ) -> None:
        """This event is tried again; its stream waits for it, and other streams go on."""
        ...

    async def bury(
        self, delivery: Delivery, reply: Reply, *, holder: str, now: datetime
    ) -> None: ...

    async def failed(
        self, subscription: Subscription, says: str, again_at: datetime, *, now: datetime
    ) -> None:
        """Nothing is sent before then."""
        ...

    async def pause(
        self, subscription: Subscription, why: Paused, says: str, *, now: datetime
    ) -> None: ...

    async def dead_letters(
        self, subscription: Subscription, *, after: EventId, limit: int
    ) -> Sequence[DeadLetter]: ...

    async def ask_replay(
        self, subscription: Subscription, ids: Sequence[EventId] | None, now: datetime
    ) -> int:
        """Have these sent again, or all; how many are sent again that were not yet to be."""
        ...


class Sender(Protocol):
    async def send(self, url: str, content: bytes) -> Reply:
        """POST it, signed. Whatever goes wrong is a reply, too."""
        ...
