"""What the catalogue needs: services and documents kept, documents read, memory that hears."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from bridge.document import Document
from marketplace.services.changes import Change
from marketplace.services.model import Operation, Service
from roaming.party import PartyId


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

    async def search(
        self, viewer: PartyId, words: str, after: tuple[str, int] | None, limit: int
    ) -> Sequence[Service]:
        """What the viewer may see, by name and version; `words` all occur in it somewhere."""
        ...

    async def everything(self, after: tuple[str, int] | None, limit: int) -> Sequence[Service]:
        """For the hub itself: all services, drafts and retired ones among them."""
        ...


class Catalogue(Protocol):
    def open(self) -> AbstractAsyncContextManager[Shelf]: ...


class Reader(Protocol):
    async def operations(self, document: Document) -> Sequence[Operation]:
        """What can be called by a document; BadDocument where it cannot be read."""
        ...


class Memory(Protocol):
    async def refresh(self) -> None:
        """See in this process what has just been committed."""
        ...
