"""An EVSP's own endpoint: a real server on loopback that behaves as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from roaming.party import PartyId

Behaviour = Callable[[dict[str, Any]], Awaitable[web.StreamResponse]]


async def well(_: dict[str, Any]) -> web.StreamResponse:
    return web.json_response({"thanks": True})


def answering(status: int, text: str = "") -> Behaviour:
    async def behave(_: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=status, text=text)

    return behave


async def hanging(_: dict[str, Any]) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


@dataclass(slots=True)
class EvspServer:
    """Keeps what it took in, by Idempotency-Key as a careful EVSP does."""

    behaviour: Behaviour = well
    calls: list[tuple[str, list[str]]] = field(default_factory=list)
    taken: dict[str, list[str]] = field(default_factory=dict)
    url: str = ""
    authorization: str | None = None
    raw: list[bytes] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    @property
    def cdr_ids(self) -> list[str]:
        return [cdr_id for ids in self.taken.values() for cdr_id in ids]

    async def start(self) -> None:
        application = web.Application(client_max_size=2**26)
        application.router.add_post("/cdrs", self._receive)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        host, port = site._server.sockets[0].getsockname()[:2]  # type: ignore[attr-defined]
        self.url = f"http://{host}:{port}/cdrs"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        self.raw.append(await request.read())
        body = await request.json()
        ids = [cdr["cdr_id"] for cdr in body["cdrs"]]
        key = request.headers["Idempotency-Key"]
        assert key == body["delivery_id"]
        self.calls.append((key, ids))
        self.authorization = request.headers.get("Authorization")
        response = await self.behaviour(body)
        if 200 <= response.status < 300:
            assert self.taken.get(key, ids) == ids, "one key, one content"
            self.taken[key] = ids
        return response


@dataclass(frozen=True, slots=True)
class Address:
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class AddressBook:
    urls: dict[PartyId, str] = field(default_factory=dict)

    async def of(self, party: PartyId, purpose: str) -> Address | None:
        assert purpose == "cdrs"
        url = self.urls.get(party)
        return None if url is None else Address(url)
