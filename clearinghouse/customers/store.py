"""Customer contracts on PostgreSQL. Written in batches; the token uid's primary key keeps the law.

One EVSP's writers wait for one another (an advisory lock), so that two uploads of one list come out
as one of them; two EVSPs meet only where they name the same token uid.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from clearinghouse.customers.model import (
    AuthorisationMode,
    CustomerContract,
    Kept,
    Limits,
    Status,
    TokensRaced,
)
from kit import event_log
from kit.database import Database, Hot, metadata
from kit.encoding import encode_json
from kit.event_log import NewEvent
from roaming.contract_id import ContractId
from roaming.party import PartyId
from roaming.token import TokenUid

# Identifiers compare byte by byte: an index on them is smaller work than one of a language.
_Identifier = Text(collation="C")

customer_contract = Table(
    "customer_contract",
    metadata,
    Column("contract_id", _Identifier, primary_key=True),
    Column("evsp", _Identifier, nullable=False),
    Column("valid_from", DateTime(timezone=True)),
    Column("valid_until", DateTime(timezone=True)),
    Column("status", Text, nullable=False),
    Column("services", ARRAY(Text), nullable=False),
    Column("authorisation", Text, nullable=False),
    Column("display_name", Text),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Column("limits", JSONB),
    CheckConstraint("status IN ('active', 'blocked')", name="status"),
    CheckConstraint("authorisation IN ('list', 'ask', 'both')", name="authorisation"),
    schema="clearinghouse",
)
customer_token = Table(
    "customer_token",
    metadata,
    Column("uid", _Identifier, primary_key=True),
    Column(
        "contract_id",
        _Identifier,
        ForeignKey("clearinghouse.customer_contract.contract_id"),
        nullable=False,
        index=True,
    ),
    Column("evsp", _Identifier, nullable=False),
    schema="clearinghouse",
)

_COLUMNS = (
    "c.contract_id, c.valid_from, c.valid_until, c.status, c.services, c.authorisation,"
    " c.display_name, c.limits"
)
_TOKENS = (
    "ARRAY(SELECT t.uid FROM clearinghouse.customer_token AS t"
    " WHERE t.contract_id = c.contract_id ORDER BY t.uid) AS token_uids"
)
_FIND = (
    f"SELECT {_COLUMNS}, {_TOKENS} FROM clearinghouse.customer_contract AS c"
    " WHERE c.evsp = $1 AND c.contract_id = $2"
)
# A contract id begins with its provider, so the primary key gives one EVSP's in order.
_PAGE = (
    f"SELECT {_COLUMNS}, {_TOKENS} FROM clearinghouse.customer_contract AS c"
    " WHERE c.evsp = $1 AND c.contract_id > $2 AND c.contract_id < $3"
    " ORDER BY c.contract_id LIMIT $4"
)
_HELD = "SELECT uid FROM clearinghouse.customer_token WHERE uid = ANY($1::text[]) AND evsp <> $2"
_KEEP_CONTRACTS = """
INSERT INTO clearinghouse.customer_contract AS c (contract_id, evsp, valid_from, valid_until,
    status, services, authorisation, display_name, limits, changed_at)
  SELECT n.contract_id, $9, n.valid_from, n.valid_until, n.status, string_to_array(n.services, ','),
    n.authorisation, n.display_name, n.limits::jsonb, $10
  FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[], $6::text[],
    $7::text[], $8::text[]) AS n (contract_id, valid_from, valid_until, status, services,
    authorisation, display_name, limits)
ON CONFLICT (contract_id) DO UPDATE SET valid_from = excluded.valid_from,
    valid_until = excluded.valid_until, status = excluded.status, services = excluded.services,
    authorisation = excluded.authorisation, display_name = excluded.display_name,
    limits = excluded.limits, changed_at = excluded.changed_at
  WHERE (c.valid_from, c.valid_until, c.status, c.services, c.authorisation, c.display_name,
    c.limits) IS DISTINCT FROM (excluded.valid_from, excluded.valid_until, excluded.status,
    excluded.services, excluded.authorisation, excluded.display_name, excluded.limits)
RETURNING contract_id, xmax = 0 AS created
"""
_DROP_TOKENS = (
    "DELETE FROM clearinghouse.customer_token AS t WHERE t.contract_id = ANY($1::text[])"
    " AND NOT EXISTS (SELECT FROM unnest($2::text[]) AS n (uid) WHERE n.uid = t.uid)"
    " RETURNING t.contract_id"
)
# In order of the uid, so that two EVSPs who name the same ones do not wait for each other in a
# circle.
_KEEP_TOKENS = """
INSERT INTO clearinghouse.customer_token AS t (uid, contract_id, evsp)
  SELECT n.uid, n.contract_id, $3 FROM unnest($1::text[], $2::text[]) AS n (uid, contract_id)
  ORDER BY n.uid
ON CONFLICT (uid) DO UPDATE SET contract_id = excluded.contract_id
  WHERE t.evsp = excluded.evsp AND t.contract_id <> excluded.contract_id
RETURNING contract_id
"""


class SqlBook:
    """One EVSP's contracts in one transaction."""

    def __init__(self, connection: Hot, evsp: PartyId) -> None:
        self._connection = connection
        self._evsp = evsp

    async def find(self, contract_id: ContractId) -> CustomerContract | None:
        row = await self._connection.fetchrow(_FIND, self._evsp, contract_id)
        return None if row is None else to_contract(row)

    async def held_elsewhere(self, uids: Sequence[TokenUid]) -> frozenset[TokenUid]:
        if not uids:
            return frozenset()
        rows = await self._connection.fetch(_HELD, uids, self._evsp)
        return frozenset(TokenUid(row["uid"]) for row in rows)

    async def keep(self, contracts: Sequence[CustomerContract], at: datetime) -> Kept:
        if not contracts:
            return Kept(0, 0)
        written = await self._connection.fetch(
            _KEEP_CONTRACTS,
            [one.contract_id for one in contracts],
            [one.valid_from for one in contracts],
            [one.valid_until for one in contracts],
            [one.status for one in contracts],
            [",".join(one.services) for one in contracts],
            [one.authorisation for one in contracts],
            [one.display_name for one in contracts],
            [None if one.limits is None else _limits_to_json(one.limits) for one in contracts],
            self._evsp,
            at,
        )
        created = {row["contract_id"] for row in written if row["created"]}
        changed = {row["contract_id"] for row in written if not row["created"]}
        changed |= await self._keep_tokens(contracts)
        return Kept(created=len(created), changed=len(changed - created))

    async def _keep_tokens(self, contracts: Sequence[CustomerContract]) -> set[str]:
        """Give each uid to the last contract that names it; the ids of contracts that changed."""
        holders = {uid: one.contract_id for one in contracts for uid in one.token_uids}
        try:
            dropped = await self._connection.fetch(
                _DROP_TOKENS, [one.contract_id for one in contracts], list(holders)
            )
            taken = await self._connection.fetch(
                _KEEP_TOKENS, list(holders), list(holders.values()), self._evsp
            )
        except asyncpg.DeadlockDetectedError as error:
            raise TokensRaced(
                "another EVSP writes the same token uids", rule="try again"
            ) from error
        if await self.held_elsewhere(list(holders)):
            raise TokensRaced("another EVSP took one of the token uids", rule="try again")
        return {row["contract_id"] for row in (*dropped, *taken)}

    async def tell(self, event: NewEvent) -> None:
        await event_log.append(self._connection, [event])


class SqlCustomers:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def write(self, evsp: PartyId) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"customers:{evsp}"
            )
            yield SqlBook(connection, evsp)

    async def find(self, evsp: PartyId, contract_id: ContractId) -> CustomerContract | None:
        async with self._database.hot() as connection:
            return await SqlBook(connection, evsp).find(contract_id)

    async def page(
        self, evsp: PartyId, *, after: ContractId | None, limit: int
    ) -> Sequence[CustomerContract]:
        async with self._database.hot() as connection:
            rows = await connection.fetch(
                _PAGE, evsp, after or evsp.compact, evsp.compact + "~", limit
            )
        return [to_contract(row) for row in rows]


def to_contract(row: Any) -> CustomerContract:
    return CustomerContract(
        contract_id=ContractId(row["contract_id"]),
        token_uids=tuple(map(TokenUid, row["token_uids"])),
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        status=Status(row["status"]),
        services=tuple(row["services"]),
        authorisation=AuthorisationMode(row["authorisation"]),
        display_name=row["display_name"],
        limits=None if row["limits"] is None else Limits(**row["limits"]),
    )


def _limits_to_json(limits: Limits) -> str:
    """All members, so that the same limits are the same row."""
    return encode_json(asdict(limits)).decode()
