"""What messages need: themselves kept, where a party is called, and something that calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from marketplace.messages.model import Message, Reply, State, Way
from roaming.party import PartyId

CHANNEL = "messages"
"""Where it is told that a party has something to be sent, by its id."""


class Outbox(Protocol):
    """Messages; each method is a transaction."""

    async def parties(self, now: datetime) -> Sequence[PartyId]:
        """Those that have an endpoint, and something to be sent to it now."""
        ...

    async def next(self, party: PartyId, *, holder: str, now: datetime) -> Message | None:
        """What is to be sent next, and nobody else sends it meanwhile."""
        ...

    async def acknowledged(self, message: Message, *, holder: str, now: datetime) -> None: ...

    async def wait(
        self, message: Message, reply: Reply, again_at: datetime, *, holder: str, now: datetime
    ) -> None:
        """It failed, and all of the party's that waits is tried no sooner than `again_at`."""
        ...

    async def bury(self, message: Message, reply: Reply, *, holder: str, now: datetime) -> None: ...

    async def find(self, party: PartyId, message_id: str) -> Message | None: ...

    async def page(
        self,
        party: PartyId,
        *,
        state: State | None,
        subject: str | None,
        after: int,
        limit: int,
    ) -> Sequence[Message]:
        """Oldest first."""
        ...

    async def settle(self, message: Message, way: Way, now: datetime) -> None: ...

    async def send_again(self, message: Message, now: datetime) -> None: ...


class Endpoint(Protocol):
    """Where a party is called, and the headers that go along."""

    @property
    def url(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]: ...


class Endpoints(Protocol):
    async def of(self, party: PartyId, purpose: str) -> Endpoint | None: ...


class Sender(Protocol):
    async def send(self, endpoint: Endpoint, message: Message) -> Reply: ...
