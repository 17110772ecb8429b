"""PostgreSQL writing again what an intake of CDRs wrote, into the same tables, and nothing else.

The same rows under other ids, with the tables' indexes and triggers, in the same commits, over one
connection, all known beforehand: no look-up, no price, no hash chain, no lock.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from kit.database import Hot

# Ids of rows that are written here are greater than any of ours, and those of COPY greater still.
_SHIFT = 10**12

_EVENT = (
    *("position", "xid", "stream", "version", "type", "party", "occurred_at", "recorded_at"),
    *("correlation_id", "causation_id", "body", "hash", "actor"),
)
_CDR = (
    *("log_position", "log_xid", "operator", "cdr_id", "state", "reasons", "evse_id"),
    *("authorisation_id", "told_contract_id", "token_uid", "evsp", "contract_id", "started_at"),
    *("ended_at", "told_time_zone", "energy_wh", "periods", "signed_meter_values"),
    *("agreement_id", "time_zone", "currency", "excl_vat_minor", "vat_minor", "price_lines"),
    *("notices", "total_cost", "credit_reference_id", "replaces", "moved_to", "clearing_group"),
    *("vat_rule", "vat_category", "vat_percent", "meter_check"),
    *("content", "fingerprint", "recorded_at"),
)
_POSTING = (
    *("posting_id", "kind", "book", "book_no", "operator", "cdr_id", "value_at", "recorded_at"),
    "hash",
)
_ENTRY = (
    *("posting_id", "account", "party", "counterparty", "currency", "amount_minor"),
    *("value_at", "cdrs", "clearing_group"),
)
_TABLES = (
    ("kit", "event", _EVENT),
    ("clearinghouse", "cdr", _CDR),
    ("clearinghouse", "ledger_posting", _POSTING),
    ("clearinghouse", "ledger_entry", _ENTRY),
)
_OF_TABLE = {
    "event": f"SELECT xid::text AS commit, {', '.join(_EVENT)} FROM kit.event"
    " WHERE position > $1 AND position < $2 ORDER BY position",
    "cdr": f"SELECT log_xid::text AS commit, {', '.join(_CDR)} FROM clearinghouse.cdr"
    " WHERE log_position > $1 AND log_position < $2 ORDER BY log_position",
    "ledger_posting": "SELECT c.log_xid::text AS commit,"
    f" {', '.join(f'p.{name}' for name in _POSTING)} FROM clearinghouse.ledger_posting AS p"
    " JOIN clearinghouse.cdr AS c ON c.log_position = p.posting_id"
    " WHERE p.posting_id > $1 AND p.posting_id < $2 ORDER BY p.posting_id",
    "ledger_entry": "SELECT c.log_xid::text AS commit,"
    f" {', '.join(f'e.{name}' for name in _ENTRY)} FROM clearinghouse.ledger_entry AS e"
    " JOIN clearinghouse.cdr AS c ON c.log_position = e.posting_id"
    " WHERE e.posting_id > $1 AND e.posting_id < $2 ORDER BY e.entry_id",
}


@dataclass(frozen=True, slots=True)
class Commit:
    """The rows of one transaction, in the order of their columns."""

    events: list[list[Any]] = field(default_factory=list)
    cdrs: list[list[Any]] = field(default_factory=list)
    postings: list[list[Any]] = field(default_factory=list)
    entries: list[list[Any]] = field(default_factory=list)

    @property
    def tables(self) -> tuple[list[list[Any]], ...]:
        return self.events, self.cdrs, self.postings, self.entries

    def under_other_ids(self, times: int) -> Commit:
        """What is unique becomes unique again."""
        mark, shift = f"{times} ", times * _SHIFT
        return Commit(
            [[row[0] + shift, row[1], mark + row[2], *row[3:]] for row in self.events],
            [
                [shift + row[0], *row[1:3], mark + row[3], *row[4:-2], *_other(row[-2:], times)]
                for row in self.cdrs
            ],
            [[row[0] + shift, row[1], mark + row[2], *row[3:]] for row in self.postings],
            [[row[0] + shift, *row[1:]] for row in self.entries],
        )


def _other(tail: Sequence[Any], times: int) -> tuple[Any, Any]:
    fingerprint, recorded_at = tail
    return fingerprint and bytes(byte ^ times for byte in fingerprint), recorded_at


class Alone:
    """One connection, on which jsonb is text and stays it."""

    def __init__(self, connection: Hot, inserts: Sequence[str]) -> None:
        self._connection = connection
        self._inserts = inserts

    async def newest(self) -> int:
        """The log position of the newest record that was not written here."""
        found: int = await self._connection.fetchval(
            "SELECT coalesce(max(log_position), 0) FROM clearinghouse.cdr WHERE log_position < $1",
            _SHIFT,
        )
        return found

    async def read(self, after: int) -> list[Commit]:
        """What was written behind a log position, commit by commit."""
        commits: dict[str, Commit] = {}
        for place, (_, table, _) in enumerate(_TABLES):
            for row in await self._connection.fetch(_OF_TABLE[table], after, _SHIFT):
                commit, *values = row
                commits.setdefault(commit, Commit()).tables[place].append(values)
        return list(commits.values())

    async def insert(self, commits: Sequence[Commit]) -> float:
        """Write them by INSERT from arrays; the seconds that it took."""
        columns = [
            [list(zip(*rows, strict=True)) for rows in commit.under_other_ids(1).tables]
            for commit in commits
        ]
        began = time.perf_counter()
        for tables in columns:
            async with self._connection.transaction():
                for statement, arrays in zip(self._inserts, tables, strict=True):
                    await self._connection.execute(statement, *arrays)
        return time.perf_counter() - began

    async def copy(self, commits: Sequence[Commit]) -> float:
        """Write them by COPY; the seconds that it took."""
        others = [commit.under_other_ids(2).tables for commit in commits]
        began = time.perf_counter()
        for tables in others:
            async with self._connection.transaction():
                for (schema, table, columns), rows in zip(_TABLES, tables, strict=True):
                    await self._connection.copy_records_to_table(
                        table, schema_name=schema, columns=columns, records=iter(rows)
                    )
        return time.perf_counter() - began


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Alone]:
    connection = await asyncpg.connect(url)
    try:
        await connection.set_type_codec(
            "jsonb",
            encoder=lambda text: b"\x01" + text.encode(),
            decoder=lambda sent: sent[1:].decode(),
            schema="pg_catalog",
            format="binary",
        )
        inserts = [await _insert(connection, *table) for table in _TABLES]
        yield Alone(connection, inserts)
    finally:
        await connection.close()


async def _insert(connection: Hot, schema: str, table: str, columns: Sequence[str]) -> str:
    attributes = await connection.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = $1::text::regclass AND attnum > 0",
        f"{schema}.{table}",
    )
    types = {row[0]: row[1] for row in attributes}
    arrays = ", ".join(f"${n}::{types[name]}[]" for n, name in enumerate(columns, 1))
    return (
        f"INSERT INTO {schema}.{table} ({', '.join(columns)}) OVERRIDING SYSTEM VALUE"
        f" SELECT * FROM unnest({arrays})"
    )
