"""What settling asks of the outside world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date as Day
from datetime import datetime
from typing import NamedTuple, Protocol

from clearinghouse.exchange.model import Exchange
from clearinghouse.ledger.model import Entry, Kind
from clearinghouse.periods.model import Month, Period
from clearinghouse.settling.default import Correction
from clearinghouse.settling.model import PairTotal, Payment, PaymentState, Receipt, Settlement
from clearinghouse.settling.setoff import Paper
from kit.event_log import NewEvent
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class ToPost:
    """What is to be posted, and the event that tells of it."""

    kind: Kind
    event: NewEvent
    entries: Sequence[Entry]


class After(NamedTuple):
    """Where a page of payments goes on: behind this one."""

    due_on: Day
    payment_id: str


class Book(Protocol):
    """One open transaction. Leaving it commits; an exception undoes it."""

    async def period(self, month: Month) -> Period: ...

    async def pair_totals(self, month: Month) -> Sequence[PairTotal]:
        """What is left of the month on the accounts of charges, fees and their VAT, by pair."""

    async def unsettled(self, month: Month) -> int:
        """How many accounts of charges, fees and their VAT would have something left of the month
        when what is kept as its pairs is taken back. Zero, in a sound ledger."""

    async def keep_settled(
        self, period: Period, settlements: Sequence[Settlement], now: datetime
    ) -> None: ...

    async def post(self, postings: Sequence[ToPost], value_at: datetime, now: datetime) -> None:
        """Write postings of the hub's book, with their events."""

    async def tell(self, events: Sequence[NewEvent]) -> None: ...

    async def settlements(self, month: Month, party: PartyId | None) -> Sequence[Settlement]:
        """A settled month, by group and currency; of a party, its own pairs and payments only."""

    async def papers(self, month: Month, party: PartyId) -> Sequence[Paper]:
        """The month's invoices and credit notes that a party has written or got."""

    async def payments(
        self,
        party: PartyId | None,
        *,
        month: Month | None,
        state: PaymentState | None,
        after: After | None,
        limit: int,
    ) -> Sequence[Payment]:
        """Payments that a party makes or gets (None: all), by the day that they are due."""

    async def payment(self, payment_id: str) -> Payment | None:
        """A payment that nobody else changes until the transaction ends."""

    async def receipt(self, payment_id: str, source: str) -> Receipt | None: ...

    async def has_defaulted(self, payment: Payment) -> bool:
        """Whether its payer has defaulted on the settlement that it is of."""

    async def keep_receipt(self, receipt: Receipt, payment: Payment, now: datetime) -> None: ...

    async def keep_payment(self, payment: Payment, now: datetime) -> None:
        """Its state."""

    async def collateral(self, party: PartyId, hub: PartyId) -> Mapping[str, int]:
        """What the hub holds of the party, by currency."""

    async def keep_correction(self, correction: Correction, now: datetime) -> None: ...

    async def value_at(self, at: datetime) -> datetime:
        """The value date of something that happens now: in a month that is open."""


class Books(Protocol):
    def read(self) -> AbstractAsyncContextManager[Book]: ...

    def settling(self, month: Month) -> AbstractAsyncContextManager[Book]:
        """For who settles this month; a second one waits."""

    def correcting(self, month: Month) -> AbstractAsyncContextManager[Book]:
        """For who corrects its settlement: nothing is paid of it meanwhile."""

    def write(self) -> AbstractAsyncContextManager[Book]:
        """For who posts about a payment: no month is closed meanwhile. Look at the payment first,
        then ask for the value date: in this order everybody waits."""


class Terms(Protocol):
    def days_to_pay(self, creditor: PartyId, debtor: PartyId, at: datetime) -> int | None:
        """The payment terms of their roaming agreement, where they have one."""


class Rates(Protocol):
    async def find(self, currency: str, into: str, on: Day) -> Exchange:
        """By which published rate that day. Raises exchange.model.NoRate."""
