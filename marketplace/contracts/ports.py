"""What contracts need: contracts and offerings kept, and what the book in memory is read from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from marketplace.contracts.life import Tended
from marketplace.contracts.model import Action, Contract, StatusChange
from marketplace.offerings.model import Offering
from marketplace.partners.standing import Standing
from marketplace.services.model import Environment, Service
from roaming.party import PartyId


class Desk(Protocol):
    """Contracts, in one transaction."""

    async def lock(self, requester: PartyId) -> None:
        """Nobody else makes contracts for this requester until we are done."""
        ...

    async def offerings(self, offering_ids: Collection[str]) -> Mapping[str, Offering]: ...

    async def public_offerings(
        self, provider: PartyId, roles: Collection[str]
    ) -> Sequence[Offering]:
        """What a provider offers now to everybody, or to one of these roles."""
        ...

    async def between(
        self, requester: PartyId, offerings: Collection[Offering]
    ) -> Sequence[Contract]:
        """The requester's contracts on the services, and with the providers, of these offerings."""
        ...

    async def add(self, contracts: Sequence[Contract], now: datetime) -> None: ...

    async def find_to_tend(self, contract_id: str, now: datetime) -> tuple[Contract, datetime]:
        """A contract whose time has come, and since when; and nobody else changes it until we are
        done. LookupError: somebody else has tended it."""
        ...

    async def tend(self, tended: Tended, now: datetime) -> None:
        """Keep what time has done to a contract, and tell both sides."""
        ...

    async def standing_beside(self, contract: Contract) -> Sequence[Contract]:
        """The same two parties' other contracts on the same service."""
        ...

    async def services(self, keys: Collection[tuple[str, int]]) -> Sequence[Service]:
        """The services of these names and versions; none of them ends until we are done."""
        ...

    async def running(self, service: Service, now: datetime) -> Sequence[Contract]:
        """What has not ended of the contracts on a service; nobody else changes them meanwhile."""
        ...

    async def save_ended(self, contracts: Sequence[Contract], by: PartyId, now: datetime) -> None:
        """Contracts that were terminated together."""
        ...

    async def withdraw_service(self, service: Service, now: datetime) -> None:
        """Of a service nothing is offered any more."""
        ...

    async def find(self, contract_id: str, party: PartyId) -> Contract | None:
        """A contract of this party's."""
        ...

    async def find_to_change(self, contract_id: str, party: PartyId) -> Contract | None:
        """As `find`, and nobody else changes it until we are done."""
        ...

    async def save(
        self, contract: Contract, action: Action, by: PartyId, now: datetime
    ) -> None: ...

    async def standings(self, parties: Collection[PartyId]) -> Mapping[PartyId, Standing]:
        """How these partners stand; nobody suspends one, or lets it go, until we are done."""
        ...

    async def all_to_end(self, party: PartyId, after: datetime) -> Sequence[Contract]:
        """The party's contracts that last beyond a moment; nobody else changes them until we are
        done."""
        ...

    async def page(
        self,
        party: PartyId,
        *,
        service: str | None,
        other: PartyId | None,
        environment: Environment | None,
        after: str | None,
        limit: int,
    ) -> Sequence[Contract]:
        """The party's own contracts, on either side, oldest first."""
        ...


class Contracts(Protocol):
    def open(self) -> AbstractAsyncContextManager[Desk]: ...

    async def everything(self, after: str | None, limit: int) -> Sequence[Contract]:
        """All contracts, oldest first: for the hub's operator alone."""
        ...

    async def whosever(self, contract_id: str) -> Contract | None:
        """A contract of any two: for the hub's operator alone."""
        ...

    async def due(self, now: datetime, limit: int) -> Sequence[tuple[str, PartyId]]:
        """The contracts whose time has come, with their requesters, the longest due first."""
        ...


@dataclass(frozen=True, slots=True)
class BookRow:
    """A contract as the book holds it. `history` None: agreed, and nothing since."""

    contract_id: str
    provider: str
    requester: str
    service: str
    major: int
    terms_digest: bytes
    valid_from: datetime
    valid_until: datetime | None
    history: tuple[StatusChange, ...] | None
    version: int
    sandbox: bool = False


@dataclass(frozen=True, slots=True)
class StandingRow:
    """How a partner stands that has a history. `changed`: the transaction that wrote it last."""

    party: str
    standing: Standing
    changed: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at the database told, besides the rows. All of it is of one moment.

    `fence`: the oldest transaction that still ran; the next look begins there. `counted` is how
    much there is of everything, where that was asked for.
    """

    fence: int
    counted: Counted | None


@dataclass(frozen=True, slots=True)
class Counted:
    """The number of all contracts and the sum of their versions; the number of all services and the
    sum of the transactions that wrote them last; and the same of partners with a history.
    """

    contracts: int
    versions: int
    services: int
    changes: int
    partners: int = 0
    turns: int = 0


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """A service as the book reads it. `changed`: the transaction that wrote it last."""

    service: Service
    changed: int


class BookSource(Protocol):
    async def read(
        self,
        fence: int | None,
        *,
        known_terms: Collection[bytes],
        take_terms: Callable[[bytes, str], None],
        take: Callable[[Sequence[BookRow]], None],
        take_services: Callable[[Sequence[ServiceRow]], None],
        take_standings: Callable[[Sequence[StandingRow]], None],
        count: bool = False,
    ) -> Reading:
        """Contracts, services and standings changed since `fence`, or all of them; each contract's
        terms are given before it.
        """
        ...


class Memory(Protocol):
    async def refresh(self) -> None:
        """See in this process what has just been committed."""
        ...
