"""What handing in records needs: the charges that are over, and the clearing house."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from central_system.hub.model import CdrAnswer
from central_system.transactions.model import CdrState
from roaming.party import PartyId


class Outbox(Protocol):
    """Records that the clearing house has not answered yet."""

    async def operators(self) -> list[PartyId]:
        """Those who have any."""
        ...

    async def next(self, operator: PartyId, limit: int) -> list[tuple[int, Mapping[str, Any]]]:
        """The oldest ones, each with its transaction id."""
        ...

    async def answered(self, answers: Sequence[tuple[int, CdrState, Sequence[str]]]) -> None:
        """Transaction id, state and reasons: these need not be sent again."""
        ...


class ClearingHouse(Protocol):
    async def send(self, operator: PartyId, cdrs: Sequence[Mapping[str, Any]]) -> list[CdrAnswer]:
        """HubAway, HubRefused."""
        ...
