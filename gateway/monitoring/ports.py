"""What monitoring asks of the usage records."""

from __future__ import annotations

from typing import Protocol

from gateway.monitoring.model import Page, Question
from roaming.party import PartyId


class Records(Protocol):
    async def figures(
        self, party: PartyId | None, question: Question, *, limit: int, cursor: str | None
    ) -> Page:
        """Of calls that `party` made or answered; None: of all. BadCursor, TooMuchToReckon."""
        ...
