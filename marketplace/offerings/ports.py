"""What offering needs: offerings kept, and the catalogue's word on a service."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from marketplace.framework.model import Clauses, Library
from marketplace.offerings.model import Offering
from marketplace.partners.standing import Standing
from marketplace.services.model import Environment, Service
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for: all of it must hold."""

    service: str | None = None
    major: int | None = None
    provider: PartyId | None = None
    environment: Environment | None = None


class Stall(Protocol):
    """Offerings, in one transaction."""

    async def service(self, name: str, major: int) -> Service | None: ...

    async def standing(self, party: PartyId) -> Standing:
        """How a partner stands; nobody suspends it, or lets it go, until we are done."""
        ...

    async def publish(self, offerings: Sequence[Offering], now: datetime) -> Sequence[Offering]:
        """Keep offerings of one provider, in order. The same offering again is the one there is."""
        ...

    async def library(self) -> Library:
        """The modules that clauses are made of."""
        ...

    async def keep_clauses(self, clauses: Sequence[Clauses]) -> Sequence[bytes]:
        """Keep clauses once each; their digests in order."""
        ...

    async def clauses(self, digest: bytes | None) -> Clauses:
        """What is kept under a digest; None: of a time before there were any."""
        ...

    async def find(self, offering_id: str) -> Offering | None: ...

    async def withdraw(self, offering: Offering, now: datetime) -> None: ...

    async def ever_offered(self, provider: PartyId, service: str, major: int) -> bool: ...

    async def page(
        self,
        viewer: PartyId,
        roles: Collection[str],
        search: Search,
        *,
        after: str | None,
        limit: int,
    ) -> Sequence[Offering]:
        """What is offered to the viewer or by it, oldest first."""
        ...


class Offerings(Protocol):
    def open(self) -> AbstractAsyncContextManager[Stall]: ...
