"""What stations need: a place to be known in, and the hub's search to tell their status to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from typing import Protocol

from central_system.stations.model import Due, Enrolled, Enrolment, News, Station, StationRef
from roaming.evse_id import EvseId
from roaming.party import PartyId


class Stations(Protocol):
    async def enrol(
        self, operator: PartyId, asked: Sequence[Enrolment], now: datetime
    ) -> list[Enrolled]:
        """All of them or none, and their event. EvseTaken."""
        ...

    async def find(self, ref: StationRef) -> Station | None: ...

    async def page(
        self, operator: PartyId, *, after: str, limit: int, now: datetime
    ) -> list[Station]:
        """The operator's stations behind `after`, in the order of their names."""
        ...

    async def connected(self, ref: StationRef, connection_id: str, now: datetime) -> None:
        """The station speaks over this connection from now on; other processes hear of it."""
        ...

    async def disconnected(self, ref: StationRef, connection_id: str, now: datetime) -> None:
        """It does so no more, unless another connection has taken its place."""
        ...

    async def connection_of(self, ref: StationRef) -> str | None:
        """Over which connection the station speaks, in whatever process."""
        ...

    def news(self) -> AsyncIterator[News]:
        """What other processes did to stations, for ever."""
        ...

    async def renew(self, connection_ids: Collection[str], now: datetime) -> None:
        """These connections are still held."""
        ...


class Statuses(Protocol):
    async def due(self, limit: int) -> list[Due]: ...

    async def told(self, due: Due) -> None:
        """The hub knows this status; a newer one stays due."""
        ...


class SearchEvse(Protocol):
    async def tell_status(self, operator: PartyId, evse_id: EvseId, status: str) -> None:
        """HubAway, HubRefused."""
        ...
