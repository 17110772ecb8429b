"""One HTTP endpoint for each EVSP of a replay: takes CDRs, keeps what came, answers 204.

It counts a CDR once however often it is delivered, as an EVSP must: delivery is at least once, and
(operator, cdr_id) tells a repeat.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from roaming.party import PartyId


class Delivered(msgspec.Struct):
    """What identifies a CDR; the rest of it is the EVSP's billing system's to read."""

    operator: str
    cdr_id: str


class Delivery(msgspec.Struct):
    delivery_id: str
    cdrs: list[Delivered]


class Endpoints:
    """All EVSPs of a replay on one port, told apart by path."""

    def __init__(self) -> None:
        self.received: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self.repeats = 0
        self.url = ""

    def url_of(self, evsp: PartyId) -> str:
        return f"{self.url}/{evsp.compact}/cdrs"

    @property
    def count(self) -> int:
        return sum(len(cdrs) for cdrs in self.received.values())

    async def take(self, request: web.Request) -> web.Response:
        delivery = msgspec.json.decode(await request.read(), type=Delivery)
        known = self.received[request.match_info["evsp"]]
        for cdr in delivery.cdrs:
            key = (cdr.operator, cdr.cdr_id)
            self.repeats += key in known
            known.add(key)
        return web.Response(status=204)


@asynccontextmanager
async def listening(port: int = 0) -> AsyncIterator[Endpoints]:
    """Serve the endpoints on loopback for as long as the block lasts."""
    endpoints = Endpoints()
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post("/{evsp}/cdrs", endpoints.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    endpoints.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield endpoints
    finally:
        await runner.cleanup()
