"""Meters' public keys on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy import Column, DateTime, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from clearinghouse.meter_values.ports import Meter
from kit import event_log
from kit.database import Database, Hot, metadata
from kit.event_log import NewEvent
from roaming.evse_id import EvseId
from roaming.party import PartyId

meter_keys = Table(
    "meter_key",
    metadata,
    Column("operator", Text, primary_key=True),
    Column("evse_id", Text, primary_key=True),
    Column("public_keys", ARRAY(Text), nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)


class SqlBook:
    """Keys in one open transaction."""

    def __init__(self, connection: Hot) -> None:
        self._connection = connection

    async def register(
        self, meter: Meter, public_keys: Sequence[str], changed_at: datetime
    ) -> None:
        await self._connection.execute(
            "INSERT INTO clearinghouse.meter_key (operator, evse_id, public_keys, changed_at)"
            " VALUES ($1, $2, $3, $4) ON CONFLICT (operator, evse_id)"
            " DO UPDATE SET public_keys = excluded.public_keys, changed_at = excluded.changed_at",
            *meter,
            list(public_keys),
            changed_at,
        )

    async def tell(self, event: NewEvent) -> None:
        await event_log.append(self._connection, [event])


class SqlKeys:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, meters: Collection[Meter]) -> Mapping[Meter, Sequence[str]]:
        rows = await self._database.pool.fetch(
            "SELECT operator, evse_id, public_keys FROM clearinghouse.meter_key"
            " JOIN unnest($1::text[], $2::text[]) AS m (operator, evse_id)"
            " USING (operator, evse_id)",
            [operator for operator, _ in meters],
            [evse_id for _, evse_id in meters],
        )
        return {
            (PartyId(row["operator"]), EvseId(row["evse_id"])): row["public_keys"] for row in rows
        }

    async def find(self, evse_id: EvseId) -> tuple[PartyId, Sequence[str], datetime] | None:
        row = await self._database.pool.fetchrow(
            "SELECT operator, public_keys, changed_at FROM clearinghouse.meter_key"
            " WHERE evse_id = $1 ORDER BY changed_at DESC LIMIT 1",
            evse_id,
        )
        if row is None:
            return None
        return PartyId(row["operator"]), row["public_keys"], row["changed_at"]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            yield SqlBook(connection)
