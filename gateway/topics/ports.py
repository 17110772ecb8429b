"""What topics need from elsewhere: the catalogue, the contracts, the log, and their own books."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from gateway.calls.model import Denial, Grant
from gateway.topics.model import (
    Draft,
    Event,
    EventId,
    Lag,
    Source,
    Subscription,
    Topic,
    Wish,
)
from roaming.party import PartyId


class Market(Protocol):
    """The catalogue and the contracts, in memory. No method may wait."""

    def topic(self, name: str) -> Topic | None: ...

    def grant(self, party: PartyId, topic: Topic, at: datetime) -> Grant | Denial: ...

    def age_s(self, now: datetime) -> float:
        """Seconds since they were last known to be current."""
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


class Subscriptions(Protocol):
    """The subscribers' own books."""

    async def find(self, party: PartyId, topic: str, name: str) -> Subscription | None: ...

    async def of(self, party: PartyId, topic: str) -> Sequence[Subscription]: ...

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
