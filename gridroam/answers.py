"""The wings' questions to each other, each answered by a few lines that ask who knows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date as Day
from datetime import datetime
from typing import Any, NamedTuple

from bridge.document import Document
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
from gateway.calls.endpoints import ServiceEndpoints
from gateway.calls.model import (
    ContentMap,
    Denial,
    Grant,
    Mode,
    Naming,
    Quota,
    Reason,
    Service,
    Speaks,
)
from gateway.calls.paths import OperationPaths, Operations, covers
from gateway.health.model import Failed, Report, spread_of
from gateway.health.model import Place as PlaceOfEndpoint
from gateway.health.model import State as HealthState
from gateway.health.ports import Listed, Seen
from gateway.packs.model import Bargain, Pack
from kit.clock import Clock
from kit.database import Database
from kit.secrets import SecretBox
from marketplace.access import flows as access_flows
from marketplace.access.ports import Access
from marketplace.business.book import BusinessBook
from marketplace.business.model import BusinessDetails
from marketplace.contracts import flows as contract_flows
from marketplace.contracts.book import ContractBook
from marketplace.contracts.entries import (
    ContractInForce,
    NotInForce,
    RoamingAgreement,
    ServiceEntry,
)
from marketplace.contracts.model import Absence, absence
from marketplace.contracts.ports import Contracts
from marketplace.offerings.coverage import Coverage, TariffGroup
from marketplace.offerings.model import ServiceTerms
from marketplace.partners import flows as partner_flows
from marketplace.partners.model import Endpoint, Purpose
from marketplace.partners.ports import Partners
from marketplace.services.login import Login, unseal
from marketplace.services.model import Environment, Protocol
from marketplace.services.model import Service as CatalogueEntry
from marketplace.services.ports import Catalogue
from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.refusal import Unavailable
from roaming.tariff import Tariff
from search_evse.sites.store import EvseRegister

REASONS = {
    Absence.NO_CONTRACT: Reason.NO_CONTRACT,
    Absence.NOT_YET_VALID: Reason.NOT_YET_VALID,
    Absence.EXPIRED: Reason.CONTRACT_EXPIRED,
    Absence.TERMINATED: Reason.CONTRACT_TERMINATED,
    Absence.SUSPENDED: Reason.CONTRACT_SUSPENDED,
    Absence.PARTNER_SUSPENDED: Reason.PARTNER_SUSPENDED,
    Absence.PARTNER_LEFT: Reason.PARTNER_LEFT,
}
assert REASONS.keys() == set(Absence)


class _Allowed(NamedTuple):
    """What a contract in force allows, from `holds_from` until just before `holds_until`."""

    grant: Grant
    operations: Sequence[str]
    holds_from: datetime
    holds_until: datetime | None


def _service(entry: ServiceEntry) -> Service:
    """A catalogue entry in the gateway's words."""
    more = entry.more_endpoints
    handling = entry.handling
    sandbox = tuple(one.url for one in more if one.environment is Environment.SANDBOX)
    return Service(
        name=entry.name,
        major=entry.major,
        provider=entry.provider,
        # A draft may be tried before it is answered live: it is not the hub's own for that, and
        # nobody calls it live before it is published, which it is not without a live endpoint.
        endpoint=entry.endpoint or next(iter(sandbox), None),
        # What is in test is for those who have a contract to try it, whatever is said of the rest.
        mode=Mode.ENFORCE if entry.in_test else Mode(handling.mode.value),
        suspended=entry.suspended,
        speaks=Speaks(entry.protocol.value),
        further_endpoints=tuple(one.url for one in more if one.environment is Environment.LIVE),
        sandbox_endpoints=sandbox,
        published=entry.published,
        in_test=entry.in_test,
        testers=entry.testers,
        deprecated_at=entry.deprecated_at,
        sunset=entry.sunset,
        interface=entry.interface_digest,
        timeout_s=handling.timeout_s,
        timeouts_s=handling.timeouts_s,
        login=entry.login,
        operations=_naming(entry),
        maps={name: ContentMap(m.request, m.answer) for name, m in handling.maps.items()},
        health_path=handling.health_path,
        headers={name.lower().encode(): name for name in handling.headers},
    )


def _naming(entry: ServiceEntry) -> Naming | None:
    if entry.protocol is Protocol.SOAP and entry.interface_digest is not None:
        return OperationPaths()
    if not entry.operations:
        return None
    return Operations((one.method, one.path, one.name) for one in entry.operations)


class EndpointsForHealth:
    """Where the catalogue says that a service is answered."""

    def __init__(self, book: ContractBook) -> None:
        self._book = book

    def endpoints(self, name: str, major: int) -> Listed | None:
        entry = self._book.service(name, major)
        return None if entry is None else _listed(entry)


class OneForHealth:
    """A single service of the catalogue, where no book is open."""

    def __init__(self, service: CatalogueEntry) -> None:
        self._service = service

    def endpoints(self, name: str, major: int) -> Listed | None:
        return _listed(self._service)


def _listed(entry: ServiceEntry | CatalogueEntry) -> Listed | None:
    if not entry.callable or entry.endpoint is None:
        return None
    more = entry.more_endpoints
    both = (
        (
            False,
            (entry.endpoint, *(o.url for o in more if o.environment is Environment.LIVE)),
        ),
        (True, [one.url for one in more if one.environment is Environment.SANDBOX]),
    )
    return Listed(
        entry.provider,
        [
            PlaceOfEndpoint(entry.name, entry.major, sandbox, number, url)
            for sandbox, urls in both
            for number, url in enumerate(dict.fromkeys(urls), 1)
        ],
    )


def seen_by(endpoints: Iterable[ServiceEndpoints]) -> Seen:
    """What this process's gateway has seen of the endpoints that it called."""

    def seen() -> Iterator[Report]:
        for every in endpoints:
            service = every.service
            for one in every:
                last = one.last_failure
                state = HealthState(one.state.value)
                yield Report(
                    place=PlaceOfEndpoint(
                        service.name, service.major, one.sandbox, one.number, one.url
                    ),
                    provider=service.provider,
                    state=state,
                    well=one.well,
                    calls=one.calls,
                    failures=one.failures,
                    failed=None if last is None else Failed(last.kind.value, last.at),
                    spread=spread_of(one.recent_us),
                )

    return seen


class ContractsForGateway:
    """The marketplace's book, in the gateway's words.

    What it says yes to is put into words once for each edition of the book, since that costs more
    than to look it up (3 of 17 microseconds of a call's checks). A no is looked for each time.
    """

    def __init__(self, book: ContractBook) -> None:
        self._book = book
        self._edition = -1
        self._services: dict[tuple[str, int], Service] = {}
        self._allowed: dict[tuple[PartyId, str, int], _Allowed] = {}
        self._tried: dict[tuple[PartyId, str, int], _Allowed] = {}

    def find_service(self, name: str, major: int) -> Service | None:
        if self._book.edition != self._edition:
            self._forget()
        known = self._services.get((name, major))
        if known is not None:
            return known
        entry = self._book.service(name, major)
        if entry is None or not entry.callable:
            return None
        service = _service(entry)
        if service.mode is not Mode.ENFORCE and self._book.is_absent(entry.provider):
            # Elsewhere its contracts say no, and why.
            service = replace(service, suspended=True)
        self._services[name, major] = service
        return service

    def watched(self) -> Iterator[Service]:
        """The services whose endpoints are to be asked how they are."""
        for entry in self._book.watched():
            service = self.find_service(entry.name, entry.major)
            if service is not None:
                yield service

    def find(
        self, requester: PartyId, service: str, major: int, operation: str, at: datetime
    ) -> Grant | Denial:
        if self._book.edition != self._edition:
            self._forget()
        key = (requester, service, major)
        allowed = self._allowed.get(key)
        if (
            allowed is None
            or at < allowed.holds_from
            or (allowed.holds_until is not None and at >= allowed.holds_until)
        ):
            found = self._book.find(requester, None, service, major, at)
            if isinstance(found, NotInForce):
                return Denial(REASONS[found.reason], found.contract_id)
            allowed = self._allowed[key] = _allowed(found)
        if not covers(allowed.operations, operation):
            return Denial(Reason.OPERATION_NOT_COVERED, allowed.grant.contract_id)
        return allowed.grant

    def find_to_try(
        self, requester: PartyId, service: str, major: int, operation: str, at: datetime
    ) -> Grant | Denial:
        if self._book.edition != self._edition:
            self._forget()
        key = (requester, service, major)
        allowed = self._tried.get(key)
        if (
            allowed is None
            or at < allowed.holds_from
            or (allowed.holds_until is not None and at >= allowed.holds_until)
        ):
            found = self._book.find_to_try(requester, service, major, at)
            if isinstance(found, NotInForce):
                return Denial(REASONS[found.reason], found.contract_id)
            told = _allowed(found)
            free = Grant(told.grant.contract_id)
            allowed = self._tried[key] = told._replace(grant=free)
        if not covers(allowed.operations, operation):
            return Denial(Reason.OPERATION_NOT_COVERED, allowed.grant.contract_id)
        return allowed.grant

    def age_s(self, now: datetime) -> float:
        return self._book.age_s(now)

    def _forget(self) -> None:
        self._services.clear()
        self._allowed.clear()
        self._tried.clear()
        self._edition = self._book.edition


def _allowed(contract: ContractInForce) -> _Allowed:
    terms = contract.terms
    assert isinstance(terms, ServiceTerms), "what can be called has service terms"
    quota = Quota(
        per_day=terms.quota.calls_per_day,
        per_second=terms.quota.calls_per_second,
        per_month=terms.quota.calls_per_month,
        pack=None if terms.pack is None else terms.pack.calls,
    )
    prices = terms.prices
    return _Allowed(
        Grant(
            contract.contract_id,
            quota or None,
            priced=prices is not None and prices.priced,
            units_told=prices is not None and prices.units_told,
        ),
        terms.operations,
        contract.holds_from,
        contract.holds_until,
    )


class InterfacesForGateway:
    """The documents of services, by the digests that the catalogue names them with."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def load(self, digest: bytes) -> Document:
        async with self._catalogue.open() as shelf:
            found = await shelf.document(digest)
        assert found is not None, "a document that was kept once is kept for good"
        return found


class LoginsForGateway:
    """By what login a provider's SOAP server knows the hub."""

    def __init__(self, box: SecretBox) -> None:
        self._box = box

    def open(self, service: Service) -> Login | None:
        if service.login is None:
            return None
        return unseal(self._box, service.login, service.name, service.major)


class BargainsForPacks:
    """What the terms of a contract say about packs, for its own two sides."""

    def __init__(self, contracts: Contracts, clock: Clock) -> None:
        self._contracts = contracts
        self._clock = clock

    async def find(self, party: PartyId, contract_id: str) -> Bargain:
        contract = await contract_flows.find(self._contracts, party, contract_id)
        terms = contract.terms
        # What is tried costs nothing, so nothing is bought for it.
        pack = terms.pack if isinstance(terms, ServiceTerms) and not contract.sandbox else None
        absent = absence(contract.valid_from, contract.valid_until, contract.history, self._clock())
        return Bargain(
            contract_id=contract.contract_id,
            requester=contract.requester,
            provider=contract.provider,
            pack=None if pack is None else Pack(pack.calls, pack.price_minor, terms.currency),
            in_force=absent is None,
        )


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
