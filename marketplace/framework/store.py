"""Modules, clauses and papers on PostgreSQL: rows are added and never changed.

Bodies are kept as the bytes that were hashed (RFC 8785), not as JSONB, which would spell them anew.
The rows stay in this file.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

import rfc8785
from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    Table,
    Text,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

import kit.event_log  # noqa: F401  its kit.forbid_change must be made before our triggers
from kit.database import Database, attach_ddl, metadata
from kit.event_log import NewEvent, append
from marketplace.framework.document import Signature
from marketplace.framework.model import MOST_MODULES, Clauses, Library, Module
from marketplace.framework.ports import Paper
from roaming.events import EventType
from roaming.party import PartyId

modules_table = Table(
    "contract_module",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    # Null: it came with the hub.
    Column("published_by", Text),
    Column("published_at", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)
clauses_table = Table(
    "clauses",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    schema="marketplace",
)
papers_table = Table(
    "contract_document",
    metadata,
    Column("contract_id", Text, ForeignKey("marketplace.contract.contract_id"), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("signatures", JSONB, nullable=False),
    Column("kept_at", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)
for _table in (modules_table, clauses_table, papers_table):
    attach_ddl(
        f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {_table.fullname}"
        " FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()"
    )


class SqlShelf:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def lock(self) -> None:
        await self._connection.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended("framework", 0)))
        )

    async def library(self) -> Library:
        return await library_of(self._connection)

    async def built_in_names(self) -> frozenset[str]:
        table = modules_table.c
        query = select(table.name, table.published_by).order_by(table.version)
        last = {row.name: row.published_by for row in await self._connection.execute(query)}
        return frozenset(name for name, by in last.items() if by is None)

    async def add(self, module: Module, by: PartyId | None, now: datetime) -> None:
        await self._connection.execute(
            modules_table.insert().values(
                name=module.name,
                version=module.version,
                digest=module.digest,
                body=rfc8785.dumps(module.to_json()),
                published_by=by,
                published_at=now,
            )
        )
        if by is not None:
            body = {
                "name": module.name,
                "version": module.version,
                "kinds": {kind.value: need.value for kind, need in module.kinds.items()},
                "sha256": module.digest.hex(),
            }
            kind = EventType.CONTRACT_MODULE_PUBLISHED
            await append(
                self._connection, [NewEvent(f"framework:{module.name}", kind, by, body, now)]
            )

    async def paper(self, contract_id: str) -> Paper | None:
        query = select(papers_table).where(papers_table.c.contract_id == contract_id)
        row = (await self._connection.execute(query)).first()
        if row is None:
            return None
        return Paper(bytes(row.body), [_to_signature(one) for one in row.signatures])

    async def keep_paper(self, contract_id: str, paper: Paper, now: datetime) -> None:
        await keep_paper(self._connection, contract_id, paper, now)


class SqlShelves:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlShelf]:
        async with self._database.begin() as connection:
            yield SqlShelf(connection)


async def library_of(connection: AsyncConnection) -> Library:
    """All versions of all modules, as this transaction sees them."""
    table = modules_table.c
    rows = await connection.execute(select(table.version, table.body))
    return Library([_to_module(row.version, bytes(row.body)) for row in rows])


async def keep_clauses(connection: AsyncConnection, many: Sequence[Clauses]) -> list[bytes]:
    """Keep clauses once each; their digests in order."""
    bodies = {one.digest: one.body for one in many}
    if bodies:
        rows = [{"digest": digest, "body": body} for digest, body in sorted(bodies.items())]
        await connection.execute(insert(clauses_table).values(rows).on_conflict_do_nothing())
    return [one.digest for one in many]


async def clauses_of(
    connection: AsyncConnection, digests: Collection[bytes]
) -> Mapping[bytes, Clauses]:
    """Clauses by their digests."""
    query = select(clauses_table).where(clauses_table.c.digest.in_(digests))
    rows = await connection.execute(query)
    return {bytes(row.digest): Clauses.parse(bytes(row.body)) for row in rows}


async def keep_paper(
    connection: AsyncConnection, contract_id: str, paper: Paper, now: datetime
) -> None:
    """A contract's document, in the transaction that makes the contract or later; the first that is
    kept stays."""
    await connection.execute(
        insert(papers_table)
        .values(
            contract_id=contract_id,
            body=paper.body,
            signatures=[_from_signature(one) for one in paper.signatures],
            kept_at=now,
        )
        .on_conflict_do_nothing()
    )


@lru_cache(maxsize=MOST_MODULES)
def _to_module(version: int, body: bytes) -> Module:
    """Never changed, and read for every offer that is made: parsed once."""
    return Module.parse(json.loads(body)).numbered(version)


def _from_signature(one: Signature) -> dict[str, Any]:
    return {
        "party": str(one.party),
        "key_id": one.key_id,
        "algorithm": one.algorithm,
        "signed_at": one.signed_at.isoformat(),
        "jws": one.jws,
    }


def _to_signature(told: Mapping[str, Any]) -> Signature:
    return Signature(
        party=PartyId(told["party"]),
        key_id=told["key_id"],
        algorithm=told["algorithm"],
        signed_at=datetime.fromisoformat(told["signed_at"]),
        jws=told["jws"],
    )
