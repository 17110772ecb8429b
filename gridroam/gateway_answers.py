"""What the gateway asks of the marketplace, answered out of the book and the catalogue, in the
gateway's own words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from bridge.document import Document
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
from kit.secrets import SecretBox
from marketplace.contracts import flows as contract_flows
from marketplace.contracts.book import ContractBook
from marketplace.contracts.entries import ContractInForce, NotInForce, ServiceEntry
from marketplace.contracts.model import Absence, absence
from marketplace.contracts.ports import Contracts
from marketplace.offerings.model import ServiceTerms
from marketplace.services.login import Login, unseal
from marketplace.services.model import Environment, Protocol
from marketplace.services.model import Service as CatalogueEntry
from marketplace.services.ports import Catalogue
from roaming.party import PartyId

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
