"""What the book of contracts holds in memory: hundreds of thousands of them, small."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from marketplace.contracts.entries import ServiceEntry
from marketplace.contracts.model import StatusChange
from marketplace.contracts.ports import BookRow, Counted, ServiceRow, StandingRow
from marketplace.partners.standing import Standing as PartnerStanding
from marketplace.services.model import ROAMING, UNPUBLISHED, Service, Status
from roaming.party import PartyId


class Held:
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


Key = tuple[str, str, str, int]


class Pages:
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
        self.held: dict[Key, tuple[Held, ...]] = {}
        self.tried: dict[Key, tuple[Held, ...]] = {}
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
        one = Held()
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
