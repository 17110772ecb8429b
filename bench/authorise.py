"""RFID authorisation, decided by the list, beside a bare handler: one SELECT and one INSERT.

A million customer contracts and 10,000 roaming agreements. Ours looks up the charge point and the
customer, finds the agreement, applies the rules in their order, prices, and has the decision and
its event in the log on disk before it answers. The bare handler looks up the contract of the token
and keeps one row, each committed by itself, and knows nothing else. Both are one process.
"""

from __future__ import annotations

import os
import random
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from bench import clearing_house, serving
from bench.asking import CALLER_HEADER, Plan, Told, ask
from bench.clearing_house import DATABASE, POOL_SIZE
from bench.processes import cpu_s, free_port, running
from bench.row import Options, Row
from bench.world import World
from kit.clock import utc_now
from kit.database import Database

NAME = "authorise"

WORLD = World(operators=100, evsps=100, customers=1_000_000, evses=100_000)
QUICK = World(operators=10, evsps=10, customers=2_000, evses=200)
LIMIT = "bare handler: one SELECT, one INSERT, each committed"
AT_ONCE = 64


@dataclass(slots=True)
class _Measured:
    """One server under the load of one round, or the best of several."""

    per_s: float = 0.0
    cpu_us: float = float("inf")
    database_cpu_us: float = float("inf")

    def take(self, told: Told, requests: int, server_s: float, database_s: float) -> None:
        self.per_s = max(self.per_s, requests / told.seconds)
        self.cpu_us = min(self.cpu_us, 1e6 * server_s / requests)
        self.database_cpu_us = min(self.database_cpu_us, 1e6 * database_s / requests)


async def run(options: Options) -> list[Row]:
    world = QUICK if options.quick else WORLD
    requests, rounds = (500, 1) if options.quick else (20_000, 3)
    database = await Database.open(options.database_url, pool_size=2)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        await world.load(database)
        await database.pool.execute(_BARE_TABLE)
        database_pid = await serving.postmaster(database)
        questions = _write_questions(world, options.scratch, requests)
        environment = {DATABASE: options.database_url}
        ports = {"ours": free_port(), "bare": free_port()}
        commands = {
            "ours": clearing_house.command(ports["ours"]),
            "bare": [sys.executable, "-m", "bench.authorise", str(ports["bare"])],
        }
        pids = {
            name: await stack.enter_async_context(
                running(commands[name], ports[name], environment=environment)
            )
            for name in ports
        }

        def plan(name: str, first: int, rate: float | None = None) -> Plan:
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
        # In turns, so that what else this machine does meanwhile falls on both. The first is to
        # warm up and is not counted.
        for turn in range(rounds + 1):
            for name, result in measured.items():
                before = cpu_s(pids[name]), cpu_s(database_pid)
                told = await ask(plan(name, turn * requests))
                if turn or options.quick:
                    server_s, database_s = (
                        cpu_s(pids[name]) - before[0],
                        cpu_s(database_pid) - before[1],
                    )
                    result.take(told, requests, server_s, database_s)
        waits = {
            name: await ask(plan(name, 0, rate=0.7 * result.per_s))
            for name, result in measured.items()
        }
    return _rows(world, requests, measured["ours"], measured["bare"], waits["ours"], waits["bare"])


def _rows(
    world: World, requests: int, ours: _Measured, bare: _Measured, wait: Told, bare_wait: Told
) -> list[Row]:
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
            calls_per_s=round(0.7 * ours.per_s),
            limit_calls_per_s=round(0.7 * bare.per_s),
        ),
    ]


def _write_questions(world: World, scratch: Path, requests: int) -> Path:
    """Customers and charge points at random, each as likely as the other: no memory is kind."""
    chance = random.Random(1967)
    path = scratch / "questions"
    with path.open("wb") as file:
        for _ in range(4 * requests):
            evse = chance.randrange(world.evses)
            uid = world.token_uid(chance.randrange(world.customers))
            question = {
                "evse_id": world.evse_id(evse),
                "identification": {"type": "rfid", "value": uid},
            }
            file.write(world.operator_of(evse).encode() + b"\t" + msgspec.json.encode(question))
            file.write(b"\n")
    return path


# The bare handler -----------------------------------------------------------------------------

_BARE_TABLE = """
CREATE TABLE public.bare_authorisation (authorisation_id text COLLATE "C" PRIMARY KEY,
  operator text NOT NULL, evse_id text NOT NULL, identification_type text NOT NULL,
  identification_value text NOT NULL, decided_at timestamptz NOT NULL, reason text,
  contract_id text, evsp text)
"""
_BARE_SELECT = """
SELECT c.contract_id, c.evsp, c.status, c.valid_from, c.valid_until
FROM clearinghouse.customer_token AS t
JOIN clearinghouse.customer_contract AS c ON c.contract_id = t.contract_id WHERE t.uid = $1
"""
_BARE_INSERT = """
INSERT INTO public.bare_authorisation VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""


class _Identification(msgspec.Struct):
    type: str
    value: str


class _Question(msgspec.Struct):
    evse_id: str
    identification: _Identification


class _Answer(msgspec.Struct):
    authorisation_id: str
    decision: str
    contract_id: str | None
    evsp: str | None
    valid_until: datetime | None


def _bare(pool: asyncpg.Pool[asyncpg.Record]) -> ASGIApp:
    questions = msgspec.json.Decoder(_Question)
    header = CALLER_HEADER.encode()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        operator = next(value for name, value in scope["headers"] if name == header).decode()
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        asked = questions.decode(body)
        found = await pool.fetchrow(_BARE_SELECT, asked.identification.value)
        now, decision_id = utc_now(), str(uuid4())
        contract = None if found is None else found["contract_id"]
        accepted = found is not None and found["status"] == "active"
        await pool.execute(
            _BARE_INSERT,
            decision_id,
            operator,
            asked.evse_id,
            asked.identification.type,
            asked.identification.value,
            now,
            None if accepted else "refused",
            contract,
            None if found is None else found["evsp"],
        )
        answer = msgspec.json.encode(
            _Answer(
                decision_id,
                "accepted" if accepted else "refused",
                contract,
                None if found is None else found["evsp"],
                None if found is None else found["valid_until"],
            )
        )
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


async def _serve_bare(port: int) -> None:
    async with asyncpg.create_pool(
        os.environ[DATABASE], min_size=POOL_SIZE, max_size=POOL_SIZE
    ) as pool:
        await serving.server(_bare(pool), port).serve()


if __name__ == "__main__":
    uvloop.run(_serve_bare(int(sys.argv[1])))
