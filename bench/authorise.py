"""RFID authorisation, decided by the list, beside a bare handler: one SELECT and one INSERT.

A million customer contracts and 10,000 roaming agreements. Ours looks up the charge point and the
customer, finds the agreement, applies the rules in their order, prices, and has the decision and
its event in the log on disk before it answers. The bare handler looks up the contract of the token
and keeps one row, each committed by itself, and knows nothing else. Both are one process.
"""

from __future__ import annotations

import random
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bench import bare_handler, clearing_house, serving
from bench.asking import Plan, Told, ask
from bench.processes import cpu_s, free_port, running
from bench.row import Options, Row
from bench.world import World
from kit.database import Database

NAME = "authorise"

WORLD = World(operators=100, evsps=100, customers=1_000_000, evses=100_000)
QUICK = World(operators=10, evsps=10, customers=2_000, evses=200)
LIMIT = "bare handler: one SELECT, one INSERT, each committed"
AT_ONCE = 64
WARM_UP = 2
LOAD = 0.7
"""Of the calls a second that each has answered just before: so much is asked to see latency."""


@dataclass(slots=True)
class _Measured:
    """One server under the load of one round, or the best of several."""

    per_s: float = 0.0
    cpu_us: float = float("inf")
    database_cpu_us: float = float("inf")
    waits: list[tuple[float, Told]] = field(default_factory=list)

    def take(self, per_s: float, cpu_us: float, database_cpu_us: float) -> None:
        self.per_s = max(self.per_s, per_s)
        self.cpu_us = min(self.cpu_us, cpu_us)
        self.database_cpu_us = min(self.database_cpu_us, database_cpu_us)

    def wait(self) -> tuple[float, Told]:
        """The calls a second and their latencies, of the turns in which it was asked about most:
        in a turn that was disturbed it answered less, was asked less, and looks the quicker."""
        most = max(rate for rate, _ in self.waits)
        return min(
            (one for one in self.waits if one[0] >= 0.9 * most), key=lambda one: one[1].p99_ms
        )


async def run(options: Options) -> list[Row]:
    world = QUICK if options.quick else WORLD
    requests, rounds = (500, 1) if options.quick else (5_000, 10)
    database = await Database.open(options.database_url, pool_size=2)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        await world.load(database)
        await database.pool.execute(bare_handler.TABLE)
        database_pid = await serving.postmaster(database)
        questions = _write_questions(world, options.scratch, requests)
        environment = {serving.DATABASE: options.database_url}
        ports = {"ours": free_port(), "bare": free_port()}
        commands = {
            "ours": clearing_house.command(ports["ours"]),
            "bare": [sys.executable, "-m", "bench.bare_handler", str(ports["bare"])],
        }
        pids = {
            name: await stack.enter_async_context(
                running(commands[name], ports[name], environment=environment)
            )
            for name in ports
        }

        def plan(name: str, first: int, requests: int, rate: float | None = None) -> Plan:
            return Plan(
                port=ports[name],
                path="/authorisations",
                file=str(questions),
                first=first,
                requests=requests,
                at_once=AT_ONCE,
                rate=rate,
            )

        measured = {"ours": _Measured(), "bare": _Measured()}
        # In many short turns, so that what else this machine does meanwhile falls on both, and the
        # best of each counts. The first ones are to warm up.
        for turn in range(-WARM_UP, rounds):
            for name, result in measured.items():
                before = cpu_s(pids[name]), cpu_s(database_pid)
                told = await ask(plan(name, (turn + WARM_UP) * requests, requests))
                spent = cpu_s(pids[name]) - before[0], cpu_s(database_pid) - before[1]
                if turn >= 0:
                    rate = LOAD * requests / told.seconds
                    many = int(rate * (1 if options.quick else 2))
                    wait = await ask(plan(name, (turn + WARM_UP) * requests, many, rate))
                    result.take(requests / told.seconds, *(1e6 * one / requests for one in spent))
                    result.waits.append((rate, wait))
    return _rows(world, requests, measured["ours"], measured["bare"])


def _rows(world: World, requests: int, ours: _Measured, bare: _Measured) -> list[Row]:
    params: dict[str, Any] = {
        "customers": world.customers,
        "agreements": world.agreements,
        "evses": world.evses,
        "requests": requests,
        "at_once": AT_ONCE,
    }

    def row(value: float, unit: str, limit: float, **more: Any) -> Row:
        return Row(
            name=NAME,
            ours=round(value, 1),
            unit=unit,
            limit=LIMIT,
            limit_value=round(limit, 1),
            ratio_to_limit=round(value / limit, 2) if limit else None,
            params={**params, **more},
        )

    (rate, wait), (bare_rate, bare_wait) = ours.wait(), bare.wait()
    return [
        row(ours.per_s, "calls/s", bare.per_s),
        row(
            ours.cpu_us,
            "us CPU a call",
            bare.cpu_us,
            database_cpu_us=round(ours.database_cpu_us, 1),
            limit_database_cpu_us=round(bare.database_cpu_us, 1),
        ),
        row(
            wait.p99_ms,
            "ms p99 at 70 % load",
            bare_wait.p99_ms,
            p50_ms=round(wait.p50_ms, 1),
            limit_p50_ms=round(bare_wait.p50_ms, 1),
            calls_per_s=round(rate),
            limit_calls_per_s=round(bare_rate),
        ),
    ]


def _write_questions(world: World, scratch: Path, requests: int) -> Path:
    """Customers and charge points at random, each as likely as the other: no memory is kind."""
    chance = random.Random(1967)
    path = scratch / "questions"
    with path.open("wb") as file:
        for _ in range(12 * requests):
            evse = chance.randrange(world.evses)
            uid = world.token_uid(chance.randrange(world.customers))
            question = {
                "evse_id": world.evse_id(evse),
                "identification": {"type": "rfid", "value": uid},
            }
            file.write(world.operator_of(evse).encode() + b"\t" + msgspec.json.encode(question))
            file.write(b"\n")
    return path
