"""What is asked for to tell how endpoints are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from gateway.health.model import Place, Report
from roaming.party import PartyId


class Listed(NamedTuple):
    """A service in the catalogue."""

    provider: PartyId
    places: Sequence[Place]


class Catalogue(Protocol):
    def endpoints(self, name: str, major: int) -> Listed | None:
        """None: there is no such service, or it is the hub's own."""
        ...


class Seen(Protocol):
    def __call__(self) -> Iterable[Report]:
        """What this process has seen of every endpoint that it has called."""
        ...


class Reports(Protocol):
    async def keep(self, reports: Sequence[Report], now: datetime) -> None:
        """Keep what this process has seen, and tell of endpoints that went down or came back."""
        ...

    async def read(
        self, name: str, major: int, now: datetime
    ) -> Mapping[tuple[bool, str], Sequence[Report]]:
        """What the processes have seen that still live, by `Place.address`."""
        ...
