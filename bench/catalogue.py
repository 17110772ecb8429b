"""Looking through a large market: its catalogue is searched and listed, and so are offerings and
contracts of partners that have tens of thousands.

10,000 services, 5,000 partners, 100,000 offerings, 200,000 contracts. Each question is asked of the
hub's own routes in this process, its answer of at most a hundred written out as JSON: no network,
and the busiest partner and an ordinary one by turns. The aim is 50 ms at p99 for each kind; ours is
the slowest kind's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.types import ASGIApp

from bench.asking import CALLER_HEADER
from bench.large_market import LargeMarket, load
from bench.row import Options, Row
from bench.serving import behind_a_door
from gateway.health.store import SqlReports
from gridroam.core import core
from gridroam.pulse import PulseOfServices
from kit import garbage
from kit.clock import utc_now
from kit.database import Database
from marketplace.contracts import routes as contract_routes
from marketplace.offerings import routes as offering_routes
from marketplace.services import routes as service_routes
from marketplace.services.reader import DocumentReader
from roaming.party import PartyId

NAME = "catalogue"
AIM_MS = 50.0
_HUB = PartyId("EU*GRD")


async def run(options: Options) -> list[Row]:
    market = LargeMarket.quick() if options.quick else LargeMarket()
    rounds = 2 if options.quick else 500
    database = await Database.open(options.database_url, pool_size=3)
    try:
        await load(database, market)
        spent_ms: dict[str, list[float]] = {}
        transport = ASGITransport(_app(database))
        async with AsyncClient(transport=transport, base_url="http://hub.bench") as http:
            http.headers[CALLER_HEADER] = market.busiest
            for _, path in _questions(market, market.busiest, 0):
                # The first of its kind pays for what is made once.
                await http.get(path)
            # As the hub does when it is ready.
            garbage.spare_what_is_held()
            for number in range(rounds):
                party = market.ordinary if number % 2 else market.busiest
                http.headers[CALLER_HEADER] = party
                for kind, path in _questions(market, party, number):
                    began = time.perf_counter()
                    answer = await http.get(path)
                    spent_ms.setdefault(kind, []).append((time.perf_counter() - began) * 1000)
                    assert answer.status_code == 200, answer.text
    finally:
        await database.close()
    p99 = {kind: round(_p99(values), 1) for kind, values in spent_ms.items()}
    slowest = max(p99.values())
    return [
        Row(
            name=NAME,
            ours=slowest,
            unit="ms p99 of the slowest kind",
            limit="aim",
            limit_value=AIM_MS,
            ratio_to_limit=slowest / AIM_MS,
            params={**market.sizes, "asked": rounds, **p99},
        )
    ]


def _questions(market: LargeMarket, party: PartyId, number: int) -> Iterator[tuple[str, str]]:
    """One of each kind. What is looked for is rare, common, or not there at all."""
    services, offerings, contracts = (
        f"/marketplace/{what}" for what in ("services", "offerings", "contracts")
    )
    word = market.word(number)
    after = market.name(number * market.services // 101)
    yield "search-one-word", f"{services}?q={word}"
    yield "search-two-words", f"{services}?q={word}+{market.word(number + 3)}"
    yield "search-a-short-word", f"{services}?q={word[: 1 + number % 2]}"
    yield "search-a-name", f"{services}?q={market.name(number * 7)}"
    yield "search-a-provider", f"{services}?q=Partner+{number}x"
    yield "search-nothing", f"{services}?q=nobody-has-this-{number}"
    yield "list", f"{services}?cursor={after}:1"
    yield "list-category", f"{services}?category=core&status=published&cursor={after}:1"
    yield "list-tag", f"{services}?tag={market.tag(number)}&protocol=rest"
    yield "list-offerings", f"{offerings}?cursor={market.id(number * 199)}"
    yield "list-own-offerings", f"{offerings}?provider={party}"
    yield "list-offerings-to-try", f"{offerings}?environment=sandbox"
    yield "list-offerings-of-a-service", f"{offerings}?service={market.name(number * 5)}"
    yield "list-contracts", f"{contracts}?cursor={market.id(number * 397)}"
    yield "list-contracts-of-a-service", f"{contracts}?service={market.name(number * 5)}"


def _app(database: Database) -> ASGIApp:
    """The routes, every caller taken at its word."""
    parts = core(database, bytes(32), hub=_HUB, clock=utc_now)
    app = FastAPI()
    app.include_router(
        service_routes.router(
            parts.catalogue,
            database,
            parts.clock,
            parts.book,
            reader=DocumentReader(),
            box=parts.box,
            pulse=PulseOfServices(SqlReports(database, "bench"), _HUB, parts.clock),
            hub=_HUB,
            allow_loopback=True,
        )
    )
    app.include_router(offering_routes.router(parts.offerings, database, parts.clock))
    app.include_router(contract_routes.router(parts.contracts, database, parts.clock, parts.book))
    return behind_a_door(app, "evsp", "service-provider")


def _p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]
