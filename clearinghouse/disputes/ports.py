"""What disputes ask of the outside world."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from clearinghouse.cdrs.model import Cdr
from clearinghouse.disputes.model import Dispute, State
from kit.event_log import NewEvent
from roaming.party import PartyId


class Book(Protocol):
    """Disputes about one operator's records, in one open transaction."""

    async def cdr(self, cdr_id: str) -> Cdr | None:
        """The operator's booked record of this id."""

    async def running(self, cdr_id: str) -> Dispute | None:
        """The dispute about a record that nobody has had the last word in."""

    async def find(self, dispute_id: str) -> Dispute | None: ...

    async def value_date(self, at: datetime) -> datetime:
        """Where an amount of `at` is posted now: in its own month, while that is open."""

    async def open(self, dispute: Dispute, cdr: Cdr, events: Sequence[NewEvent]) -> None:
        """Keep a new dispute, its record declined, its amount held. One event for each side."""

    async def go_on(self, dispute: Dispute, events: Sequence[NewEvent]) -> None:
        """Keep a dispute that goes on."""

    async def release(
        self, dispute: Dispute, cdr: Cdr, value_at: datetime, events: Sequence[NewEvent]
    ) -> None:
        """Keep a dispute that is over, its record approved, its amount back."""

    async def credit(
        self, dispute: Dispute, cdr: Cdr, credit: Cdr, event: NewEvent, events: Sequence[NewEvent]
    ) -> None:
        """Keep a dispute that is over, its record credited by `credit`, of which `event` tells."""


class Books(Protocol):
    def write(self, operator: PartyId) -> AbstractAsyncContextManager[Book]:
        """Nobody else writes records of this operator meanwhile, and no month is closed."""

    async def of(self, dispute_id: str) -> Dispute | None: ...

    async def page(
        self, party: PartyId | None, *, state: State | None, after: str, limit: int
    ) -> Sequence[Dispute]:
        """A party's disputes by their ids, which is by time; `party` None: everybody's."""

    async def due(self, now: datetime, limit: int) -> Sequence[Dispute]:
        """Disputes in which whose turn it is has had its time."""
