"""What the page asks of the wings, answered by the roof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


class Map(Protocol):
    async def places(self, limit: int) -> Sequence[Place]: ...


class Directory(Protocol):
    async def names(self) -> dict[str, str]:
        """The name of every partner, by party id."""
        ...


class Clearings(Protocol):
    async def payments(self, run_id: str) -> Sequence[Paid]: ...
