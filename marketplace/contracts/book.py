"""All contracts in force and the catalogue, in memory: what is asked before every call.

A look-up waits for nothing. The book hears of changes by NOTIFY and also looks by itself; `age_s`
says how long ago it was last known to be right, so that whoever relies on it can refuse to guess.

A look at the database asks for what was written by transactions that had not finished at the look
before (xid at or after the oldest that ran then). Asking by a sequence instead would miss what a
slow transaction writes below a number that has been seen.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import structlog

from kit.clock import Clock
from marketplace.contracts import model
from marketplace.contracts.model import Absence, Agreed, StatusChange
from marketplace.contracts.ports import BookRow, BookSource, Counted, ServiceRow, StandingRow
from marketplace.offerings.coverage import Coverage, TariffGroup
from marketplace.offerings.model import (
    RoamingTerms,
    Strategy,
    Terms,
    parse_terms,
)
from marketplace.partners.standing import Standing as PartnerStanding
from marketplace.services.handling import Handling
from marketplace.services.model import (
    ROAMING,
    UNPUBLISHED,
    Endpoint,
    Operation,
    Protocol,
    Service,
    Status,
)
from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.tariff import Tariff

log = structlog.get_logger(__name__)

MOST_PARSED = 20_000


@dataclass(frozen=True, slots=True)
class ContractInForce:
    """A contract that allows a call at the moment asked about.

    It does so from `holds_from` until just before `holds_until`, as long as the book is of the same
    edition.
    """

    contract_id: str
    provider: PartyId
    requester: PartyId
    service: str
    major: int
    terms: Terms
    valid_from: datetime
    valid_until: datetime | None
    holds_from: datetime
    holds_until: datetime | None


class Standing(NamedTuple):
    """A contract in force at the moment asked about, its terms by their digest alone."""

    contract_id: str
    terms_digest: bytes
    service: str
    valid_from: datetime
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class NotInForce:
    """Why there is none; `contract_id` is the one that came closest, where there is one."""

    reason: Absence
    contract_id: str | None = None


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """A service as the gateway needs it. `endpoint` None: the hub itself answers.

    `published` False: it is a draft, which nobody but its provider may try, or else `in_test`, and
    its `testers` see it. `sunset`: when it ends, as it was told at `deprecated_at`.
    """

    name: str
    major: int
    provider: PartyId
    protocol: Protocol
    endpoint: str | None
    more_endpoints: tuple[Endpoint, ...]
    published: bool
    suspended: bool
    operations: tuple[Operation, ...]
    handling: Handling
    interface_digest: bytes | None
    login: bytes | None = field(repr=False)
    in_test: bool = False
    testers: frozenset[PartyId] = frozenset()
    deprecated_at: datetime | None = None
    sunset: datetime | None = None

    @property
    def callable(self) -> bool:
        """Whether it is called at the gateway."""
        return self.protocol in (Protocol.REST, Protocol.SOAP)


@dataclass(frozen=True, slots=True)
class RoamingAgreement:
    """A roaming agreement in force, its tariff ready for pricing."""

    contract_id: str
    operator: PartyId
    evsp: PartyId
    currency: str
    tariff: Tariff
    vat_percent: Decimal | None
    time_zone: str
    payment_terms_days: int
    clearing_strategy: Strategy
    valid_from: datetime
    valid_until: datetime | None
    coverage: Coverage
    group_name: str | None
    tariff_groups: tuple[TariffGroup, ...]

    @property
    def clearing_group(self) -> str:
        """With what other debts its charges are cleared: `strategy`, or `strategy:name`."""
        strategy = self.clearing_strategy.value
        return strategy if self.group_name is None else f"{strategy}:{self.group_name}"

    def covers(self, evse_id: EvseId) -> bool:
        """Whether the agreement is about this charge point."""
        return evse_id in self.coverage


class _Held:
    """A contract in memory: no dictionary, and texts and times shared with its neighbours."""

    __slots__ = (
        "contract_id",
        "history",
        "major",
        "provider",
        "requester",
        "service",
        "terms_digest",
        "valid_from",
        "valid_until",
        "version",
    )

    contract_id: str
    provider: PartyId
    requester: PartyId
    service: str
    major: int
    terms_digest: bytes
    valid_from: datetime
    valid_until: datetime | None
    history: tuple[StatusChange, ...] | None
    version: int


_Key = tuple[str, str, str, int]
_CLOSENESS = (
    Absence.SUSPENDED,
    Absence.NOT_YET_VALID,
    Absence.EXPIRED,
    Absence.TERMINATED,
)


class ContractBook:
    """Use after `load`. Reading is for the event loop's thread alone."""

    def __init__(self, source: BookSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._lock = asyncio.Lock()
        self._asked = 0
        self._done = 0
        self._current_at: datetime | None = None
        self._fence: int | None = None
        self._edition = 0
        self._pages = _Pages()
        self._parsed: OrderedDict[bytes, Terms] = OrderedDict()
        self._agreements: OrderedDict[tuple[str, int], RoamingAgreement] = OrderedDict()

    def __len__(self) -> int:
        return self._pages.contracts

    @property
    def edition(self) -> int:
        """Grows with every change: whoever remembers what it found here asks anew when it has."""
        return self._edition

    async def load(self) -> None:
        """Read everything anew."""
        async with self._lock:
            await self._load()

    async def refresh(self) -> None:
        """See whatever was committed before this call. Many callers at once share one look.

        A book that was never loaded stays empty: a process that answers no calls needs none.
        """
        if self._fence is None:
            return
        self._asked += 1
        wanted = self._asked
        async with self._lock:
            if self._done >= wanted:
                return
            covered = self._asked
            await self._read(self._pages, self._fence)
            self._done = covered

    async def check(self) -> bool:
        """Compare with the database as a whole, and load anew where they differ. True: alike."""
        async with self._lock:
            if self._fence is None:
                await self._load()
                return True
            counted = await self._read(self._pages, self._fence, count=True)
            if counted == self._pages.counted():
                return True
            log.warning("book differs", database=counted, book=self._pages.counted())
            await self._load()
            return False

    def age_s(self, now: datetime) -> float:
        """Seconds since the book was last known to be current; infinite before the first load."""
        if self._current_at is None:
            return float("inf")
        return (now - self._current_at).total_seconds()

    def service(self, name: str, major: int) -> ServiceEntry | None:
        """A service that is published, suspended for now, or a draft yet."""
        return self._pages.services.get((name, major))

    def is_absent(self, party: PartyId) -> bool:
        """Whether a partner is suspended or has left: then nothing of its may be called."""
        standing = self._pages.standings.get(party)
        return standing is not None and standing.absent(None, self._clock()) is not None

    def described(self) -> Collection[ServiceEntry]:
        """The services that have an interface document."""
        found = self._pages.services.values()
        return [entry for entry in found if entry.interface_digest is not None]

    def watched(self) -> Collection[ServiceEntry]:
        """The services whose endpoints tell how they are, and that are called at the gateway."""
        found = self._pages.services.values()
        return [
            entry
            for entry in found
            if entry.handling.health_path is not None
            and entry.callable
            and entry.endpoint is not None
            and entry.published
            and not entry.suspended
        ]

    def find(
        self, requester: PartyId, provider: PartyId | None, service: str, major: int, at: datetime
    ) -> ContractInForce | NotInForce:
        """The live contract in force at a moment, or why there is none.

        `provider` None: whoever provides the service, which for roaming is nobody in particular.
        """
        return self._allowing(self._pages.held, requester, provider, service, major, at)

    def find_to_try(
        self, requester: PartyId, service: str, major: int, at: datetime
    ) -> ContractInForce | NotInForce:
        """The contract for calls that are tried: one for the sandbox, else the live one."""
        tried = self._allowing(self._pages.tried, requester, None, service, major, at)
        if isinstance(tried, ContractInForce):
            return tried
        live = self._allowing(self._pages.held, requester, None, service, major, at)
        if live is _NOTHING:
            return tried
        return live

    def _allowing(
        self,
        pages: Mapping[_Key, tuple[_Held, ...]],
        requester: PartyId,
        provider: PartyId | None,
        service: str,
        major: int,
        at: datetime,
    ) -> ContractInForce | NotInForce:
        if provider is None:
            entry = self._pages.services.get((service, major))
            if entry is None:
                return _NOTHING
            provider = entry.provider
        one = self._find(pages, requester, provider, service, major, at)
        if not isinstance(one, _Held):
            return one
        since, until = model.unchanged(one.valid_from, one.valid_until, one.history, at)
        for party in (provider, requester):
            since, until = model.narrowed(since, until, self._pages.standings.get(party), at)
        assert since is not None, "what is in force has begun"
        return ContractInForce(
            one.contract_id,
            one.provider,
            one.requester,
            one.service,
            one.major,
            self._terms_of(one),
            one.valid_from,
            one.valid_until,
            holds_from=since,
            holds_until=until,
        )

    def standing(
        self,
        requester: PartyId,
        provider: PartyId,
        service: str,
        major: int,
        at: datetime,
        *,
        sandbox: bool = False,
    ) -> Standing | NotInForce:
        """As `find`, or as `find_to_try`, without the terms, of which reading costs more than all
        the rest."""
        asked = requester, provider, service, major, at
        one = self._find(self._pages.tried if sandbox else self._pages.held, *asked)
        if sandbox and not isinstance(one, _Held):
            live = self._find(self._pages.held, *asked)
            one = one if live is _NOTHING else live
        if not isinstance(one, _Held):
            return one
        return Standing(
            one.contract_id, one.terms_digest, one.service, one.valid_from, one.valid_until
        )

    def terms_of(self, standing: Standing) -> Terms:
        """The terms of a contract that this book has just told of."""
        return self._parsed_terms(standing.terms_digest, standing.service)

    def roaming(self, operator: PartyId, evsp: PartyId, at: datetime) -> RoamingAgreement | None:
        """The roaming agreement of an operator and an EVSP in force at a moment."""
        one = self._find(self._pages.held, evsp, operator, ROAMING, 1, at)
        return self._agreement(one) if isinstance(one, _Held) else None

    def roaming_partners(self, operator: PartyId, at: datetime) -> list[PartyId]:
        """The EVSPs that have a roaming agreement with an operator in force at a moment, in order.

        One of them may be about some of its charge points only: `roaming` tells which.
        """
        found = []
        for evsp in self._pages.roamers.get(operator, ()):
            if isinstance(self._find(self._pages.held, evsp, operator, ROAMING, 1, at), _Held):
                found.append(evsp)
        return sorted(found)

    def roamers(self) -> Mapping[PartyId, Collection[PartyId]]:
        """With whom each operator has, had or will have agreed on roaming."""
        return self._pages.roamers

    def agreed(self, operator: PartyId, evsp: PartyId, at: datetime) -> Agreed | None:
        """How an operator and an EVSP stand at a moment; None: they never agreed on roaming."""
        held = self._pages.held.get((evsp, operator, ROAMING, 1), ())
        found, absence = self._find(self._pages.held, evsp, operator, ROAMING, 1, at), None
        if isinstance(found, NotInForce):
            if found.contract_id is None:
                return None
            absence, contract_id = found.reason, found.contract_id
            found = next(one for one in held if one.contract_id == contract_id)
        ends = [one.since for one in found.history or () if one.status is model.Status.TERMINATED]
        if found.valid_until is not None:
            ends.append(found.valid_until)
        return Agreed(found.contract_id, absence, found.valid_from, min(ends, default=None))

    def _find(
        self,
        pages: Mapping[_Key, tuple[_Held, ...]],
        requester: PartyId,
        provider: PartyId,
        service: str,
        major: int,
        at: datetime,
    ) -> _Held | NotInForce:
        held = pages.get((requester, provider, service, major))
        if held is None:
            return _NOTHING
        standings = self._pages.standings
        # Hardly anybody has another standing than the first, and of those nothing more is asked.
        if standings:
            sides = standings.get(provider), standings.get(requester)
            absent = model.absence_of_parties(*sides, service, at)
            if absent is not None:
                return NotInForce(absent, held[-1].contract_id)
        return _in_force(held, at)

    def _agreement(self, one: _Held) -> RoamingAgreement:
        key = (one.contract_id, one.version)
        known = self._agreements.get(key)
        if known is not None:
            return known
        terms = self._terms_of(one)
        assert isinstance(terms, RoamingTerms), "contracts on roaming have roaming terms"
        agreement = RoamingAgreement(
            contract_id=one.contract_id,
            operator=one.provider,
            evsp=one.requester,
            currency=terms.currency,
            tariff=terms.tariff,
            vat_percent=terms.vat_percent,
            time_zone=terms.time_zone,
            payment_terms_days=terms.payment_terms_days,
            clearing_strategy=terms.clearing_strategy,
            valid_from=one.valid_from,
            valid_until=one.valid_until,
            coverage=Coverage(terms.evses),
            group_name=terms.clearing_group,
            tariff_groups=terms.tariff_groups,
        )
        self._agreements[key] = agreement
        if len(self._agreements) > MOST_PARSED:
            self._agreements.popitem(last=False)
        return agreement

    def _terms_of(self, one: _Held) -> Terms:
        return self._parsed_terms(one.terms_digest, one.service)

    def _parsed_terms(self, digest: bytes, service: str) -> Terms:
        # Parsed when first asked for: of 200,000 contracts few are used in one process's day.
        known = self._parsed.get(digest)
        if known is not None:
            return known
        terms = parse_terms(service, msgspec.json.decode(self._pages.terms[digest]))
        self._parsed[digest] = terms
        if len(self._parsed) > MOST_PARSED:
            self._parsed.popitem(last=False)
        return terms

    async def _load(self) -> None:
        # Until the new pages are whole, the old ones answer.
        pages = _Pages()
        await self._read(pages, None)
        self._pages = pages
        self._edition += 1

    async def _read(
        self, pages: _Pages, fence: int | None, *, count: bool = False
    ) -> Counted | None:
        began = self._clock()

        def take(rows: Sequence[BookRow]) -> None:
            # At once: what comes later in this look may fail, and the rows would count already.
            pages.take(rows)
            self._edition += 1

        def take_services(rows: Sequence[ServiceRow]) -> None:
            if pages.take_services(rows):
                self._edition += 1

        def take_standings(rows: Sequence[StandingRow]) -> None:
            if pages.take_standings(rows):
                self._edition += 1

        reading = await self._source.read(
            fence,
            known_terms=pages.terms.keys(),
            take_terms=pages.take_terms,
            take=take,
            take_services=take_services,
            take_standings=take_standings,
            count=count,
        )
        self._fence = reading.fence
        self._current_at = began
        return reading.counted


class _Pages:
    """The contracts themselves, by (requester, provider, service, major), those for the sandbox
    apart (`tried`); the terms' texts; the services by (name, major); and the standings of the
    partners that have a history.

    `contracts` is how many there are and `versions` the sum of their versions: what the database
    is compared with, as with the transactions that wrote the services (`_written`) and the
    standings (`_turned`).
    """

    def __init__(self) -> None:
        self.services: dict[tuple[str, int], ServiceEntry] = {}
        # Of those that are retired, too.
        self._written: dict[tuple[str, int], int] = {}
        self.standings: dict[str, PartnerStanding] = {}
        self._turned: dict[str, int] = {}
        self.held: dict[_Key, tuple[_Held, ...]] = {}
        self.tried: dict[_Key, tuple[_Held, ...]] = {}
        self.terms: dict[bytes, str] = {}
        # With whom each operator has, had or will have agreed on roaming.
        self.roamers: dict[PartyId, set[PartyId]] = {}
        self.contracts = 0
        self.versions = 0
        self._shared: dict[Any, Any] = {}

    def take_terms(self, digest: bytes, body: str) -> None:
        self.terms[self._share(digest)] = body

    def take(self, rows: Sequence[BookRow]) -> None:
        for row in rows:
            self._hold(row)

    def take_services(self, rows: Sequence[ServiceRow]) -> bool:
        """Whether any of them is news."""
        news = [row for row in rows if self._written.get(_key_of(row.service)) != row.changed]
        for row in news:
            key = _key_of(row.service)
            self._written[key] = row.changed
            if row.service.status is Status.RETIRED:
                self.services.pop(key, None)
            else:
                self.services[key] = _entry(row.service)
        return bool(news)

    def take_standings(self, rows: Sequence[StandingRow]) -> bool:
        """Whether any of them is news."""
        news = [row for row in rows if self._turned.get(row.party) != row.changed]
        for row in news:
            self._turned[row.party] = row.changed
            self.standings[row.party] = row.standing
        return bool(news)

    def counted(self) -> Counted:
        return Counted(
            self.contracts,
            self.versions,
            len(self._written),
            sum(self._written.values()),
            len(self._turned),
            sum(self._turned.values()),
        )

    def _hold(self, row: BookRow) -> None:
        one = _Held()
        one.contract_id = row.contract_id
        one.provider = self._share_party(row.provider)
        one.requester = self._share_party(row.requester)
        one.service = self._share(row.service)
        one.major = row.major
        one.terms_digest = self._share(row.terms_digest)
        one.valid_from = self._share(row.valid_from)
        one.valid_until = self._share(row.valid_until)
        one.history = row.history
        one.version = row.version
        key = (one.requester, one.provider, one.service, one.major)
        pages = self.tried if row.sandbox else self.held
        standing = pages.get(key, ())
        others = tuple(old for old in standing if old.contract_id != one.contract_id)
        replaced = sum(old.version for old in standing if old.contract_id == one.contract_id)
        self.contracts += 1 + len(others) - len(standing)
        self.versions += one.version - replaced
        pages[key] = (*others, one)
        if one.service == ROAMING and one.major == 1:
            self.roamers.setdefault(one.provider, set()).add(one.requester)

    def _share(self, value: Any) -> Any:
        return self._shared.setdefault(value, value)

    def _share_party(self, text: str) -> PartyId:
        key = ("party", text)
        known = self._shared.get(key)
        if known is None:
            known = self._shared[key] = PartyId(text)
        party: PartyId = known
        return party


_NOTHING = NotInForce(Absence.NO_CONTRACT)


def _in_force(held: tuple[_Held, ...], at: datetime) -> _Held | NotInForce:
    """At most one is: two contracts of one key are never in force at once."""
    closest: NotInForce | None = None
    for one in held:
        reason = model.absence(one.valid_from, one.valid_until, one.history, at)
        if reason is None:
            return one
        if closest is None or _CLOSENESS.index(reason) < _CLOSENESS.index(closest.reason):
            closest = NotInForce(reason, one.contract_id)
    return closest or _NOTHING


def _key_of(service: Service) -> tuple[str, int]:
    return service.name, service.major


def _entry(service: Service) -> ServiceEntry:
    return ServiceEntry(
        name=service.name,
        major=service.major,
        provider=service.provider,
        protocol=service.protocol,
        endpoint=service.endpoint,
        more_endpoints=service.more_endpoints,
        published=service.status not in UNPUBLISHED,
        suspended=service.status is Status.SUSPENDED,
        operations=service.operations,
        handling=service.handling,
        interface_digest=service.interface_digest,
        login=service.login,
        in_test=service.status is Status.IN_TEST,
        testers=service.testers,
        deprecated_at=service.deprecated_at,
        sunset=service.sunset,
    )
