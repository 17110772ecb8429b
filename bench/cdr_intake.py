"""Charge detail records, taken in over HTTP, beside PostgreSQL writing the same rows alone.

Ours reads, validates, looks up, prices, checks that nothing comes twice, and has record, ledger
entries and the event in its hash chain on disk before it answers. The limit is PostgreSQL that
inserts the very rows which came out of it (`postgresql_alone.py`); the peer is its COPY.
"""

from __future__ import annotations

import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from bench import clearing_house, postgresql_alone, serving
from bench.asking import Plan, ask
from bench.processes import cpu_s, free_port, running
from bench.row import Options, Row
from bench.world import World
from kit.database import Database

NAME = "cdr-intake"

WORLD = World(operators=100, evsps=100, customers=100_000, evses=20_000)
QUICK = World(operators=10, evsps=10, customers=2_000, evses=200)
LIMIT = "PostgreSQL alone: INSERT of the same rows in commits of the same size"
PEER = "PostgreSQL alone: COPY of them"
IN_ARRAY = 500
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
    copy_per_s: float = 0.0
    copy_cpu_us: float = float("inf")
    in_a_commit: list[float] = field(default_factory=list)

    @property
    def cdrs(self) -> int:
        return self.calls * self.in_a_call


async def run(options: Options) -> list[Row]:
    world = QUICK if options.quick else WORLD
    rounds = 1 if options.quick else 6
    arrays = _Way("CDRs/s in arrays", IN_ARRAY, 4, calls=4 if options.quick else 12)
    singles = _Way("CDRs/s one by one", 1, 64, calls=300 if options.quick else 2_500)
    database = await Database.open(options.database_url, pool_size=2)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        await world.load(database)
        database_pid = await serving.postmaster(database)
        alone = await stack.enter_async_context(postgresql_alone.opened(options.database_url))
        port = free_port()
        server_pid = await stack.enter_async_context(
            running(
                clearing_house.command(port),
                port,
                environment={serving.DATABASE: options.database_url},
            )
        )
        told = _Tellings(world)
        # In short turns, so that what else this machine does meanwhile falls on all, and the best
        # of each counts. The first is to warm up.
        for turn in range(rounds + 1):
            for way in (arrays, singles):
                file = told.write(options.scratch, way)
                known = await alone.newest()
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
                commits = await alone.read(known)
                assert sum(len(commit.cdrs) for commit in commits) == way.cdrs, "all were booked"
                before = time.process_time() + cpu_s(database_pid)
                inserting_s = await alone.insert(commits)
                between = time.process_time() + cpu_s(database_pid)
                copying_s = await alone.copy(commits)
                after = time.process_time() + cpu_s(database_pid)
                if turn or options.quick:
                    way.per_s = max(way.per_s, way.cdrs / answered.seconds)
                    way.cpu_us = min(way.cpu_us, 1e6 * spent / way.cdrs)
                    way.limit_per_s = max(way.limit_per_s, way.cdrs / inserting_s)
                    way.limit_cpu_us = min(way.limit_cpu_us, 1e6 * (between - before) / way.cdrs)
                    way.copy_per_s = max(way.copy_per_s, way.cdrs / copying_s)
                    way.copy_cpu_us = min(way.copy_cpu_us, 1e6 * (after - between) / way.cdrs)
                    way.in_a_commit.append(way.cdrs / len(commits))
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
        _row(way.per_s, way.unit, way.limit_per_s, way.copy_per_s, params),
        _row(
            way.cpu_us,
            way.unit.replace("CDRs/s", "us CPU a CDR, with PostgreSQL's,"),
            way.limit_cpu_us,
            way.copy_cpu_us,
            params,
        ),
    ]


def _row(value: float, unit: str, limit: float, peer: float, params: dict[str, Any]) -> Row:
    return Row(
        name=NAME,
        ours=round(value, 1),
        unit=unit,
        peer=PEER,
        peer_value=round(peer, 1),
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
