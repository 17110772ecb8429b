"""What the finder's routes ask for: the charge points, searched and looked up."""

from __future__ import annotations

from typing import Protocol

from roaming.evse_id import EvseId
from roaming.party import PartyId
from search_evse.finder.model import EvseFound, Page, Query


class Finder(Protocol):
    async def search(self, query: Query) -> Page:
        """The next page: nearest first where a place is given, else by EVSE id.

        EVSEs that are removed, or that their operator does not publish, are not found.
        """

    async def look_up(self, evse_id: EvseId, *, asker: PartyId) -> EvseFound | None:
        """One EVSE, also a removed one; an unpublished one for its operator only."""
