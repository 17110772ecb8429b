"""A market that can be billed: contracts and usage in the real tables, and a clock to set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from documents.invoice import Business, Category, Kind, Vat
from gateway.packs.store import SqlSales
from gateway.usage.model import UsageRecord
from gateway.usage.sums import SqlSums
from gridroam.billing import PacksForBilling, UsageForBilling
from kit.database import Database
from kit.sortable_id import sortable_id
from marketplace.billing import flows
from marketplace.billing.model import Run
from marketplace.billing.ports import Found, House
from marketplace.billing.store import SqlBooks
from marketplace.contracts.model import Contract, agreed
from marketplace.contracts.store import SqlContracts
from marketplace.offerings.model import Audience, Offering, ServiceTerms, Status
from marketplace.offerings.store import SqlOfferings
from roaming.month import Month
from roaming.party import PartyId
from tests.documents.samples import BUYER, SELLER

HUB = PartyId("EU*GRD")
PROVIDER, REQUESTER = PartyId("FR*PD1"), PartyId("DE*XYZ")
MONTH = Month(2026, 10)
BEGINNING = datetime(2026, 8, 1, tzinfo=UTC)
VAT = Vat(Category.REVERSE_CHARGE, Decimal(0), "reverse-charge-service")


@dataclass(slots=True)
class Papers:
    """Everybody has told its business details, but for `silent`, and those of whom `since` says
    from when on they hold; VAT is as it is told."""

    silent: set[PartyId] = field(default_factory=set)
    since: dict[PartyId, datetime] = field(default_factory=dict)
    vat: Vat | None = VAT

    def business_at(self, party: PartyId, at: datetime) -> Business | None:
        if party in self.silent or at < self.since.get(party, at):
            return None
        known = BUYER if party.startswith("DE") else SELLER
        return replace(known, party=party, legal_name=f"{party} Ltd")

    def vat_of(self, seller: PartyId, buyer: PartyId, at: datetime) -> Vat | None:
        return self.vat


@dataclass(slots=True)
class Market:
    database: Database
    now: datetime = datetime(2026, 11, 3, 9, tzinfo=UTC)
    papers: Papers = field(default_factory=Papers)

    @property
    def house(self) -> House:
        return House(
            hub=HUB,
            books=SqlBooks(self.database),
            usage=UsageForBilling(SqlSums(self.database)),
            packs=PacksForBilling(SqlSales(self.database)),
            businesses=self.papers,
            taxes=self.papers,
            clock=lambda: self.now,
        )

    async def contract(
        self,
        terms: ServiceTerms,
        *,
        begins: datetime = BEGINNING,
        ends: datetime | None = None,
        provider: PartyId = PROVIDER,
        requester: PartyId = REQUESTER,
        service: str = "tariff-info",
        replaces: Contract | None = None,
    ) -> Contract:
        offering = Offering(
            offering_id=sortable_id(BEGINNING),
            service=service,
            major=1,
            provider=provider,
            terms=terms,
            audience=Audience.of_parties([requester]),
            valid_from=begins,
            valid_until=ends,
            status=Status.PUBLISHED,
            published_at=BEGINNING,
        )
        async with SqlOfferings(self.database).open() as stall:
            await stall.publish([offering], BEGINNING)
        made = agreed(sortable_id(BEGINNING), offering, requester, BEGINNING)
        if replaces is not None:
            made = replace(made, replaces=replaces.contract_id)
        async with SqlContracts(self.database).open() as desk:
            await desk.add([made], BEGINNING)
        return made

    async def calls(self, contract: Contract, at: datetime, count: int = 1, **changes: Any) -> None:
        """So many calls that cost money, one after the other within a second."""
        records = [
            UsageRecord(
                request_id=uuid4().hex,
                at=at + timedelta(microseconds=number),
                contract_id=contract.contract_id,
                requester=contract.requester,
                provider=contract.provider,
                service=contract.service,
                major=contract.major,
                operation="GET /",
                method="GET",
                status=200,
                duration_us=1_000,
                bytes_in=100,
                bytes_out=400,
                billable=True,
            )._replace(**changes)
            for number in range(count)
        ]
        async with self.database.hot() as connection:
            await connection.copy_records_to_table(
                "usage", schema_name="gateway", columns=UsageRecord._fields, records=records
            )

    async def bill(
        self, month: Month = MONTH, up_to: datetime | None = None, *, at_once: int = 500
    ) -> Run:
        begun = await flows.begin(month, up_to, HUB, house=self.house)
        return await flows.work(begun.run_id, "test", house=self.house, contracts_at_once=at_once)

    async def documents(self, seller: PartyId | None = None) -> list[Found]:
        async with self.house.books.open() as book:
            return list(
                await book.page(
                    seller, month=None, contract_id=None, counterparty=None, after=0, limit=1_000
                )
            )

    async def sums(self) -> Mapping[tuple[str | None, Month], int]:
        """What is on all documents, by contract and month."""
        found: dict[tuple[str | None, Month], int] = {}
        async with self.house.books.open() as book:
            for one in await self.documents():
                for line in await book.lines(one.invoice.number):
                    place = one.contract_id, line.month
                    found[place] = found.get(place, 0) + line.item.amount_minor
        return found


def plan(**raw: Any) -> ServiceTerms:
    return ServiceTerms.parse({"currency": "EUR", "plan": raw})


def day(number: int, month: int = 10, hour: int = 12) -> datetime:
    return datetime(2026, month, number, hour, tzinfo=UTC)


def signed_net(found: Found) -> int:
    net = found.invoice.net_minor
    return -net if found.invoice.kind is Kind.CREDIT_NOTE else net
