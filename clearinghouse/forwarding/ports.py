"""What forwarding asks of the outside world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from clearinghouse.forwarding.model import DeadLetter, Delivery, Nothing, Reply
from roaming.party import PartyId

PURPOSE = "cdrs"


class Endpoint(Protocol):
    """Where a partner is called; `headers` go along and may hold secrets."""

    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


class Endpoints(Protocol):
    async def of(self, party: PartyId, purpose: str) -> Endpoint | None:
        """Where a partner wants to be called for `purpose` ("cdrs").

        None: the partner fetches its records itself.
        """


class Sender(Protocol):
    async def send(self, endpoint: Endpoint, delivery: Delivery) -> Reply:
        """One attempt, within a bounded time. Never raises for what a partner does."""


class Outbox(Protocol):
    async def evsps(self) -> Sequence[PartyId]:
        """All EVSPs that records have been booked for."""

    async def next(
        self, evsp: PartyId, *, holder: str, most: int, now: datetime
    ) -> Delivery | Nothing:
        """What is to be sent next: what was begun and not finished, else the next records.

        Kept before it is returned, so that it is the same after a crash. One holder at a time
        gets anything; it stays the holder for a minute after it last asked, or until its session
        with the database (what stands before the slash in `holder`) has ended.
        """

    async def delivered(self, delivery: Delivery, now: datetime) -> None:
        """It has arrived: the EVSP's cursor moves on."""

    async def failed(self, delivery: Delivery, says: str) -> None:
        """It has not arrived, and will be tried again."""

    async def split(self, delivery: Delivery) -> None:
        """Its records will be sent one by one, to find the one that is refused."""

    async def bury(self, delivery: Delivery, reply: Reply, now: datetime) -> None:
        """Its one record is refused: it becomes a dead letter, and the cursor moves on."""

    async def dead_letters(
        self, evsp: PartyId, *, after: int, limit: int
    ) -> Sequence[DeadLetter]: ...

    async def ask_replay(
        self, evsp: PartyId, dead_letter_id: int, now: datetime
    ) -> DeadLetter | None:
        """Send a dead letter again, as soon as may be; None where the EVSP has no such one."""

    async def delivered_count(self) -> int:
        """How many records have reached their EVSPs."""

    async def undelivered(self) -> Mapping[PartyId, int]:
        """How many records of each EVSP are on their way; those with none are left out."""
