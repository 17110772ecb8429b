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
from datetime import datetime

import msgspec
import structlog

from kit.clock import Clock
from marketplace.contracts import model
from marketplace.contracts.entries import (
    ContractInForce,
    NotInForce,
    RoamingAgreement,
    ServiceEntry,
    Standing,
)
from marketplace.contracts.model import Absence, Agreed
from marketplace.contracts.pages import Held, Key, Pages
from marketplace.contracts.ports import BookRow, BookSource, Counted, ServiceRow, StandingRow
from marketplace.offerings.coverage import Coverage
from marketplace.offerings.model import RoamingTerms, Terms, parse_terms
from marketplace.services.model import ROAMING
from roaming.party import PartyId

log = structlog.get_logger(__name__)

MOST_PARSED = 20_000
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
        self._pages = Pages()
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
        pages: Mapping[Key, tuple[Held, ...]],
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
        if not isinstance(one, Held):
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
        if sandbox and not isinstance(one, Held):
            live = self._find(self._pages.held, *asked)
            one = one if live is _NOTHING else live
        if not isinstance(one, Held):
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
        return self._agreement(one) if isinstance(one, Held) else None

    def roaming_partners(self, operator: PartyId, at: datetime) -> list[PartyId]:
        """The EVSPs that have a roaming agreement with an operator in force at a moment, in order.

        One of them may be about some of its charge points only: `roaming` tells which.
        """
        found = []
        for evsp in self._pages.roamers.get(operator, ()):
            if isinstance(self._find(self._pages.held, evsp, operator, ROAMING, 1, at), Held):
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
        pages: Mapping[Key, tuple[Held, ...]],
        requester: PartyId,
        provider: PartyId,
        service: str,
        major: int,
        at: datetime,
    ) -> Held | NotInForce:
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

    def _agreement(self, one: Held) -> RoamingAgreement:
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

    def _terms_of(self, one: Held) -> Terms:
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
        pages = Pages()
        await self._read(pages, None)
        self._pages = pages
        self._edition += 1

    async def _read(
        self, pages: Pages, fence: int | None, *, count: bool = False
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


_NOTHING = NotInForce(Absence.NO_CONTRACT)


def _in_force(held: tuple[Held, ...], at: datetime) -> Held | NotInForce:
    """At most one is: two contracts of one key are never in force at once."""
    closest: NotInForce | None = None
    for one in held:
        reason = model.absence(one.valid_from, one.valid_until, one.history, at)
        if reason is None:
            return one
        if closest is None or _CLOSENESS.index(reason) < _CLOSENESS.index(closest.reason):
            closest = NotInForce(reason, one.contract_id)
    return closest or _NOTHING
