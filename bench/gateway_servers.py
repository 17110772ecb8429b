"""The gateway as a hub runs it, a bare forward, and two partners' services behind them.

Each is a process: `python -m bench.gateway_servers ROLE PORT …`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import uvloop
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send
from yarl import URL

from bench.gateway_world import CONTRACTS_EACH, ISSUER, PARTNERS, Caller, Providers, fill
from bench.processes import free_port, running
from bench.row import Options
from bench.serving import DATABASE, server
from gateway.calls.assertion import Assertions
from gateway.calls.model import Limits
from gateway.calls.routes import gateway
from gateway.calls.store import RefusalLog, SqlQuotas
from gateway.calls.upstream import Upstream
from gateway.signing.flows import Signing
from gateway.signing.store import EvidenceLog
from gateway.usage.store import SqlMeter
from gridroam import bridging
from gridroam.core import core
from gridroam.gateway_answers import ContractsForGateway
from gridroam.signatures import ClientsForSigning, KeysForGateway
from kit.access_token import Verifier
from kit.clock import utc_now
from kit.database import Database
from kit.secrets import SecretBox
from kit.worker import Worker
from marketplace.access.keys import KeyRing, new_signing_key
from marketplace.access.model import KeyRules
from marketplace.contracts.book import ContractBook
from roaming.party import PartyId

FLOOR, OURS, REST, SOAP = "floor", "ours", "rest", "soap"
_EVSES = [
    {"id": f"DE*GEM*E0001*{n}", "status": "AVAILABLE", "lat": 48.1371, "lon": 11.5754}
    for n in range(4)
]
_JSON = json.dumps({"evses": _EVSES, "total": len(_EVSES)}).encode()
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    '<FindEvsesResponse xmlns="urn:bench:evses">'
    + "".join(
        f"<evses>{''.join(f'<{name}>{value}</{name}>' for name, value in one.items())}</evses>"
        for one in _EVSES
    )
    + f"<total>{len(_EVSES)}</total></FindEvsesResponse></s:Body></s:Envelope>"
).encode()


@asynccontextmanager
async def ours(
    options: Options, caller: Caller, listening: Providers
) -> AsyncIterator[tuple[int, int]]:
    """The gateway in a process of its own: its pid and port."""
    port = free_port()
    line = command(OURS, port, str(caller.keys_file), str(listening.rest), str(listening.soap))
    environment = {DATABASE: options.database_url}
    async with running(line, port, environment=environment) as pid:
        yield pid, port


def command(role: str, port: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "bench.gateway_servers", role, str(port), *more]


def _floor(upstream_port: int) -> ASGIApp:
    session: aiohttp.ClientSession | None = None

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal session
        if session is None:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=256), auto_decompress=False
            )
        address = f"http://127.0.0.1:{upstream_port}{scope['raw_path'].decode()}"
        query = scope["query_string"].decode()
        async with session.request(
            scope["method"], URL(f"{address}?{query}" if query else address, encoded=True)
        ) as answer:
            body = await answer.read()
            kind = answer.headers.get("content-type", "").encode()
            headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return app


async def _ours(port: int, keys: list[dict[str, Any]], listening: Providers) -> None:
    database = await Database.open(os.environ[DATABASE])
    verifier = Verifier(ISSUER, ISSUER, utc_now)
    verifier.set_keys(keys)
    await fill(database, listening)
    hub = PartyId("EU*GRD")
    parts = core(database, os.urandom(32), hub=hub, clock=utc_now)
    await parts.book.load()
    assert len(parts.book) == PARTNERS * CONTRACTS_EACH
    book = ContractsForGateway(parts.book)
    # Looks for changes as the hub does, so that the book is never too old to go by.
    fresh = Worker("book", _looked(parts.book), idle_s=1.0)
    fresh.start()
    meter = SqlMeter(database)
    quotas = SqlQuotas(database)
    refusals = RefusalLog(database, hub=hub)
    upstream = Upstream(allow_loopback=True)
    ring = _ring(parts.box)
    bridge, interfaces = bridging.bridge(parts, url=ISSUER, faces={})
    app = gateway(
        verifier=verifier,
        catalogue=book,
        contracts=book,
        quotas=quotas,
        meter=meter,
        refusals=refusals,
        local={},
        operations={},
        upstream=upstream,
        assertions=Assertions(ISSUER, KeysForGateway(ring)),
        clock=utc_now,
        registry=CollectorRegistry(),
        limits=Limits(calls_per_second=1e6),
        bridge=bridge,
        signing=Signing(
            ISSUER,
            ClientsForSigning(parts.access, utc_now),
            KeysForGateway(ring),
            EvidenceLog(database),
        ),
    )
    await server(app, port).serve()
    for one in (fresh, interfaces, upstream, quotas, meter, refusals, database):
        await one.close()


def _ring(box: SecretBox) -> KeyRing:
    """Keys of the hub's, for what it tells providers."""
    now = utc_now()
    ring = KeyRing(box, KeyRules())
    ring.replace([new_signing_key("bench", box, now, now)])
    return ring


def _looked(book: ContractBook) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        await book.refresh()
        return False

    return look


class _Provider(asyncio.Protocol):
    """Answers every request with the same; it must cost next to nothing."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are transports by what they do, not by class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        while (head_ends := self._waiting.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._waiting, 0, head_ends)
            ends = head_ends + 4 + (0 if length is None else int(length[1]))
            if len(self._waiting) < ends:
                return
            self._waiting = self._waiting[ends:]
            self._transport.write(self._answer)


_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


async def _provider(port: int, content_type: str, content: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}"
    answer = head.encode() + b"\r\n\r\n" + content
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Provider(answer), "127.0.0.1", port)
    await server.serve_forever()


def _main(role: str, port: int, *more: str) -> None:
    if role == REST:
        uvloop.run(_provider(port, "application/json", _JSON))
    elif role == SOAP:
        uvloop.run(_provider(port, "text/xml; charset=utf-8", _ENVELOPE))
    elif role == FLOOR:
        server(_floor(int(more[0])), port).run()
    else:
        keys = json.loads(Path(more[0]).read_text())
        uvloop.run(_ours(port, keys, Providers(int(more[1]), int(more[2]))))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
