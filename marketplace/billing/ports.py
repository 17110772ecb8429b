"""What billing needs: the books, what was used and bought, who the two sides are, their VAT."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date as Day
from datetime import datetime
from typing import NamedTuple, Protocol

from documents.invoice import Business, Invoice, Kind, Vat, VatTotal
from kit.clock import Clock
from marketplace.billing.fees import Fee, Share
from marketplace.billing.model import Bought, Contract, Item, Run, Uninvoiced, Used
from marketplace.billing.papers import About, Issued, Left
from marketplace.billing.standing import Billed, Entry, Standing
from roaming.month import Month
from roaming.party import PartyId

MonthOf = tuple[str, Month]
"""A contract's month."""
Series = tuple[PartyId, int, Kind]


class Found(NamedTuple):
    """A document as it is kept, and how it stands. `position`: its place in the log."""

    position: int
    about: About
    contract_id: str | None
    run_id: str | None
    month: Month
    invoice: Invoice
    xml: bytes
    xml_sha256: bytes
    reason: str | None
    standing: Standing


class Recorded(NamedTuple):
    entry: Entry
    by: PartyId
    recorded_at: datetime


class Book(Protocol):
    """The books of billing, in one transaction."""

    async def lock(self) -> None:
        """Nobody else bills until this transaction ends."""
        ...

    # Runs

    async def open_run(self) -> Run | None: ...

    async def billed_up_to(self, months: Collection[Month]) -> Mapping[Month, datetime]:
        """Up to when months were billed by runs that are done; others are left out."""
        ...

    async def run(self, run_id: str) -> Run | None: ...

    async def runs(self, before: str | None, limit: int) -> Sequence[Run]:
        """The latest first."""
        ...

    async def begin(self, run: Run) -> None: ...

    async def advance(self, run: Run, now: datetime) -> None:
        """Keep how far a run has come; when it is done, tell of it."""
        ...

    async def lease(self, run_id: str, holder: str, until: datetime, now: datetime) -> bool:
        """Whether the run is the holder's to work on, until then."""
        ...

    async def by_quarter(self, run: Run) -> Sequence[str]:
        """The contracts whose use is wanted by quarters of an hour."""
        ...

    async def contracts(self, run: Run, limit: int) -> Sequence[Contract]:
        """The next contracts that can have anything to bill, by their ids."""
        ...

    async def contracts_of(self, party: PartyId, month: Month, now: datetime) -> Sequence[Contract]:
        """A party's own contracts that cost anything in a month."""
        ...

    async def taken(
        self, contract_ids: Collection[str], months: Collection[Month]
    ) -> Mapping[MonthOf, Mapping[str, Item]]:
        """What documents took for these contracts' months, by the keys of their lines."""
        ...

    async def left(
        self, contract_ids: Collection[str], months: Collection[Month]
    ) -> Mapping[str, Mapping[Month, Sequence[Left]]]:
        """What invoices have asked for these contracts' months and was not credited, the latest
        invoice first."""
        ...

    async def vat_credited(self, numbers: Collection[str]) -> Mapping[str, tuple[VatTotal, ...]]:
        """The VAT of all credit notes that these invoices have had."""
        ...

    # Documents

    async def take_numbers(self, wanted: Mapping[Series, int]) -> Mapping[Series, int]:
        """How many numbers of each series were given out before; as many as wanted are taken."""
        ...

    async def keep(self, issued: Sequence[Issued], xmls: Sequence[bytes], now: datetime) -> None:
        """Keep documents for good, with their XML, and tell of them in the log."""
        ...

    async def note_uninvoiced(
        self,
        contract_ids: Collection[str],
        months: Collection[Month],
        uninvoiced: Sequence[Uninvoiced],
    ) -> None:
        """What cannot be invoiced of these contracts, instead of what was noted of these months of
        theirs before."""
        ...

    async def note_unpaid_fee(
        self, seller: PartyId, buyer: PartyId, uninvoiced: Sequence[Uninvoiced]
    ) -> None:
        """The same of the marketplace's own fee."""
        ...

    async def uninvoiced(self, party: PartyId | None) -> Sequence[Uninvoiced]: ...

    async def find(self, number: str, party: PartyId | None, *, lock: bool = False) -> Found | None:
        """A document that `party` is the seller or the buyer of; None sees all."""
        ...

    async def page(
        self,
        party: PartyId | None,
        *,
        month: Month | None,
        contract_id: str | None,
        counterparty: PartyId | None,
        after: int,
        limit: int,
    ) -> Sequence[Found]:
        """Documents in the order in which they were issued."""
        ...

    async def lines(self, number: str) -> Sequence[Billed]: ...

    async def entries(self, number: str) -> Sequence[Recorded]: ...

    async def credit_notes(self, number: str) -> Sequence[str]:
        """The credit notes that correct an invoice."""
        ...

    async def record(
        self, found: Found, entry: Entry, by: PartyId, open_minor: int, now: datetime
    ) -> None: ...

    async def overdue(self, today: Day, after: int, limit: int) -> Sequence[tuple[Found, int]]:
        """Invoices past their day and not paid, with the reminders sent by now."""
        ...

    async def remind(self, found: Found, level: int, now: datetime) -> None: ...

    # Fees

    async def fees(self) -> Sequence[Fee]:
        """All that there ever were, in the order of telling."""
        ...

    async def add_fee(self, fee: Fee, by: PartyId, now: datetime) -> None: ...

    async def has_billed(self, month: Month) -> bool:
        """Whether any run has begun to bill a month."""
        ...

    async def share_of(self, number: str) -> Share | None: ...

    async def providers_with_fees(self, after: str, limit: int) -> Sequence[PartyId]:
        """Providers that have sold what no fee was invoiced for, in their order."""
        ...

    async def shares_due(self, provider: PartyId) -> Sequence[Share]: ...

    async def take_shares(self, numbers: Sequence[str], fee_number: str) -> None: ...


class Books(Protocol):
    def open(self) -> AbstractAsyncContextManager[Book]: ...


class Usage(Protocol):
    """What was called through the gateway and costs money; what was tried out is not among it."""

    async def add_up(
        self,
        run_id: str,
        months: Sequence[tuple[Month, datetime]],
        by_quarter: Sequence[str],
    ) -> None:
        """Add up each month until its cut-off, once for all that the run asks from here on."""
        ...

    async def of_run(
        self, run_id: str, contract_ids: Sequence[str]
    ) -> Mapping[str, Mapping[Month, Used]]: ...

    async def forget(self, run_id: str) -> None: ...

    async def now(
        self,
        contracts: Sequence[Contract],
        months: Sequence[tuple[Month, datetime]],
    ) -> Mapping[str, Mapping[Month, Used]]:
        """What was used of a few contracts by now."""
        ...


class Packs(Protocol):
    async def bought(
        self, contract_ids: Sequence[str], months: Sequence[tuple[Month, datetime]]
    ) -> Mapping[str, Mapping[Month, Bought]]: ...


class Businesses(Protocol):
    def business_at(self, party: PartyId, at: datetime) -> Business | None:
        """Who a party is on paper at a moment; None where it has not told."""
        ...


class Taxes(Protocol):
    def vat_of(self, seller: PartyId, buyer: PartyId, at: datetime) -> Vat | None:
        """The VAT of a service between businesses; None where no rule decides."""
        ...


@dataclass(frozen=True, slots=True)
class House:
    """All that billing goes by. `hub`: in whose name the marketplace's fee is."""

    hub: PartyId
    books: Books
    usage: Usage
    packs: Packs
    businesses: Businesses
    taxes: Taxes
    clock: Clock
