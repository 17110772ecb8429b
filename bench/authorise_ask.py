"""RFID authorisation where the EVSP is asked each time, and answers after 20 ms: 500 at once.

Three processes over real sockets: the clearing house's hot routes as the hub ties them, the EVSP,
and who asks. The decision and its event are in the log on disk before the answer. "At once" is
closed: 500 callers, each of whom asks anew when it is answered, so that the wait of each is 500
over what is answered in a second; a burst is 500 who come at one moment to a house that has nothing
to do. The EVSP is measured by itself under the same load, since it and the asker take their share
of the cores.
"""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench import clearing_house, serving, slow_evsp
from bench.asking import Plan, Told, ask
from bench.processes import PeerMissing, cpu_s, free_port, running
from bench.row import Options, Row
from bench.world import World
from gridroam.core import core
from kit.clock import utc_now
from kit.database import Database
from marketplace.partners.model import Endpoint, Partner, Purpose, Role
from roaming.party import PartyId

NAME = "authorise-ask"

WORLD = World(operators=10, evsps=1, customers=10_000, evses=1_000)
QUICK = World(operators=2, evsps=1, customers=500, evses=20)
ANSWERS_AFTER_MS = 20
AIM_MS = 60.0
AT_ONCE = 500
LOAD = 0.7
LIMIT = "the aim: p99 of 500 at once, an EVSP that answers in 20 ms"


@dataclass(frozen=True, slots=True)
class _Measured:
    requests: int
    told: Told
    cpu_ms: float
    burst: Told
    paced: Told
    rate: float
    evsp_alone: Told


async def run(options: Options) -> list[Row]:
    world = QUICK if options.quick else WORLD
    requests, rounds = (500, 1) if options.quick else (5_000, 5)
    database = await Database.open(options.database_url, pool_size=2)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        await world.load(database)
        await database.pool.execute(
            "UPDATE clearinghouse.customer_contract SET authorisation = 'ask'"
        )
        house, evsp = free_port(), free_port()
        await _listens(database, world, f"http://127.0.0.1:{evsp}/ask")
        questions = _write_questions(world, options.scratch)
        environment = {serving.DATABASE: options.database_url}
        await stack.enter_async_context(
            running(slow_evsp.command(evsp, ANSWERS_AFTER_MS), evsp, environment=environment)
        )
        pid = await stack.enter_async_context(
            running(clearing_house.command(house), house, environment=environment)
        )

        def plan(port: int, requests: int, rate: float | None = None) -> Plan:
            return Plan(
                port=port,
                path="/authorisations",
                file=str(questions),
                requests=requests,
                at_once=min(AT_ONCE, requests),
                rate=rate,
            )

        # To warm up: connections are made, and the EVSP earns its places.
        await ask(plan(house, requests))
        measured = []
        for _ in range(rounds):
            before = cpu_s(pid)
            told = await ask(plan(house, requests))
            cpu_ms = 1e3 * (cpu_s(pid) - before) / requests
            burst = await ask(plan(house, AT_ONCE))
            rate = LOAD * requests / told.seconds
            paced = await ask(plan(house, int(2 * rate), rate))
            alone = await ask(plan(evsp, requests))
            measured.append(_Measured(requests, told, cpu_ms, burst, paced, rate, alone))
        refused: int = await database.pool.fetchval(
            "SELECT count(*) FROM clearinghouse.authorisation WHERE reason IS NOT NULL"
        )
        if refused:
            raise PeerMissing(f"{refused} were refused, though the EVSP says yes to all")
    return _rows(world, measured)


def _rows(world: World, measured: list[_Measured]) -> list[Row]:
    params: dict[str, Any] = {
        "customers": world.customers,
        "at_once": AT_ONCE,
        "evsp_answers_after_ms": ANSWERS_AFTER_MS,
    }
    best = min(measured, key=lambda one: one.told.p99_ms)
    burst = min((one.burst for one in measured), key=lambda one: one.p99_ms)
    paced = min(measured, key=lambda one: one.paced.p99_ms)

    def row(value: float, unit: str, **more: Any) -> Row:
        return Row(
            name=NAME,
            ours=round(value, 1),
            unit=unit,
            limit=LIMIT,
            limit_value=AIM_MS,
            ratio_to_limit=round(value / AIM_MS, 2),
            params={**params, **more},
        )

    return [
        row(
            best.told.p99_ms,
            "ms p99, 500 at once",
            p50_ms=round(best.told.p50_ms, 1),
            calls_per_s=round(best.told.per_s(best.requests)),
            cpu_ms_a_call=round(best.cpu_ms, 3),
            evsp_alone_p99_ms=round(min(one.evsp_alone.p99_ms for one in measured), 1),
        ),
        row(burst.p99_ms, "ms p99, a burst of 500", p50_ms=round(burst.p50_ms, 1)),
        row(
            paced.paced.p99_ms,
            "ms p99 at 70 % load",
            p50_ms=round(paced.paced.p50_ms, 1),
            calls_per_s=round(paced.rate),
        ),
    ]


async def _listens(database: Database, world: World, url: str) -> None:
    """Every EVSP is asked at one address."""
    parts = core(database, bytes(32), hub=PartyId("EU*GRD"), clock=utc_now)
    async with parts.partners.open() as book:
        for number in range(world.evsps):
            now, party = utc_now(), world.evsp(number)
            evsp = Partner(party, f"EVSP {number}", frozenset({Role.EVSP}), now)
            await book.save(evsp, now, changed=True)
            await book.save_endpoint(Endpoint(party, Purpose.AUTHORISATION, url, {}), now)


def _write_questions(world: World, scratch: Path) -> Path:
    chance = random.Random(1967)
    path = scratch / "questions"
    with path.open("wb") as file:
        for _ in range(5_000):
            evse = chance.randrange(world.evses)
            uid = world.token_uid(chance.randrange(world.customers))
            question = {
                "evse_id": world.evse_id(evse),
                "identification": {"type": "rfid", "value": uid},
            }
            file.write(world.operator_of(evse).encode() + b"\t" + msgspec.json.encode(question))
            file.write(b"\n")
    return path
