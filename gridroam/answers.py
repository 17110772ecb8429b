"""The wings' questions to each other, each answered by a few lines that ask who knows.

What the gateway asks is in `gateway_answers.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date as Day
from datetime import datetime
from typing import Any

from clearinghouse.authorisation.services import Left
from clearinghouse.customers.model import CustomerContract
from clearinghouse.exchange import flows as exchange_flows
from clearinghouse.exchange.model import Exchange
from clearinghouse.exchange.ports import Books as ExchangeBooks
from clearinghouse.exposure.store import Holds
from clearinghouse.netting.store import SqlBooks as Clearings
from console.ports import Paid
from console.ports import Place as ShownPlace
from documents.invoice import Business
from kit.clock import Clock
from kit.database import Database
from marketplace.access import flows as access_flows
from marketplace.access.ports import Access
from marketplace.business.book import BusinessBook
from marketplace.business.model import BusinessDetails
from marketplace.contracts.book import ContractBook
from marketplace.contracts.entries import (
    RoamingAgreement,
)
from marketplace.offerings.coverage import Coverage, TariffGroup
from marketplace.partners import flows as partner_flows
from marketplace.partners.model import Endpoint, Purpose
from marketplace.partners.ports import Partners
from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.refusal import Unavailable
from roaming.tariff import Tariff
from search_evse.sites.store import EvseRegister


class AgreementInForce:
    """A roaming agreement, in the clearing house's words, as it prices at some charge points.

    Law: `at(evse_id)` is what every price there is reckoned by; `tariff` of the agreement itself is
    that of the charge points which no group of it covers.
    """

    __slots__ = ("_agreement", "_groups", "tariff", "tariff_group", "vat_percent")

    def __init__(
        self,
        agreement: RoamingAgreement,
        tariff: Mapping[str, Any],
        groups: Sequence[tuple[TariffGroup, Mapping[str, Any]]] = (),
    ) -> None:
        self._agreement = agreement
        self.tariff = tariff
        self.vat_percent = agreement.vat_percent
        self.tariff_group: str | None = None
        self._groups = tuple(
            (Coverage(group.evses), self._of_group(group, worded)) for group, worded in groups
        )

    @property
    def contract_id(self) -> str:
        return self._agreement.contract_id

    @property
    def currency(self) -> str:
        return self._agreement.currency

    @property
    def time_zone(self) -> str:
        return self._agreement.time_zone

    @property
    def clearing_group(self) -> str:
        return self._agreement.clearing_group

    def covers(self, evse_id: EvseId) -> bool:
        return self._agreement.covers(evse_id)

    def at(self, evse_id: EvseId) -> AgreementInForce:
        """The same, as it prices at this charge point."""
        for coverage, group in self._groups:
            if evse_id in coverage:
                return group
        return self

    def _of_group(self, group: TariffGroup, tariff: Mapping[str, Any]) -> AgreementInForce:
        worded = AgreementInForce(self._agreement, tariff)
        worded.vat_percent = group.vat_percent
        worded.tariff_group = group.name
        return worded


class AgreementsForClearing:
    """Roaming agreements out of the marketplace's book. Each is put into words once, and so is a
    tariff that many have agreed on."""

    MOST = 20_000

    def __init__(self, book: ContractBook) -> None:
        self._book = book
        self._worded: dict[int, tuple[RoamingAgreement, AgreementInForce]] = {}
        self._tariffs: dict[int, tuple[Tariff, Mapping[str, Any]]] = {}

    def between(self, operator: PartyId, evsp: PartyId, at: datetime) -> AgreementInForce | None:
        found = self._book.roaming(operator, evsp, at)
        if found is None:
            return None
        # The book hands out the same object for the same version of a contract.
        known = self._worded.get(id(found))
        if known is not None and known[0] is found:
            return known[1]
        if len(self._worded) >= self.MOST:
            self._worded.clear()
            self._tariffs.clear()
        groups = [(group, self._tariff(group.tariff)) for group in found.tariff_groups]
        worded = AgreementInForce(found, self._tariff(found.tariff), groups)
        self._worded[id(found)] = (found, worded)
        return worded

    def partners(self, operator: PartyId, at: datetime) -> Collection[PartyId]:
        return self._book.roaming_partners(operator, at)

    def _tariff(self, tariff: Tariff) -> Mapping[str, Any]:
        known = self._tariffs.get(id(tariff))
        if known is None:
            known = self._tariffs[id(tariff)] = (tariff, tariff.to_json())
        return known[1]


class TermsForSettling:
    """When the parties of a roaming agreement pay, out of the marketplace's book."""

    def __init__(self, book: ContractBook) -> None:
        self._book = book

    def days_to_pay(self, creditor: PartyId, debtor: PartyId, at: datetime) -> int | None:
        found = self._book.roaming(creditor, debtor, at)
        return None if found is None else found.payment_terms_days


class RatesForSettling:
    """Exchange rates as they were published, out of the clearing house's own keeping."""

    def __init__(self, books: ExchangeBooks) -> None:
        self._books = books

    async def find(self, currency: str, into: str, on: Day) -> Exchange:
        return await exchange_flows.find(currency, into, on, books=self._books)


class BusinessesForClearing:
    """Who a party is on paper at a moment, out of the marketplace's memory."""

    def __init__(self, book: BusinessBook) -> None:
        self._book = book

    def details_at(self, party: PartyId, at: datetime) -> BusinessDetails | None:
        return self._book.details_at(party, at)


class BusinessesForInvoicing:
    """The same, as it stands on an invoice."""

    def __init__(self, book: BusinessBook) -> None:
        self._book = book

    def business_at(self, party: PartyId, at: datetime) -> Business | None:
        found = self._book.details_at(party, at)
        if found is None:
            return None
        return Business(
            party=party,
            legal_name=found.legal_name,
            street=found.street,
            postcode=found.postal_code,
            city=found.city,
            country=found.country,
            vat_id=found.vat_id,
            tax_id=found.tax_id,
            iban=found.iban,
            bic=found.bic,
            email=found.invoice_email,
        )


class AgreementsForOfflineLists:
    """Roaming agreements about all of an operator's charge points: a list knows no place."""

    def __init__(self, book: ContractBook) -> None:
        self._book = book

    def partners(self, operator: PartyId, at: datetime) -> Mapping[PartyId, datetime | None]:
        found = {}
        for evsp in self._book.roaming_partners(operator, at):
            agreement = self._book.roaming(operator, evsp, at)
            if agreement is not None and agreement.coverage.whole:
                found[evsp] = agreement.valid_until
        return found


class SpendingForAuthorisation:
    """What a customer may still spend, out of its limits, its records and what is held for it."""

    def __init__(self, database: Database, holds: Holds, clock: Clock) -> None:
        self._database = database
        self._holds = holds
        self._clock = clock

    async def left(self, contract: CustomerContract, at: datetime) -> Left | None:
        limits = contract.limits
        if limits is None:
            return None
        async with self._database.hot() as connection:
            spent = await self._holds.spending(
                connection, contract.contract_id, limits, at, self._clock()
            )
        today, month = (None, None) if spent is None else spent.left_of(limits)
        lefts = [one for one in (limits.per_charge_minor, today, month) if one is not None]
        return Left(limits.currency, min(lefts, default=None), today, month)


class EvsesForClearing:
    """Charge points out of Search EVSE's register."""

    def __init__(self, register: EvseRegister) -> None:
        self._register = register

    async def find(self, evse_id: EvseId) -> tuple[PartyId, str | None] | None:
        found = await self._register.find(evse_id)
        return None if found is None else (found.operator, found.time_zone)

    async def find_many(
        self, evse_ids: Collection[EvseId]
    ) -> Mapping[EvseId, tuple[PartyId, str | None, int | None, str | None]]:
        found = await self._register.find_all(evse_ids)
        return {
            evse_id: (one.operator, one.time_zone, one.max_power_w, one.country)
            for evse_id, one in found.items()
        }


class EndpointsOfPartners:
    """Where partners are called, as they have said themselves."""

    def __init__(self, partners: Partners) -> None:
        self._partners = partners

    async def of(self, party: PartyId, purpose: str) -> Endpoint | None:
        return await partner_flows.endpoint_to_call(self._partners, party, Purpose(purpose))

    async def of_many(
        self, parties: Collection[PartyId], purpose: str
    ) -> Mapping[PartyId, Endpoint]:
        return await partner_flows.endpoints_to_call(self._partners, parties, Purpose(purpose))


class KeyClients:
    """The central system's clients at the hub in this process: each operator's own key."""

    def __init__(self, access: Access, clock: Clock) -> None:
        self._access = access
        self._clock = clock

    async def ensure(self, operator: PartyId, public_jwk: Mapping[str, Any]) -> str:
        client = await access_flows.add_key_client(
            self._access, operator, operator, {"keys": [public_jwk]}, self._clock()
        )
        return client.client_id


class ClientsByHand:
    """At a hub elsewhere an operator registers the key itself, and tells us the client id."""

    async def ensure(self, operator: PartyId, public_jwk: Mapping[str, Any]) -> str:
        raise Unavailable(
            f"the hub does not know the key of {operator} yet",
            rule=f"gridroam operator-key {operator} shows it, and says what to do with it",
        )


class DirectoryForConsole:
    """Every partner's name."""

    def __init__(self, partners: Partners) -> None:
        self._partners = partners

    async def names(self) -> dict[str, str]:
        names: dict[str, str] = {}
        after: PartyId | None = None
        while page := await partner_flows.page(self._partners, after, 1000):
            names |= {partner.party: partner.name for partner in page}
            after = page[-1].party
        return names


class MapForConsole:
    """Where the charge points are."""

    def __init__(self, register: EvseRegister) -> None:
        self._register = register

    async def places(self, limit: int) -> Sequence[ShownPlace]:
        return [
            ShownPlace(
                place.evse_id, place.operator, place.latitude, place.longitude, place.time_zone
            )
            for place in await self._register.all_places(limit)
        ]


class ClearingsForConsole:
    """What a clearing run came to."""

    def __init__(self, books: Clearings) -> None:
        self._books = books

    async def payments(self, run_id: str) -> Sequence[Paid]:
        async with self._books.open() as book:
            run = await book.find(run_id)
        if run is None:
            return []
        return [
            Paid(payment.payer, payment.payee, run.currency, payment.amount_minor)
            for payment in run.clearing.payments
        ]
