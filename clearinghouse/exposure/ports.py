"""What exposure asks of the outside world."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from clearinghouse.exposure.model import Deposit, Figures, Limit, Movement
from kit.event_log import NewEvent
from roaming.money import Money
from roaming.party import PartyId


class Book(Protocol):
    """One EVSP's exposure in one open transaction. Leaving it commits, an exception undoes it."""

    async def limit(self) -> Limit | None: ...

    async def keep(self, limit: Limit, events: Sequence[NewEvent]) -> None: ...

    async def lift(self, events: Sequence[NewEvent]) -> None:
        """From now on the EVSP may owe whatever it is."""

    async def figures(self, now: datetime) -> Figures | None:
        """What counts against the limit; None without one."""

    async def look(self, now: datetime) -> None:
        """Tell it if the EVSP has come nearer its limit, or gone away from it."""

    async def movement(self, reference: str) -> Movement | None:
        """What the reference was used for, whoever's it is."""

    async def deposited(self, deposit: Deposit, currency: str) -> Money:
        """What the hub holds of the EVSP."""

    async def move(self, movement: Movement, event: NewEvent) -> None:
        """Book a deposit, or what goes back, with its posting in the hub's book."""

    async def expire(self, now: datetime) -> int:
        """End the holds that have waited too long; how many."""


class Books(Protocol):
    def read(self, evsp: PartyId) -> AbstractAsyncContextManager[Book]: ...

    def alone(self, evsp: PartyId) -> AbstractAsyncContextManager[Book]:
        """Whoever else takes or gives for this EVSP, in whatever process, waits meanwhile."""

    async def watched(self, now: datetime) -> Sequence[PartyId]:
        """The EVSPs that have a limit, or holds that have waited too long."""
