"""What the catalogue needs: services kept, and memory that hears of changes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from marketplace.services.model import Service
from roaming.party import PartyId


class Shelf(Protocol):
    """The catalogue, in one transaction."""

    async def lock(self, name: str) -> None:
        """Nobody else registers or changes a service of this name until we are done."""
        ...

    async def versions(self, name: str) -> Sequence[Service]: ...

    async def add(self, service: Service, now: datetime) -> None: ...

    async def save_status(self, service: Service, by: PartyId, now: datetime) -> None: ...

    async def search(
        self, viewer: PartyId, words: str, after: tuple[str, int] | None, limit: int
    ) -> Sequence[Service]:
        """What the viewer may see, by name and version; `words` all occur in it somewhere."""
        ...


class Catalogue(Protocol):
    def open(self) -> AbstractAsyncContextManager[Shelf]: ...


class Memory(Protocol):
    async def refresh(self) -> None:
        """See in this process what has just been committed."""
        ...
