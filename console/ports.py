"""What the page asks of the wings, answered by the roof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Place:
    """A charge point on the map."""

    evse_id: str
    operator: str
    latitude: float
    longitude: float
    time_zone: str | None


@dataclass(frozen=True, slots=True)
class Paid:
    """One payment of the latest multilateral clearing run; `amount_minor` excludes VAT."""

    payer: str
    payee: str
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class EndpointSeen:
    """One address of a service by its place in the catalogue (`live-1`), never by its URL, which
    may hold a key. Of `processes` that have seen it lately, `resting_in` let it alone.
    """

    place: str
    state: str
    processes: int
    resting_in: int
    last_failure: str | None
    failed_at: datetime | None


@dataclass(frozen=True, slots=True)
class ServiceSeen:
    """A service that was called, or whose endpoints were seen, within the last `minutes`.

    `failed`: its provider's fault; `theirs`: the callers' own. `p95_ms` None: nobody called.
    """

    name: str
    major: int
    provider: str
    minutes: int
    calls: int
    failed: int
    theirs: int
    p95_ms: float | None
    endpoints: Sequence[EndpointSeen]


class Map(Protocol):
    async def places(self, limit: int) -> Sequence[Place]: ...


class Directory(Protocol):
    async def names(self) -> dict[str, str]:
        """The name of every partner, by party id."""
        ...


class Clearings(Protocol):
    async def payments(self, run_id: str) -> Sequence[Paid]: ...


class Services(Protocol):
    async def services(self, limit: int) -> Sequence[ServiceSeen]:
        """How they fare, those first that fare worst."""
        ...
