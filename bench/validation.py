"""Contract Validation against what the hub promises: one question, and a thousand in one call.

200,000 roaming agreements on 20 terms in the real tables and the real book; the service as
the hub ties it, in a process of its own, asked by one caller after the other's answer. Every
question is about another pair, at a moment of its own; one in ten has no contract. What the door
costs before it has a row of its own (`gateway-call`).
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import uvloop

from bench import serving
from bench.asking import CALLER_HEADER, Plan, ask
from bench.processes import PeerMissing, free_port, running
from bench.row import Options, Row
from bench.world import BEGAN, World
from gridroam.core import core
from gridroam.service_apps import ServiceApp
from gridroam.signatures import KeysForGateway
from kit.clock import utc_now
from kit.database import Database
from marketplace.access.keys import KeyRing, new_signing_key
from marketplace.access.model import KeyRules
from marketplace.contracts import tasks as contract_tasks
from marketplace.validation import routes
from marketplace.validation.model import MOST_QUESTIONS
from roaming.party import PartyId

NAME = "validation"
LIMIT = "what is promised"
SINGLE_MS, BATCH_MS = 5.0, 100.0
HUB = PartyId("EU*GRD")
OPERATORS, EVSPS, QUICK_EVSPS = 400, 500, 5
WARM_UP = 100


async def run(options: Options) -> list[Row]:
    world = World(
        customers=1, evses=1, operators=OPERATORS, evsps=QUICK_EVSPS if options.quick else EVSPS
    )
    singles, batches = (200, 20) if options.quick else (5_000, 300)
    database = await Database.open(options.database_url, pool_size=2)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        await world.load(database)
        port = free_port()
        command = [sys.executable, "-m", "bench.validation", str(port)]
        environment = {serving.DATABASE: options.database_url}
        await stack.enter_async_context(running(command, port, environment=environment))
        draw = random.Random(1967)
        single = await _one_by_one(world, port, singles, draw)
        batch = {
            signed: await ask(_plan(world, port, options.scratch, batches, draw, signed=signed))
            for signed in (False, True)
        }
    for told in batch.values():
        if told.bad:
            raise PeerMissing(f"a batch was answered by {told.worst}")
    params = {"contracts": OPERATORS * world.evsps, "at_once": 1}
    return [
        _row(
            "ms, p99 of one question",
            single[len(single) * 99 // 100],
            SINGLE_MS,
            params | {"questions": singles, "p50_ms": round(median(single), 2)},
        ),
        _row(
            f"ms, p99 of {MOST_QUESTIONS:,} questions",
            batch[False].p99_ms,
            BATCH_MS,
            params
            | {
                "calls": batches,
                "p50_ms": round(batch[False].p50_ms, 1),
                "signed_p99_ms": round(batch[True].p99_ms, 1),
            },
        ),
    ]


def _row(unit: str, ours: float, limit: float, params: dict[str, Any]) -> Row:
    return Row(
        name=NAME,
        ours=round(ours, 2),
        unit=unit,
        limit=LIMIT,
        limit_value=limit,
        ratio_to_limit=round(ours / limit, 2),
        params=params,
    )


def _questions(world: World, draw: random.Random) -> Iterator[dict[str, str]]:
    while True:
        # One beyond the last has no contract.
        evsp = draw.randrange(world.evsps + max(1, world.evsps // 9))
        yield {
            "requester": world.evsp(evsp),
            "provider": world.operator(draw.randrange(OPERATORS)),
            "service": "roaming",
            "at": (BEGAN + timedelta(seconds=draw.randrange(10**7))).isoformat(),
        }


async def _one_by_one(world: World, port: int, many: int, draw: random.Random) -> list[float]:
    """Milliseconds that each took, the quickest first."""
    questions, took = _questions(world, draw), []
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers={CALLER_HEADER: HUB}
    ) as http:
        for _ in range(many + WARM_UP):
            path = f"/validate?{urlencode(next(questions))}"
            began = time.perf_counter()
            answer = await http.get(path)
            took.append(1e3 * (time.perf_counter() - began))
            if answer.status_code != 200:
                raise PeerMissing(f"a question was answered by {answer.text[:300]}")
    return sorted(took[WARM_UP:])


def _plan(
    world: World, port: int, scratch: Path, many: int, draw: random.Random, *, signed: bool
) -> Plan:
    file = scratch / f"batches-{signed}.txt"
    questions = _questions(world, draw)
    with file.open("wb") as out:
        for _ in range(min(many, 50)):
            asked = [next(questions) for _ in range(MOST_QUESTIONS)]
            body = msgspec.json.encode({"questions": asked, "signed": signed}, enc_hook=str)
            out.write(HUB.encode() + b"\t" + body + b"\n")
    return Plan(port=port, path="/validations", file=str(file), requests=many, at_once=1)


async def _serve(port: int) -> None:
    async with AsyncExitStack() as stack:
        database = await Database.open(os.environ[serving.DATABASE], pool_size=4)
        stack.push_async_callback(database.close)
        parts = core(database, bytes(32), hub=HUB, clock=utc_now)
        await stack.enter_async_context(
            contract_tasks.kept_current(database, parts.book, parts.clock)
        )
        ring, now = KeyRing(parts.box, KeyRules()), utc_now()
        ring.replace([new_signing_key("bench", parts.box, now, now)])
        desk = routes.Desk(
            parts.book, HUB, KeysForGateway(ring), "https://hub.example", parts.clock
        )
        service = ServiceApp(routes.hot_routes(desk), [routes.router(desk)])
        await serving.server(serving.behind_a_door(service.app, "evse-operator"), port).serve()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        uvloop.run(_serve(int(sys.argv[1])))
