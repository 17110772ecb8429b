"""Statuses in PostgreSQL: two columns of `search_evse.evse`, whose table sites/store.py makes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kit import event_log
from kit.database import Database, Hot
from kit.event_log import NewEvent
from roaming.evse_id import EvseId
from roaming.party import PartyId
from search_evse.availability.model import Standing
from search_evse.sites.model import Status

_STANDING = """
SELECT operator, status, status_at FROM search_evse.evse WHERE evse_id = $1 FOR UPDATE
"""
_WRITE = "UPDATE search_evse.evse SET status = $2, status_at = $3 WHERE evse_id = $1"


class SqlBoard:
    def __init__(self, connection: Hot) -> None:
        self._connection = connection

    async def standing(self, evse_id: EvseId) -> Standing | None:
        row = await self._connection.fetchrow(_STANDING, evse_id)
        if row is None:
            return None
        return Standing(PartyId(row["operator"]), Status(row["status"]), row["status_at"])

    async def write(self, evse_id: EvseId, standing: Standing) -> None:
        await self._connection.execute(_WRITE, evse_id, standing.status, standing.at)

    async def tell(self, event: NewEvent) -> None:
        await event_log.append(self._connection, [event])


class SqlBoards:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlBoard]:
        async with self._database.hot() as connection:
            yield SqlBoard(connection)
