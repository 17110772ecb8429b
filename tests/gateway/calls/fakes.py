"""Small honest stand-ins for what the door asks of others, and the door built from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from gateway.calls.flows import Bridge
from gateway.calls.model import (
    Allowance,
    Call,
    Denial,
    Grant,
    Lease,
    Left,
    Limits,
    Period,
    Quota,
    Reason,
    RefusedCall,
    Service,
)
from gateway.calls.ports import Identity, Quotas
from gateway.calls.refusals import PackUsedUp, QuotaExceeded
from gateway.calls.routes import gateway
from gateway.calls.upstream import Upstream
from gateway.usage.model import UsageRecord
from roaming.party import PartyId
from roaming.refusal import Unauthenticated

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
OPERATOR = PartyId("FR*PD1")
STRANGER = PartyId("DE*XYZ")
PROVIDER = PartyId("NL*ABC")


@dataclass(frozen=True, slots=True)
class Known:
    party: PartyId
    roles: frozenset[str] = frozenset({"evse-operator"})
    client_id: str = "client-1"
    scopes: frozenset[str] = frozenset({"events", "marketplace", "services"})
    sandbox: bool = False
    certificate: str | None = None
    person: str | None = None
    duties: frozenset[str] = frozenset()


@dataclass
class Tokens:
    """Tokens are the names in `known`."""

    known: dict[str, Known] = field(
        default_factory=lambda: {
            "operator": Known(OPERATOR),
            "stranger": Known(STRANGER, client_id="client-2"),
        }
    )

    def verify(self, token: str) -> Identity:
        if token not in self.known:
            raise Unauthenticated("the access token is not one of ours", rule="get a new one")
        return self.known[token]


@dataclass
class Book:
    """The catalogue and the contracts, in memory as the real ones are."""

    services: dict[tuple[str, int], Service] = field(default_factory=dict)
    answers: dict[tuple[PartyId, str], Grant | Denial] = field(default_factory=dict)
    age: float = 0.0
    asked: list[tuple[PartyId, str, int, str]] = field(default_factory=list)

    def add(self, service: Service) -> None:
        self.services[service.name, service.major] = service

    def find_service(self, name: str, major: int) -> Service | None:
        return self.services.get((name, major))

    def find(
        self, requester: PartyId, service: str, major: int, operation: str, at: datetime
    ) -> Grant | Denial:
        self.asked.append((requester, service, major, operation))
        return self.answers.get((requester, service), Denial(Reason.NO_CONTRACT))

    def find_to_try(
        self, requester: PartyId, service: str, major: int, operation: str, at: datetime
    ) -> Grant | Denial:
        found = self.find(requester, service, major, operation, at)
        return found if isinstance(found, Denial) else Grant(found.contract_id)

    def age_s(self, now: datetime) -> float:
        return self.age


@dataclass
class CountedQuotas:
    """`left` calls, whatever the quota says."""

    left: int = 0
    released: list[Lease] = field(default_factory=list)
    failure: Exception | None = None

    async def reserve(self, contract_id: str, quota: Quota, at: datetime) -> Allowance:
        if self.failure is not None:
            raise self.failure
        (period, limit) = quota.limits[0]
        if self.left == 0:
            refused = PackUsedUp if period is Period.PACK else QuotaExceeded
            none = Left(period, limit, 0, period.reset_s(at))
            raise refused(contract_id=contract_id, lefts=(none,))
        self.left -= 1
        lefts = tuple(
            Left(period, limit, self.left, period.reset_s(at)) for period, limit in quota.limits
        )
        return Allowance((Lease(contract_id, Period.DAY, 1),), lefts)

    def release(self, leases: Sequence[Lease]) -> None:
        self.released += leases
        self.left += len(leases)


@dataclass
class Notebook:
    """A meter that remembers."""

    noted: list[UsageRecord] = field(default_factory=list)
    committed: list[UsageRecord] = field(default_factory=list)
    full: bool = False
    failure: Exception | None = None

    def note(self, record: UsageRecord) -> None:
        self.noted.append(record)

    async def commit(self, record: UsageRecord) -> None:
        if self.failure is not None:
            raise self.failure
        self.committed.append(record)


@dataclass
class RefusalList:
    noted: list[RefusedCall] = field(default_factory=list)

    def note(self, refused: RefusedCall) -> None:
        self.noted.append(refused)


@dataclass
class Unsigned:
    """Assertions that anybody can read, and nobody needs to check."""

    def credentials(self, call: Call) -> str:
        return f"Bearer {call.party}-calls-{call.service_name}"


@dataclass
class House:
    """A door with everything it asks in reach of a test."""

    tokens: Tokens = field(default_factory=Tokens)
    book: Book = field(default_factory=Book)
    quotas: Quotas = field(default_factory=CountedQuotas)
    meter: Notebook = field(default_factory=Notebook)
    refusals: RefusalList = field(default_factory=RefusalList)
    local: dict[str, ASGIApp] = field(default_factory=dict)
    operations: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    upstream: Upstream = field(default_factory=Upstream)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    limits: Limits = field(default_factory=Limits)
    bridge: Bridge | None = None
    sandboxed: frozenset[str] = frozenset()

    def publish(self, name: str, *endpoints: str, **more: Any) -> None:
        """A service of a partner at these addresses, and the operator's contract for it."""
        service = Service(name, 1, PROVIDER, endpoints[0], further_endpoints=endpoints[1:], **more)
        self.book.add(service)
        self.book.answers[OPERATOR, name] = Grant("C-7")

    def open(self) -> ASGIApp:
        return gateway(
            verifier=self.tokens,
            catalogue=self.book,
            contracts=self.book,
            quotas=self.quotas,
            meter=self.meter,
            refusals=self.refusals,
            local=self.local,
            operations=self.operations,
            upstream=self.upstream,
            assertions=Unsigned(),
            clock=lambda: NOON,
            registry=self.registry,
            limits=self.limits,
            bridge=self.bridge,
            sandboxed=self.sandboxed,
        )
