"""Everybody's business details in memory: VAT is decided for every charge, and waits for nothing.

Partners are thousands and change their seat seldom, so the book holds all of it and reads all of it
anew when there is more. Nothing in the table is ever changed, so the number of rows tells whether
there is; a transaction that commits late is counted when it does.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from datetime import datetime

from marketplace.business.model import BusinessDetails
from marketplace.business.ports import Source
from roaming.party import PartyId

_Dated = tuple[list[datetime], list[BusinessDetails]]


class BusinessBook:
    """Use after `load`; before it, nobody has told anything."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = asyncio.Lock()
        self._rows = -1
        self._held: dict[PartyId, _Dated] = {}

    async def load(self) -> None:
        """Read what there is."""
        async with self._lock:
            await self._read()

    async def refresh(self) -> None:
        """See whatever was committed before this call. A book that was never loaded stays empty:
        a process that prices nothing needs none.
        """
        async with self._lock:
            if self._rows >= 0 and await self._source.count() != self._rows:
                await self._read()

    def details_at(self, party: PartyId, at: datetime) -> BusinessDetails | None:
        """What holds for a party at a moment."""
        dated = self._held.get(party)
        if dated is None:
            return None
        starts, details = dated
        place = bisect_right(starts, at)
        return details[place - 1] if place else None

    async def _read(self) -> None:
        told = await self._source.all()
        by_party: dict[PartyId, dict[datetime, BusinessDetails]] = {}
        for one in told:
            # Told later for the same moment: that is what holds.
            by_party.setdefault(one.party, {})[one.valid_from] = one
        self._held = {
            party: (sorted(dated), [dated[start] for start in sorted(dated)])
            for party, dated in by_party.items()
        }
        self._rows = len(told)
