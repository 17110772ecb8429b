"""A checked, metered, forwarded call against proxies that check the same, and a bare forward.

2,000 partners and 8,000 contracts in the real tables and the real book, a JSON upstream in a
process of its own. What is compared is CPU time a call, read from the server's process.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any, cast

import aiohttp
import uvloop
from joserfc import jwt
from joserfc.jwk import ECKey
from msgspec import structs
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send
from yarl import URL

from bench.processes import PeerMissing, cpu_us_a_call, free_port, load_well, running
from bench.row import Options, Row
from bench.serving import DATABASE, server
from gateway.calls.assertion import Assertions
from gateway.calls.model import Limits
from gateway.calls.routes import gateway
from gateway.calls.store import RefusalLog, SqlQuotas
from gateway.calls.upstream import Upstream
from gateway.usage.store import SqlMeter
from gridroam.answers import ContractsForGateway
from gridroam.signatures import KeysForGateway
from kit.access_token import Verifier
from kit.clock import utc_now
from kit.database import Database
from kit.secrets import SecretBox
from kit.worker import Worker
from marketplace.access.keys import KeyRing, new_signing_key
from marketplace.access.model import KeyRules
from marketplace.contracts.book import ContractBook
from marketplace.contracts.store import SqlBookSource, contracts
from marketplace.offerings.model import ServiceTerms
from marketplace.offerings.store import keep_terms, offerings
from marketplace.partners.store import partners
from marketplace.services.store import services
from roaming.party import PartyId

NAME = "gateway-call"

PARTNERS = 2_000
SERVICES = 20
CONTRACTS_EACH = 4
LIMIT = "plain ASGI under uvicorn + aiohttp forward, no check"
UNIT = "us CPU a call"
ISSUER = "https://hub.example"
ANSWER = json.dumps(
    {
        "evses": [
            {"id": f"DE*GEM*E0001*{n}", "status": "AVAILABLE", "lat": 48.1371, "lon": 11.5754}
            for n in range(4)
        ],
        "total": 4,
    }
).encode()


async def run(options: Options) -> list[Row]:
    requests = 2_000 if options.quick else 5_000
    rounds = 1 if options.quick else 15
    calls = _Calls(options.scratch)
    servers: dict[str, tuple[int, str]] = {}
    missing: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        upstream = free_port()
        await stack.enter_async_context(running(_me("upstream", upstream), upstream))

        async def start(name: str, command: list[str], port: int, **environment: str) -> None:
            pid = await stack.enter_async_context(running(command, port, environment=environment))
            await load_well(calls.url(port), calls.headers, requests=requests)
            servers[name] = pid, calls.url(port)

        port = free_port()
        await start("floor", _me("floor", port, str(upstream)), port)
        port = free_port()
        command = _me("ours", port, str(upstream), str(calls.keys_file))
        await start("ours", command, port, **{DATABASE: options.database_url})
        for peer, command_of in _PEERS.items():
            port = free_port()
            try:
                await start(peer, command_of(calls, port, upstream), port)
            except PeerMissing as problem:
                missing[peer] = str(problem)
        us = await cpu_us_a_call(servers, calls.headers, requests=requests, rounds=rounds)
    return _rows(us, missing, {"requests": requests, "rounds": rounds, "at_once": 16})


def _rows(
    us: Mapping[str, list[float]], missing: Mapping[str, str], load_params: dict[str, Any]
) -> list[Row]:
    """Ours against the bare forward round by round; the median, and how far the middle half is."""
    ratios = [ours / floor for ours, floor in zip(us["ours"], us["floor"], strict=True)]
    ours, floor = median(us["ours"]), median(us["floor"])
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    params = {
        "partners": PARTNERS,
        "contracts": PARTNERS * CONTRACTS_EACH,
        **load_params,
        "ratio_quartiles": f"{low:.2f}-{high:.2f}",
        "calls_a_core_second": round(1e6 / ours),
    }
    row = Row(
        name=NAME,
        ours=round(ours, 1),
        unit=UNIT,
        limit=LIMIT,
        limit_value=round(floor, 1),
        ratio_to_limit=round(median(ratios), 2),
        params=params,
    )
    rows = [row]
    for peer in _PEERS:
        why = {"not_started": missing[peer]} if peer in missing else {}
        value = round(median(us[peer]), 1) if peer in us else None
        rows.append(structs.replace(row, peer=peer, peer_value=value, params={**params, **why}))
    return rows


def _party(number: int) -> PartyId:
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    a, rest = divmod(number, 36 * 36)
    return PartyId("DE" + alphabet[a] + alphabet[rest // 36] + alphabet[rest % 36])


def _pairs() -> Iterator[tuple[PartyId, str]]:
    """Who has a contract on what: every partner on CONTRACTS_EACH services, spread evenly."""
    for number in range(PARTNERS):
        for turn in range(CONTRACTS_EACH):
            yield _party(number), f"service-{(number + turn * 5) % SERVICES}"


class _Calls:
    """One caller of the many, what it may call, and the files that the servers read."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.party = _party(PARTNERS // 2)
        self.service = next(service for party, service in _pairs() if party == self.party)
        key = ECKey.generate_key("P-256", {"kid": "bench", "use": "sig", "alg": "ES256"})
        now = datetime.now(UTC)
        self.token = jwt.encode(
            {"alg": "ES256", "typ": "at+jwt", "kid": "bench"},
            {
                "iss": ISSUER,
                "aud": ISSUER,
                "sub": "bench",
                "client_id": "bench",
                "party": str(self.party),
                "roles": ["evse-operator"],
                "scope": "services",
                "iat": int(now.timestamp()),
                "exp": int((now + timedelta(hours=6)).timestamp()),
                "jti": secrets.token_hex(8),
            },
            key,
        )
        self.headers = {"Authorization": f"Bearer {self.token}"}
        self.keys_file = scratch / "jwks.json"
        self.keys_file.write_text(json.dumps([key.as_dict(private=False)]))

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}/services/{self.service}/evses?near=48.1,11.5"


def _me(role: str, port: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "bench.gateway_call", role, str(port), *more]


# The servers ----------------------------------------------------------------------------------


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


async def _fill(database: Database, upstream_port: int) -> None:
    """Partners, services, offerings and contracts as the marketplace keeps them."""
    now = datetime.now(UTC)
    providers = [_party(PARTNERS + number) for number in range(SERVICES)]
    async with database.begin() as connection:
        for table in (contracts, offerings, services, partners):
            await connection.execute(table.delete())
        (digest,) = await keep_terms(connection, [ServiceTerms()])
        await connection.execute(
            partners.insert(),
            [
                {
                    "party": str(party),
                    "name": str(party),
                    "roles": ["evse-operator"],
                    "scope": "services",
                    "status": "active",
                    "registered_at": now,
                }
                for party in [*map(_party, range(PARTNERS)), *providers]
            ],
        )
        both = {"major": 1}
        await connection.execute(
            services.insert(),
            [
                {
                    **both,
                    "name": f"service-{number}",
                    "provider": str(provider),
                    "status": "published",
                    "category": "bench",
                    "description": "",
                    "endpoint": f"http://127.0.0.1:{upstream_port}",
                    "protocol": "rest",
                    "documentation": "",
                    "operations": [],
                    "registered_at": now,
                }
                for number, provider in enumerate(providers)
            ],
        )
        await connection.execute(
            offerings.insert(),
            [
                {
                    **both,
                    "offering_id": f"O-{number}",
                    "provider": str(provider),
                    "service": f"service-{number}",
                    "terms_digest": digest,
                    "audience": "public",
                    "audience_names": [],
                    "status": "published",
                    "published_at": now,
                    "content": str(number).encode(),
                }
                for number, provider in enumerate(providers)
            ],
        )
        agreed = now.isoformat()
        await connection.execute(
            contracts.insert(),
            [
                {
                    **both,
                    "contract_id": f"C-{number:06d}",
                    "offering_id": f"O-{service.removeprefix('service-')}",
                    "provider": str(providers[int(service.removeprefix("service-"))]),
                    "requester": str(party),
                    "service": service,
                    "terms_digest": digest,
                    "valid_from": now - timedelta(days=1),
                    "history": [["agreed", agreed, str(party), agreed, None]],
                    "suspended_by": [],
                    "version": 1,
                }
                for number, (party, service) in enumerate(_pairs())
            ],
        )


async def _ours(port: int, upstream_port: int, keys: list[dict[str, Any]]) -> None:
    database = await Database.open(os.environ[DATABASE])
    verifier = Verifier(ISSUER, ISSUER, utc_now)
    verifier.set_keys(keys)
    await _fill(database, upstream_port)
    contract_book = ContractBook(SqlBookSource(database), utc_now)
    await contract_book.load()
    assert len(contract_book) == PARTNERS * CONTRACTS_EACH
    book = ContractsForGateway(contract_book)
    # Looks for changes as the hub does, so that the book is never too old to go by.
    fresh = Worker("book", _looked(contract_book), idle_s=1.0)
    fresh.start()
    meter = SqlMeter(database)
    quotas = SqlQuotas(database)
    refusals = RefusalLog(database, hub=PartyId("EU*GRD"))
    upstream = Upstream(allow_loopback=True)
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
        assertions=Assertions(ISSUER, KeysForGateway(_ring())),
        clock=utc_now,
        registry=CollectorRegistry(),
        limits=Limits(calls_per_second=1e6),
    )
    await server(app, port).serve()
    await fresh.close()
    await upstream.close()
    await quotas.close()
    await meter.close()
    await refusals.close()
    await database.close()


def _ring() -> KeyRing:
    """Keys of the hub's, for what it tells providers."""
    box, now = SecretBox(os.urandom(32)), utc_now()
    ring = KeyRing(box, KeyRules())
    ring.replace([new_signing_key("bench", box, now, now)])
    return ring


def _looked(book: ContractBook) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        await book.refresh()
        return False

    return look


class _JsonUpstream(asyncio.Protocol):
    """Answers every request head with the same JSON; it must cost next to nothing."""

    _ANSWER = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
        + str(len(ANSWER)).encode()
        + b"\r\n\r\n"
        + ANSWER
    )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are transports by what they do, not by class.
        self._transport = cast(asyncio.Transport, transport)
        self._waiting = b""

    def data_received(self, data: bytes) -> None:
        *heads, self._waiting = (self._waiting + data).split(b"\r\n\r\n")
        self._transport.write(self._ANSWER * len(heads))


async def _upstream(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_JsonUpstream, "127.0.0.1", port)
    await server.serve_forever()


# The peers ------------------------------------------------------------------------------------


def _write_maps(calls: _Calls) -> None:
    """The same partners and contracts, as text maps. The one caller's key is its token."""
    names = {_party(n): f"key-{n:05d}" for n in range(PARTNERS)}
    names[calls.party] = calls.token
    contracts = list(enumerate(_pairs()))
    write = {
        "keys.nginx": [f'"Bearer {key}" "{party}";' for party, key in names.items()],
        "contracts.nginx": [f'"{party}:{name}" "C-{n:06d}";' for n, (party, name) in contracts],
        "keys.haproxy": [f"{key} {party}" for party, key in names.items()],
        "contracts.haproxy": [f"{party}:{name} C-{n:06d}" for n, (party, name) in contracts],
    }
    for name, lines in write.items():
        (calls.scratch / name).write_text("\n".join(lines) + "\n")


def _nginx(calls: _Calls, port: int, upstream: int) -> list[str]:
    _write_maps(calls)
    folder = calls.scratch
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # A proxy_set_header inside the location drops inherited ones, so all stand together.
    (folder / "nginx.conf").write_text(
        f"""
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
{temporary}
keepalive_requests 1000000; map_hash_max_size 262144; map_hash_bucket_size 1024;
map $http_authorization $partner {{ default ""; include {folder}/keys.nginx; }}
map "$partner:$service" $contract {{ default ""; include {folder}/contracts.nginx; }}
limit_req_zone $contract zone=contracts:10m rate=1000000r/s;
log_format meter '$msec $partner $service $contract $status $request_time $bytes_sent $request_id';
access_log {folder}/meter.log meter buffer=64k flush=1s;
upstream partner {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000; }}
server {{ listen 127.0.0.1:{port}; set $service "";
 location ~ ^/services/(?<name>[a-z0-9-]+)(?<rest>/.*)$ {{ set $service $name;
  if ($partner = "") {{ return 401; }} if ($contract = "") {{ return 403; }}
  limit_req zone=contracts burst=1000 nodelay;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Authorization "";
  proxy_set_header X-Contract-Id $contract; proxy_set_header X-Caller-Party $partner;
  proxy_set_header X-Request-Id $request_id; proxy_pass http://partner$rest$is_args$args; }} }} }}
"""
    )
    return ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", "stderr"]


def _haproxy(calls: _Calls, port: int, upstream: int) -> list[str]:
    _write_maps(calls)
    folder = calls.scratch
    (folder / "haproxy.cfg").write_text(
        f"""
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    http-reuse always
backend limits
    stick-table type string len 16 size 100k expire 10s store http_req_rate(1s),http_req_cnt
frontend door
    bind 127.0.0.1:{port}
    unique-id-format %[uuid()]
    unique-id-header X-Request-Id
    http-request set-var(txn.key) req.hdr(authorization),word(2,' ')
    http-request set-var(txn.partner) var(txn.key),map_str({folder}/keys.haproxy)
    http-request return status 401 unless {{ var(txn.partner) -m found }}
    http-request set-var(txn.service) path,field(3,/)
    http-request set-var(txn.pair) var(txn.partner),concat(:,txn.service)
    http-request set-var(txn.contract) var(txn.pair),map_str({folder}/contracts.haproxy)
    http-request return status 403 unless {{ var(txn.contract) -m found }}
    http-request track-sc0 var(txn.contract) table limits
    http-request return status 429 if {{ sc0_http_req_rate gt 1000000 }}
    http-request del-header authorization
    http-request set-header X-Contract-Id %[var(txn.contract)]
    http-request set-header X-Caller-Party %[var(txn.partner)]
    http-request replace-path /services/[^/]*(/.*) \\1
    default_backend partner
backend partner
    server one 127.0.0.1:{upstream}
"""
    )
    return ["haproxy", "-f", str(folder / "haproxy.cfg"), "-db"]


_PEERS = {"nginx maps + limit + log": _nginx, "HAProxy maps": _haproxy}


def _main(role: str, port: int, *more: str) -> None:
    if role == "upstream":
        uvloop.run(_upstream(port))
    elif role == "floor":
        server(_floor(int(more[0])), port).run()
    else:
        uvloop.run(_ours(port, int(more[0]), json.loads(Path(more[1]).read_text())))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
