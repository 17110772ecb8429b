"""One private key for each operator, sealed with the central system's own secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, DateTime, LargeBinary, Table, Text, select
from sqlalchemy.dialects.postgresql import insert

from central_system.hub.ports import Box, Key
from kit.clock import Clock
from kit.database import Database, metadata
from kit.encoding import encode_json
from roaming.party import PartyId

key = Table(
    "key",
    metadata,
    Column("operator", Text(collation="C"), primary_key=True),
    Column("sealed_jwk", LargeBinary, nullable=False),
    Column("client_id", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    schema="central_system",
)


class SqlKeys:
    """Keys on PostgreSQL; several processes agree on one, whoever made it first."""

    def __init__(self, database: Database, box: Box, clock: Clock) -> None:
        self._database = database
        self._box = box
        self._clock = clock

    async def load(self, operator: PartyId) -> Key | None:
        async with self._database.begin() as connection:
            row = (await connection.execute(select(key).where(key.c.operator == operator))).first()
        if row is None:
            return None
        opened = self._box.unseal(row.sealed_jwk, purpose=_purpose(operator))
        return Key(json.loads(opened), row.client_id)

    async def keep(self, operator: PartyId, private_jwk: Mapping[str, Any]) -> Key:
        sealed = self._box.seal(encode_json(private_jwk), purpose=_purpose(operator))
        async with self._database.begin() as connection:
            await connection.execute(
                insert(key)
                .values(operator=operator, sealed_jwk=sealed, created_at=self._clock())
                .on_conflict_do_nothing()
            )
        kept = await self.load(operator)
        assert kept is not None
        return kept

    async def name(self, operator: PartyId, client_id: str) -> None:
        async with self._database.begin() as connection:
            await connection.execute(
                key.update().where(key.c.operator == operator).values(client_id=client_id)
            )


def _purpose(operator: PartyId) -> str:
    return f"central-system-key:{operator}"
