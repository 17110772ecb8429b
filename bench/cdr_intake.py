"""Charge detail records, taken in over HTTP, beside PostgreSQL writing the same rows alone.

Ours reads, validates, looks up, prices, checks that nothing comes twice, and has record, ledger
entries and the event in its hash chain on disk before it answers. The limit is COPY of the very
rows that came out of it into the same tables, with their indexes and triggers, in commits of the
same size, over one connection and with everything known beforehand.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from bench import clearing_house, serving
from bench.asking import Plan, ask
from bench.processes import cpu_s, free_port, running
from bench.row import Options, Row
from bench.world import World
from kit.database import Database, Hot

NAME = "cdr-intake"

WORLD = World(operators=100, evsps=100, customers=100_000, evses=20_000)
QUICK = World(operators=10, evsps=10, customers=2_000, evses=200)
LIMIT = "PostgreSQL alone: COPY of the same rows in commits of the same size"
IN_ARRAY = 500
SHIFT = 10**12
_FIRST_DAY = datetime(2025, 1, 6, tzinfo=UTC)


@dataclass(slots=True)
class _Way:
    """One way of handing records in, and the best that was seen of it and of its limit."""

    unit: str
    in_a_call: int
    at_once: int
    calls: int
    per_s: float = 0.0
    cpu_us: float = float("inf")
    limit_per_s: float = 0.0
    limit_cpu_us: float = float("inf")
    in_a_commit: list[float] = field(default_factory=list)

    @property
    def cdrs(self) -> int:
        return self.calls * self.in_a_call


async def run(options: Options) -> list[Row]:
    world = QUICK if options.quick else WORLD
    rounds = 1 if options.quick else 3
    arrays = _Way("CDRs/s in arrays", IN_ARRAY, 4, calls=4 if options.quick else 24)
    singles = _Way("CDRs/s one by one", 1, 64, calls=300 if options.quick else 5_000)
    database = await Database.open(options.database_url, pool_size=2)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        await world.load(database)
        database_pid = await serving.postmaster(database)
        alone = await asyncpg.connect(options.database_url)
        stack.push_async_callback(alone.close)
        await alone.set_type_codec(
            "jsonb", encoder=bytes, decoder=bytes, schema="pg_catalog", format="binary"
        )
        port = free_port()
        server_pid = await stack.enter_async_context(
            running(
                clearing_house.command(port),
                port,
                environment={serving.DATABASE: options.database_url},
            )
        )
        told = _Tellings(world)
        # In turns, so that what else this machine does meanwhile falls on both. The first is to
        # warm up and is not counted.
        for turn in range(rounds + 1):
            for way in (arrays, singles):
                file = told.write(options.scratch, way)
                known = await _newest(alone)
                before = cpu_s(server_pid) + cpu_s(database_pid)
                answered = await ask(
                    Plan(
                        port=port,
                        path="/cdrs",
                        file=str(file),
                        requests=way.calls,
                        at_once=way.at_once,
                    )
                )
                spent = cpu_s(server_pid) + cpu_s(database_pid) - before
                rows = await _Rows.read(alone, known)
                assert len(rows.cdrs) == way.cdrs, "every record was booked"
                before = time.process_time() + cpu_s(database_pid)
                took = await rows.write(alone)
                alone_spent = time.process_time() + cpu_s(database_pid) - before
                if turn or options.quick:
                    way.per_s = max(way.per_s, way.cdrs / answered.seconds)
                    way.cpu_us = min(way.cpu_us, 1e6 * spent / way.cdrs)
                    way.limit_per_s = max(way.limit_per_s, way.cdrs / took)
                    way.limit_cpu_us = min(way.limit_cpu_us, 1e6 * alone_spent / way.cdrs)
                    way.in_a_commit.append(way.cdrs / len(rows.commits))
    return [row for way in (arrays, singles) for row in _rows(world, way)]


def _rows(world: World, way: _Way) -> list[Row]:
    params = {
        "customers": world.customers,
        "agreements": world.agreements,
        "evses": world.evses,
        "cdrs": way.cdrs,
        "in_a_call": way.in_a_call,
        "at_once": way.at_once,
        "in_a_commit": round(sum(way.in_a_commit) / len(way.in_a_commit)),
    }
    return [
        _row(way.per_s, way.unit, way.limit_per_s, params),
        _row(
            way.cpu_us,
            way.unit.replace("CDRs/s", "us CPU a CDR, with PostgreSQL's,"),
            way.limit_cpu_us,
            params,
        ),
    ]


def _row(value: float, unit: str, limit: float, params: dict[str, Any]) -> Row:
    return Row(
        name=NAME,
        ours=round(value, 1),
        unit=unit,
        limit=LIMIT,
        limit_value=round(limit, 1),
        ratio_to_limit=round(value / limit, 2) if limit else None,
        params=params,
    )


class _Tellings:
    """Records as operators tell them, no two alike: an hour or some, a period each quarter."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = random.Random(1965)
        self._number = 0

    def write(self, scratch: Path, way: _Way) -> Path:
        path = scratch / "tellings"
        with path.open("wb") as file:
            for _ in range(way.calls):
                operator = self._chance.randrange(self._world.operators)
                told = [self._next(operator) for _ in range(way.in_a_call)]
                body = msgspec.json.encode(told if way.in_a_call > 1 else told[0])
                file.write(self._world.operator(operator).encode() + b"\t" + body + b"\n")
        return path

    def _next(self, operator: int) -> dict[str, Any]:
        world, chance = self._world, self._chance
        self._number += 1
        own = world.evses // world.operators
        start = _FIRST_DAY + timedelta(seconds=chance.randrange(7 * 86_400))
        quarters = chance.randint(2, 12)
        energies = [chance.randrange(500, 5_500) for _ in range(quarters)]
        customer = chance.randrange(world.customers)
        return {
            "cdr_id": f"C{self._number:09d}",
            "evse_id": world.evse_id(chance.randrange(own) * world.operators + operator),
            "token_uid": world.token_uid(customer),
            "start": start,
            "end": start + timedelta(seconds=900 * quarters - chance.randrange(900)),
            "energy_wh": sum(energies),
            "periods": [
                {"start": start + timedelta(seconds=900 * n), "energy_wh": energy}
                for n, energy in enumerate(energies)
            ],
        }


# PostgreSQL alone -----------------------------------------------------------------------------

_CDR = (
    *("log_position", "log_xid", "operator", "cdr_id", "state", "reasons", "evse_id"),
    *("authorisation_id", "told_contract_id", "token_uid", "evsp", "contract_id", "started_at"),
    *("ended_at", "told_time_zone", "energy_wh", "periods", "signed_meter_values"),
    *("agreement_id", "time_zone", "currency", "excl_vat_minor", "vat_minor", "price_lines"),
    *("content", "fingerprint", "recorded_at"),
)
_ENTRY = (
    *("posting_id", "account", "party", "counterparty", "currency", "amount_minor"),
    *("operator", "cdr_id", "occurred_at", "recorded_at"),
)
_EVENT = (
    *("position", "stream", "version", "type", "party", "occurred_at", "recorded_at"),
    *("correlation_id", "causation_id", "body", "hash"),
)


async def _newest(connection: Hot) -> int:
    newest: int = await connection.fetchval(
        "SELECT coalesce(max(log_position), 0) FROM clearinghouse.cdr WHERE log_position < $1",
        SHIFT,
    )
    return newest


@dataclass(frozen=True, slots=True)
class _Rows:
    """What one round of ours wrote, by its commits: event, record, ledger entries."""

    cdrs: Sequence[Any]
    commits: Sequence[tuple[Sequence[Any], Sequence[Any], Sequence[Any]]]

    @classmethod
    async def read(cls, connection: Hot, after: int) -> _Rows:
        """The rows since `after`, under other ids, so that they can be written again beside."""
        where = f"> {after} AND {{}} < {SHIFT}"
        events = await connection.fetch(
            f"SELECT xid::text AS commit, position + {SHIFT} AS position, 'alone:' || stream"
            f" AS stream, {', '.join(_EVENT[2:])} FROM kit.event"
            f" WHERE position {where.format('position')} ORDER BY position"
        )
        cdrs = await connection.fetch(
            f"SELECT log_xid::text AS commit, log_position + {SHIFT} AS log_position, log_xid,"
            f" operator, 'alone ' || cdr_id AS cdr_id, {', '.join(_CDR[4:-2])},"
            " substr(sha256(fingerprint), 1, 16) AS fingerprint, recorded_at"
            f" FROM clearinghouse.cdr WHERE log_position {where.format('log_position')}"
            " ORDER BY log_position"
        )
        entries = await connection.fetch(
            f"SELECT c.log_xid::text AS commit, e.posting_id + {SHIFT} AS posting_id,"
            f" {', '.join(f'e.{name}' for name in _ENTRY[1:])}"
            " FROM clearinghouse.ledger_entry AS e"
            " JOIN clearinghouse.cdr AS c ON c.log_position = e.posting_id"
            f" WHERE e.posting_id {where.format('e.posting_id')} ORDER BY e.entry_id"
        )
        by_commit: dict[str, tuple[list[Any], list[Any], list[Any]]] = {}
        for place, rows in enumerate((events, cdrs, entries)):
            for row in rows:
                commit = by_commit.setdefault(row["commit"], ([], [], []))
                commit[place].append(tuple(row)[1:])
        return cls(cdrs, list(by_commit.values()))

    async def write(self, connection: Hot) -> float:
        """Seconds that it took PostgreSQL to have them on disk."""
        began = time.perf_counter()
        for rows in self.commits:
            async with connection.transaction():
                for (schema, table, columns), records in zip(_TABLES, rows, strict=True):
                    await connection.copy_records_to_table(
                        table, schema_name=schema, columns=columns, records=_iterated(records)
                    )
        return time.perf_counter() - began


def _iterated(records: Sequence[Any]) -> Iterator[Any]:
    return iter(records)


_TABLES = (
    ("kit", "event", _EVENT),
    ("clearinghouse", "cdr", _CDR),
    ("clearinghouse", "ledger_entry", _ENTRY),
)
