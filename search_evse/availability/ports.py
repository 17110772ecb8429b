"""What a status report needs: the standing status, held still while it is judged."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from kit.event_log import NewEvent
from roaming.evse_id import EvseId
from search_evse.availability.model import Standing


class Board(Protocol):
    """One open transaction. Leaving it commits; an exception undoes it."""

    async def standing(self, evse_id: EvseId) -> Standing | None:
        """The status that nobody else changes until the board is closed."""

    async def write(self, evse_id: EvseId, standing: Standing) -> None: ...

    async def tell(self, event: NewEvent) -> None: ...


class Boards(Protocol):
    def open(self) -> AbstractAsyncContextManager[Board]: ...
