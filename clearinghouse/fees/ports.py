"""What hub fees ask of the outside world: schedules, what was booked, and the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from clearinghouse.fees.model import Schedule, Usage
from clearinghouse.periods.model import Month
from roaming.money import Money
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Charged:
    """A fee as it was posted. `parts` as JSON: side, records, energy and prices."""

    month: Month
    party: PartyId
    net: Money
    vat: Money
    vat_rule: str
    vat_category: str | None
    vat_percent: Decimal | None
    parts: Sequence[dict[str, Any]]


class Book(Protocol):
    """Fees in one open transaction."""

    async def schedules(self) -> Sequence[Schedule]:
        """All there ever were, in the order of telling."""
        ...

    async def add(self, schedule: Schedule, hub: PartyId, now: datetime) -> None: ...

    async def used(self, month: Month) -> Sequence[Usage]:
        """What was booked with a value date in the month, by side and party."""
        ...

    async def post(self, fees: Sequence[Charged], hub: PartyId, now: datetime) -> None:
        """Write fees, their events and what they mean in money. A month has each once."""
        ...

    async def charged(self, party: PartyId, limit: int) -> Sequence[Charged]:
        """A party's latest fees, newest first."""
        ...


class Books(Protocol):
    def open(self) -> AbstractAsyncContextManager[Book]: ...
