"""What the checking of meter values asks of the outside world."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from kit.event_log import NewEvent
from roaming.evse_id import EvseId
from roaming.party import PartyId

Meter = tuple[PartyId, EvseId]
"""An operator's EVSE: the keys of one operator say nothing at another's."""


class Evses(Protocol):
    async def find_many(
        self, evse_ids: Collection[EvseId]
    ) -> Mapping[EvseId, tuple[PartyId, *tuple[object, ...]]]:
        """Whose those of `evse_ids` are that the house knows, and more that is not asked here."""


class Book(Protocol):
    """Keys in one open transaction."""

    async def register(
        self, meter: Meter, public_keys: Sequence[str], changed_at: datetime
    ) -> None: ...

    async def tell(self, event: NewEvent) -> None: ...


class Keys(Protocol):
    async def of(self, meters: Collection[Meter]) -> Mapping[Meter, Sequence[str]]:
        """The registered keys of those that have any, in the house's spelling."""

    async def find(self, evse_id: EvseId) -> tuple[PartyId, Sequence[str], datetime] | None:
        """Who registered which keys for an EVSE last, and when."""

    def open(self) -> AbstractAsyncContextManager[Book]: ...
