"""What the catalogue needs: services and documents kept, documents read, memory that hears."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from bridge.document import Document
from marketplace.services.changes import Change
from marketplace.services.model import Category, Operation, Service, Status, Version
from marketplace.services.model import Protocol as Speaks
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for: all of it must hold. `words` all occur somewhere in what is said of the
    service, in the names of its operations, or in its provider's name; one of one or two letters
    at the beginning of a word.
    """

    words: tuple[str, ...] = ()
    category: Category | None = None
    status: Status | None = None
    tag: str | None = None
    provider: PartyId | None = None
    protocol: Speaks | None = None


class Shelf(Protocol):
    """The catalogue, in one transaction."""

    async def lock(self, name: str) -> None:
        """Nobody else registers or changes a service of this name until we are done."""
        ...

    async def versions(self, name: str) -> Sequence[Service]: ...

    async def add(self, service: Service, now: datetime) -> None: ...

    async def save(self, service: Service, change: Change, by: PartyId, now: datetime) -> None:
        """The service as it is now; `change` says in what it differs."""
        ...

    async def keep(self, document: Document, now: datetime) -> None:
        """A document, for good: whoever still holds its digest finds it."""
        ...

    async def document(self, digest: bytes) -> Document | None: ...

    async def last_end(self, service: Service, now: datetime) -> datetime | None:
        """When the last of its running live contracts can have ended, notice being given now; None:
        none runs. Nobody makes another until we are done.
        """
        ...

    async def end_contracts(
        self,
        service: Service,
        by: PartyId,
        now: datetime,
        *,
        sunset: datetime,
        own_notice: bool,
        reason: str | None,
    ) -> None:
        """End its contracts at its sunset, or after the notice of each where that is sooner
        (`own_notice`); those of the sandbox at its sunset. It is offered no more.
        """
        ...

    async def due(self, now: datetime) -> Service | None:
        """One whose sunset has come, and that is not retired."""
        ...

    async def replacing(self, versions: Sequence[Version]) -> Sequence[Service]:
        """Those that take the place of one of these."""
        ...

    async def search(
        self, viewer: PartyId, search: Search, after: tuple[str, int] | None, limit: int
    ) -> Sequence[Service]:
        """What the viewer may see of what is looked for, by name and version."""
        ...

    async def everything(self, after: tuple[str, int] | None, limit: int) -> Sequence[Service]:
        """For the hub itself: all services, drafts and retired ones among them."""
        ...


class Catalogue(Protocol):
    def open(self) -> AbstractAsyncContextManager[Shelf]: ...


class Reader(Protocol):
    async def read(self, document: Document) -> tuple[Sequence[Operation], str]:
        """What can be called by a document, and what version it says it is of ("" where it says
        none); BadDocument where it cannot be read.
        """
        ...


class Pulse(Protocol):
    async def of(self, service: Service) -> Sequence[dict[str, Any]]:
        """How its endpoints are, one by one, as its provider is shown it."""
        ...


class Memory(Protocol):
    async def refresh(self) -> None:
        """See in this process what has just been committed."""
        ...
