"""What the usage routes ask of the books."""

from __future__ import annotations

from datetime import date
from typing import Protocol

from gateway.usage.model import UsagePage
from roaming.party import PartyId


class Usage(Protocol):
    async def by_day(
        self,
        party: PartyId,
        *,
        first: date,
        last: date,
        contract_id: str | None,
        limit: int,
        cursor: str | None,
    ) -> UsagePage:
        """Calls that `party` made or answered, by contract and UTC day. Raises BadCursor."""
        ...
