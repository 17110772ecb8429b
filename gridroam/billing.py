"""Billing, put together: what the marketplace asks the gateway and the clearing house for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from clearinghouse.tax.flows import treat
from clearinghouse.tax.model import Supply
from documents.invoice import Category, Vat
from gateway.packs.store import SqlSales
from gateway.usage.sums import SqlSums, Sum
from gridroam.answers import BusinessesForClearing, BusinessesForInvoicing
from gridroam.core import Core
from marketplace.billing.model import Bought, Contract, Used
from marketplace.billing.ports import House
from marketplace.billing.store import SqlBooks
from marketplace.business.book import BusinessBook
from marketplace.offerings.rating import Quarter
from roaming.month import Month
from roaming.party import PartyId


class UsageForBilling:
    """Usage as the gateway has recorded it, in the marketplace's words."""

    def __init__(self, sums: SqlSums) -> None:
        self._sums = sums

    async def add_up(
        self,
        run_id: str,
        months: Sequence[tuple[Month, datetime]],
        by_quarter: Sequence[str],
    ) -> None:
        spans = [(month.starts_at, until) for month, until in months]
        await self._sums.add_up(run_id, spans, by_quarter)

    async def of_run(
        self, run_id: str, contract_ids: Sequence[str]
    ) -> Mapping[str, Mapping[Month, Used]]:
        return _by_month(await self._sums.kept(run_id, contract_ids))

    async def forget(self, run_id: str) -> None:
        await self._sums.forget(run_id)

    async def now(
        self, contracts: Sequence[Contract], months: Sequence[tuple[Month, datetime]]
    ) -> Mapping[str, Mapping[Month, Used]]:
        every: defaultdict[str, list[str]] = defaultdict(list)
        by_quarter: defaultdict[str, list[str]] = defaultdict(list)
        for one in contracts:
            every[one.provider].append(one.contract_id)
            if one.by_quarter:
                by_quarter[one.provider].append(one.contract_id)
        found: list[Sum] = []
        for month, until in months:
            found += await self._sums.now(month.starts_at, until, every, by_quarter)
        return _by_month(found)


def _by_month(sums: Iterable[Sum]) -> dict[str, dict[Month, Used]]:
    quarters: defaultdict[tuple[str, Month], list[Quarter]] = defaultdict(list)
    whole: dict[tuple[str, Month], Sum] = {}
    for one in sums:
        place = one.contract_id, Month.of(one.begins_at)
        if one.quarter:
            quarters[place].append(Quarter(one.begins_at, one.calls, one.bytes, one.units))
        else:
            whole[place] = one
    found: defaultdict[str, dict[Month, Used]] = defaultdict(dict)
    for place, one in whole.items():
        contract_id, month = place
        found[contract_id][month] = Used(
            one.calls, one.bytes, one.units, tuple(quarters.get(place, ()))
        )
    return found


class PacksForBilling:
    """Packs that were bought, by the month of the purchase."""

    def __init__(self, sales: SqlSales) -> None:
        self._sales = sales

    async def bought(
        self, contract_ids: Sequence[str], months: Sequence[tuple[Month, datetime]]
    ) -> Mapping[str, Mapping[Month, Bought]]:
        found: defaultdict[str, dict[Month, Bought]] = defaultdict(dict)
        if contract_ids:
            for month, until in months:
                for sold in await self._sales.between(month.starts_at, until, contract_ids):
                    found[sold.contract_id][month] = Bought(sold.packs, sold.price_minor)
        return found


class TaxesForBilling:
    """The VAT of services between businesses, by the clearing house's rules."""

    def __init__(self, book: BusinessBook) -> None:
        self._businesses = BusinessesForClearing(book)

    def vat_of(self, seller: PartyId, buyer: PartyId, at: datetime) -> Vat | None:
        found = treat(self._businesses, seller, buyer, None, at, Supply.SERVICE)
        if found is None or found.category is None or found.percent is None:
            return None
        return Vat(
            Category(found.category.value),
            found.percent,
            found.rule,
            found.exemption_reason,
            found.vatex,
        )


def house(parts: Core) -> House:
    return House(
        hub=parts.hub,
        books=SqlBooks(parts.database),
        usage=UsageForBilling(SqlSums(parts.database)),
        packs=PacksForBilling(SqlSales(parts.database)),
        businesses=BusinessesForInvoicing(parts.businesses),
        taxes=TaxesForBilling(parts.businesses),
        clock=parts.clock,
    )
