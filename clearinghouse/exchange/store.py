"""Exchange rates on PostgreSQL: rows are added and never changed. The rows stay in this file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any

from sqlalchemy import Column, Date, DateTime, Index, Numeric, Table, Text

import kit.event_log  # noqa: F401  its kit.forbid_change must be made before our trigger
from clearinghouse.exchange.model import Rate
from clearinghouse.exchange.ports import Told
from kit.database import Database, Hot, attach_ddl, metadata

rates = Table(
    "exchange_rate",
    metadata,
    Column("base", Text(collation="C"), primary_key=True),
    Column("quote", Text(collation="C"), primary_key=True),
    Column("at", Date, primary_key=True),
    Column("rate", Numeric, nullable=False),
    Column("source", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)
Index("ix_exchange_rate_at", rates.c.at)
attach_ddl(
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON clearinghouse.exchange_rate
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
"""
)

_COLUMNS = "base, quote, rate, at, source"
# What the select sees is from before the insert: exactly the rates that stood already.
_ADD = """
WITH told AS (
  SELECT * FROM unnest($1::text[], $2::text[], $3::date[], $4::numeric[], $5::text[])
    AS t (base, quote, at, rate, source)
), added AS (
  INSERT INTO clearinghouse.exchange_rate (base, quote, at, rate, source, recorded_at)
  SELECT base, quote, at, rate, source, $6 FROM told
  ON CONFLICT DO NOTHING
)
SELECT r.base, r.quote, r.rate, r.at, r.source
FROM told AS t JOIN clearinghouse.exchange_rate AS r USING (base, quote, at)
"""
_AROUND = (
    f"SELECT {_COLUMNS} FROM clearinghouse.exchange_rate WHERE at BETWEEN $2 AND $3"
    " AND (base = ANY($1::text[]) OR quote = ANY($1::text[])) ORDER BY at"
)
_LATEST = (
    f"SELECT DISTINCT ON (base, quote) {_COLUMNS} FROM clearinghouse.exchange_rate"
    " ORDER BY base, quote, at DESC"
)
# One import at a time: of two that tell a day differently, the second must see the first's.
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('exchange-rates', 0))"


class SqlBook:
    def __init__(self, connection: Hot) -> None:
        self._connection = connection

    async def add(self, rates: Sequence[Rate], now: datetime) -> Mapping[Told, Rate]:
        await self._connection.execute(_ALONE)
        rows = await self._connection.fetch(
            _ADD,
            [one.base for one in rates],
            [one.quote for one in rates],
            [one.at for one in rates],
            [one.rate for one in rates],
            [one.source for one in rates],
            now,
        )
        return {(row["base"], row["quote"], row["at"]): _to_rate(row) for row in rows}

    async def around(self, currencies: Collection[str], first: date, last: date) -> Sequence[Rate]:
        rows = await self._connection.fetch(_AROUND, list(currencies), first, last)
        return [_to_rate(row) for row in rows]

    async def latest(self) -> Sequence[Rate]:
        return [_to_rate(row) for row in await self._connection.fetch(_LATEST)]


class SqlBooks:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            yield SqlBook(connection)


def _to_rate(row: Any) -> Rate:
    return Rate(row["base"], row["quote"], row["rate"], row["at"], row["source"])
