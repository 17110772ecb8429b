"""What invoicing asks of the outside world."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

from clearinghouse.invoicing.model import Dealing, Drafted, Issued, Uninvoiced
from clearinghouse.periods.model import Month
from documents.invoice import Business, Invoice, Kind, Preceding
from roaming.party import PartyId


class Businesses(Protocol):
    def business_at(self, party: PartyId, at: datetime) -> Business | None:
        """Who a party is on paper at a moment; None where it has not told."""


class Closing(Protocol):
    """A month that takes no more charges, in the transaction that closes it."""

    async def lines(self, month: Month) -> Sequence[tuple[Dealing, Drafted]]:
        """What was charged and taken back in the month, each record once and by its sum."""

    async def invoices_of(
        self, wanted: Sequence[tuple[Dealing, str]]
    ) -> dict[tuple[Dealing, str], list[Preceding]]:
        """The invoices of earlier months, by dealing and month."""

    async def take_numbers(
        self, wanted: dict[tuple[PartyId, int, Kind], int]
    ) -> dict[tuple[PartyId, int, Kind], int]:
        """How many numbers of each series were given out before; as many as wanted are taken."""

    async def keep(
        self,
        issued: Sequence[Issued],
        uninvoiced: Sequence[Uninvoiced],
        month: Month,
        now: datetime,
    ) -> None:
        """Keep them for good, tell them in the log, and post what VAT was rounded by."""


class Found(NamedTuple):
    """An invoice as it is kept. `position`: its place in the log, by which lists go on."""

    position: int
    period_id: str
    clearing_group: str
    invoice: Invoice
    xml: bytes
    xml_sha256: bytes


class Book(Protocol):
    async def find(self, number: str, party: PartyId | None) -> Found | None:
        """An invoice that `party` is the seller or buyer of; None sees all."""

    async def page(
        self, party: PartyId | None, period_id: str | None, after: int, limit: int
    ) -> Sequence[Found]:
        """Invoices in the order in which they were issued."""

    async def count(self, period_id: str) -> int:
        """How many invoices and credit notes a month has."""

    async def uninvoiced(
        self, party: PartyId | None, period_id: str | None
    ) -> Sequence[Uninvoiced]: ...


class Books(Protocol):
    def read(self) -> AbstractAsyncContextManager[Book]: ...
