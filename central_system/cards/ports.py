"""What answering a card needs: the operator's own list, and the clearing house for all others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from central_system.cards.model import Card
from central_system.hub.model import Decision
from roaming.evse_id import EvseId
from roaming.party import PartyId


class Cards(Protocol):
    async def find(self, operator: PartyId, id_tag: str) -> Card | None: ...

    async def put(self, operator: PartyId, cards: Sequence[Card]) -> int:
        """Know these cards from now on, all or none; how many were new."""
        ...


class ClearingHouse(Protocol):
    async def authorise(
        self,
        operator: PartyId,
        *,
        evse_id: EvseId,
        id_tag: str,
        charge_id: str | None,
        at: datetime | None,
    ) -> Decision:
        """HubAway, HubRefused."""
        ...
