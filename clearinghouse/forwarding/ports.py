"""What forwarding asks of the outside world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from clearinghouse.forwarding.model import (
    Acknowledged,
    Carried,
    Channel,
    DeadLetter,
    Delivery,
    DeliveryState,
    Nothing,
    Place,
    Preference,
    Reply,
    SftpPlace,
    Trace,
)
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


class FileSender(Protocol):
    async def send(self, place: SftpPlace, private_key: bytes, delivery: Delivery) -> Reply:
        """One attempt, within a bounded time. Never raises for what a partner does."""


class Senders(Protocol):
    """One for each channel."""

    @property
    def http(self) -> Sender: ...
    @property
    def soap(self) -> Sender: ...
    @property
    def sftp(self) -> FileSender: ...


class Preferences(Protocol):
    async def of(self, evsp: PartyId) -> Preference:
        """How an EVSP wants its records; at once over HTTP where it has not said."""

    async def keep(self, evsp: PartyId, preference: Preference) -> Preference:
        """Keep a wish, and wake whoever forwards. The same wish again changes nothing."""

    async def public_key(self, evsp: PartyId) -> str | None:
        """The hub's key for this EVSP's files, to be authorised there; None before any is made."""

    async def private_key(self, evsp: PartyId) -> bytes:
        """The other half, made with the first wish for files."""


class Outbox(Protocol):
    async def evsps(self) -> Sequence[PartyId]:
        """All EVSPs that records have been booked for."""

    async def next(
        self,
        evsp: PartyId,
        *,
        holder: str,
        most: int,
        now: datetime,
        preference: Preference = ...,
    ) -> Delivery | Nothing:
        """What is to be sent next: what was begun and not finished, else the next records.

        With a cadence, the next records are those of the run that is due: all that had been booked
        when it began, in as many deliveries as it takes.

        Kept before it is returned, so that it is the same after a crash. One holder at a time
        gets anything; it stays the holder for a minute after it last asked, or until its session
        with the database (what stands before the slash in `holder`) has ended.
        """

    async def delivered(
        self, delivery: Delivery, now: datetime, reply: Reply | None = None, channel: Channel = ...
    ) -> None:
        """It has arrived: the EVSP's cursor moves on, and the proof is kept."""

    async def failed(self, delivery: Delivery, says: str, again_at: datetime | None = None) -> None:
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

    async def ask_replays(
        self, evsp: PartyId, dead_letter_ids: Sequence[int] | None, now: datetime
    ) -> int:
        """Send these again, or all; how many were not on their way already."""

    async def acknowledge(self, evsp: PartyId, up_to: Place, now: datetime) -> Acknowledged:
        """An EVSP that fetches its records has received all up to a place."""

    async def state(self, evsp: PartyId) -> DeliveryState:
        """How the line to an EVSP stands."""

    async def traces(self, keys: Sequence[tuple[PartyId, str]]) -> Sequence[Trace]:
        """Where these records are, in the same order, whosever they are."""

    async def carried(
        self, *, evsp: PartyId | None, operator: PartyId | None, after: Place, limit: int
    ) -> tuple[Sequence[Carried], Place]:
        """Deliveries that have arrived behind a place in the log, and the place to go on from.

        To an EVSP: all of them. For an operator: those with records of its own in them.
        """

    async def delivered_count(self) -> int:
        """How many records have reached their EVSPs."""

    async def undelivered(self) -> Mapping[PartyId, int]:
        """How many records of each EVSP are on their way; those with none are left out."""
