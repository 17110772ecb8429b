"""The operators' own cards on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import CheckConstraint, Column, Table, Text

from central_system.cards.model import Card, CardStatus
from kit.database import Database, metadata
from roaming.party import PartyId

card = Table(
    "card",
    metadata,
    Column("operator", Text(collation="C"), primary_key=True),
    Column("id_tag", Text(collation="C"), primary_key=True),
    Column("status", Text, nullable=False),
    CheckConstraint("status IN ('accepted', 'blocked', 'expired')", name="status"),
    schema="central_system",
)


class SqlCards:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, operator: PartyId, id_tag: str) -> Card | None:
        status = await self._database.pool.fetchval(
            "SELECT status FROM central_system.card WHERE operator = $1 AND id_tag = $2",
            operator,
            id_tag,
        )
        return None if status is None else Card(id_tag, CardStatus(status))

    async def put(self, operator: PartyId, cards: Sequence[Card]) -> int:
        # The last of several spellings of one tag counts, as it would one call after the other.
        statuses = {one.id_tag: one.status.value for one in cards}
        async with self._database.hot() as connection:
            made = await connection.fetch(
                "INSERT INTO central_system.card AS c (operator, id_tag, status)"
                " SELECT $1, n.id_tag, n.status FROM unnest($2::text[], $3::text[])"
                " AS n (id_tag, status) ORDER BY n.id_tag"
                " ON CONFLICT (operator, id_tag) DO UPDATE SET status = excluded.status"
                " RETURNING (c.xmax = 0) AS is_new",
                operator,
                list(statuses),
                list(statuses.values()),
            )
        return sum(1 for row in made if row["is_new"])
