"""Calls that cost money, added up by contract and month: what bills are made of.

A sum is made once and kept for who asked: it is of one moment, so that whoever reads it in parts
reads one truth. Records are added up where they are; reading them is left to PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Table, Text

from kit.database import Database, Hot, metadata

SLOW_S = 3_600.0

sums = Table(
    "usage_sum",
    metadata,
    # Who asked, as a billing run.
    Column("asked_by", Text, primary_key=True),
    Column("contract_id", Text, primary_key=True),
    # The beginning of the month, or that of a quarter of an hour in it.
    Column("begins_at", DateTime(timezone=True), primary_key=True),
    Column("quarter", Boolean, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("units", BigInteger, nullable=False),
    schema="gateway",
)

# What was tried out is never billable; it is said here once more, since money hangs on it.
_BILLABLE = "billable AND NOT sandbox AND at >= $1 AND at < $2"
_COUNTED = (
    "count(*) AS calls, sum(bytes_in + bytes_out)::bigint AS bytes, sum(units)::bigint AS units"
)
_QUARTER = "date_bin('15 minutes', at, $1)"
_BY_MONTH = f"""
INSERT INTO gateway.usage_sum
SELECT $3, contract_id, $1, false, {_COUNTED} FROM gateway.usage
WHERE {_BILLABLE} AND contract_id IS NOT NULL GROUP BY contract_id
"""
_BY_QUARTER = f"""
INSERT INTO gateway.usage_sum
SELECT $3, contract_id, {_QUARTER}, true, {_COUNTED} FROM gateway.usage
WHERE {_BILLABLE} AND contract_id = ANY($4) GROUP BY contract_id, 3
"""
_OF_SOME = f"""
SELECT contract_id, $1::timestamptz AS begins_at, false AS quarter, {_COUNTED} FROM gateway.usage
WHERE {_BILLABLE} AND provider = $3 AND contract_id = ANY($4) GROUP BY contract_id
"""
_QUARTERS_OF_SOME = f"""
SELECT contract_id, {_QUARTER} AS begins_at, true AS quarter, {_COUNTED} FROM gateway.usage
WHERE {_BILLABLE} AND provider = $3 AND contract_id = ANY($4) GROUP BY contract_id, 2
"""


class Sum(NamedTuple):
    """`quarter`: of the quarter of an hour that begins then; else of the whole month."""

    contract_id: str
    begins_at: datetime
    quarter: bool
    calls: int
    bytes: int
    units: int


class SqlSums:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_up(
        self,
        asked_by: str,
        spans: Sequence[tuple[datetime, datetime]],
        by_quarter: Sequence[str],
    ) -> None:
        """Each span from the beginning of a month, its end excluded. Asked again, added up anew."""
        async with self._database.hot() as connection:
            await _forget(connection, asked_by)
            for begins, ends in spans:
                await connection.execute(_BY_MONTH, begins, ends, asked_by, timeout=SLOW_S)
                if by_quarter:
                    await connection.execute(
                        _BY_QUARTER, begins, ends, asked_by, list(by_quarter), timeout=SLOW_S
                    )
        async with self._database.pool.acquire() as connection:
            # Read by contract from here on: what is just written has no statistics yet.
            await connection.execute("ANALYZE gateway.usage_sum")

    async def kept(self, asked_by: str, contract_ids: Sequence[str]) -> Sequence[Sum]:
        async with self._database.hot() as connection:
            rows = await connection.fetch(
                "SELECT contract_id, begins_at, quarter, calls, bytes, units FROM gateway.usage_sum"
                " WHERE asked_by = $1 AND contract_id = ANY($2) ORDER BY begins_at",
                asked_by,
                list(contract_ids),
            )
        return [Sum(*row) for row in rows]

    async def forget(self, asked_by: str) -> None:
        async with self._database.hot() as connection:
            await _forget(connection, asked_by)

    async def now(
        self,
        begins: datetime,
        ends: datetime,
        contract_ids: Mapping[str, Sequence[str]],
        by_quarter: Mapping[str, Sequence[str]],
    ) -> Sequence[Sum]:
        """What a few contracts, told by their providers, came to by now."""
        found: list[Sum] = []
        async with self._database.hot() as connection:
            for query, asked in ((_OF_SOME, contract_ids), (_QUARTERS_OF_SOME, by_quarter)):
                for provider, ids in asked.items():
                    rows = await connection.fetch(query, begins, ends, provider, list(ids))
                    found += [Sum(*row) for row in rows]
        return found


async def _forget(connection: Hot, asked_by: str) -> None:
    await connection.execute(
        "DELETE FROM gateway.usage_sum WHERE asked_by = $1", asked_by, timeout=SLOW_S
    )
