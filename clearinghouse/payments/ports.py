"""What payments ask of the outside world."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

from clearinghouse.payments.model import EntryKey, Level, Match, Reminder
from documents.invoice import Business
from roaming.party import PartyId


class Businesses(Protocol):
    def business_at(self, party: PartyId, at: datetime) -> Business | None:
        """Who a party is on paper at a moment, with its bank account."""


class Unapplied(NamedTuple):
    """A matched entry that its payment has not been told of yet."""

    key: EntryKey
    reference: str
    currency: str
    amount_minor: int
    booked_at: datetime


class Book(Protocol):
    async def seen(self, account: str, statement_id: str) -> Collection[EntryKey]:
        """The entries of a bank statement that were read before."""

    async def keep(self, owner: PartyId, matches: Sequence[Match], now: datetime) -> None:
        """Keep what the entries were found to be; an entry that is there already stays."""

    async def unapplied(self) -> Sequence[Unapplied]:
        """Matched entries whose payments have not been told of them, oldest first."""

    async def told_from_elsewhere(self, reference: str, account: str) -> bool:
        """Whether entries of another account have told of this payment, and were heard."""

    async def applied(self, key: EntryKey, now: datetime, refused: str | None) -> None: ...

    async def reminded(self, references: Sequence[str]) -> Mapping[str, Collection[Level]]:
        """The levels at which these payments have been reminded of."""

    async def keep_reminders(self, reminders: Sequence[Reminder], now: datetime) -> int:
        """Keep them and tell of them in the log; how many were new."""

    async def reminders(self, party: PartyId | None, limit: int) -> Sequence[Reminder]:
        """The latest reminders to or for a party (None: all), newest first."""

    async def reminder(
        self, reference: str, level: Level, party: PartyId | None
    ) -> Reminder | None: ...


class Books(Protocol):
    def open(self) -> AbstractAsyncContextManager[Book]: ...
