"""What the master data asks of the outside world: one book of sites, opened a batch at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from kit.event_log import NewEvent
from roaming.evse_id import EvseId
from search_evse.sites.model import Change, Held


class Book(Protocol):
    """One open transaction. Leaving it commits; an exception undoes it."""

    async def held(self, evse_ids: Collection[EvseId]) -> Mapping[EvseId, Held]:
        """What is held of these EVSEs, which nobody else changes until the book is closed."""

    async def write(self, changes: Sequence[Change]) -> None:
        """Hold these EVSEs and their sites from now on."""

    async def tell(self, events: Sequence[NewEvent]) -> None: ...


class Books(Protocol):
    def open(self) -> AbstractAsyncContextManager[Book]: ...
