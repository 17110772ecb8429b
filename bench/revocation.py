"""From the suspension of a contract to the first call that is refused, in every process; and from
the publication of a service to the first call that is let through.

A whole hub with two worker processes; a requester that calls over sixteen connections, so that both
are asked all the time, while the provider suspends the contract and resumes it, again and again. A
suspension is over, as measured, when every connection has been refused; the clock starts when the
provider *sends* its request, so that its commit is in the figure. The limit is PostgreSQL's own
NOTIFY: from a commit to another connection's hearing of it.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from bench.market import SERVICE, Market, market, post
from bench.processes import PeerMissing
from bench.row import Options, Row

NAME = "revocation"

WORKERS = 2
CONNECTIONS = 16
AIM_S = 1.0
LIMIT = "PostgreSQL alone: from a NOTIFY's commit until another connection hears it, p99"


async def run(options: Options) -> list[Row]:
    rounds = 5 if options.quick else 200
    async with market(options.database_url, options.scratch, workers=WORKERS) as place:
        probes = [await _Probe.open(place) for _ in range(CONNECTIONS)]
        try:
            suspended_ms = [await _suspended(place, probes) * 1e3 for _ in range(rounds)]
            published_ms = [await _published(place, probes) * 1e3 for _ in range(rounds)]
        finally:
            for probe in probes:
                probe.close()
        workers = len(place.workers)
    limit_ms = [one * 1e3 for one in await _notices(options.database_url, rounds)]
    params = {"workers": workers, "connections": CONNECTIONS, "rounds": rounds}
    return [
        _row("suspended to refused everywhere", suspended_ms, limit_ms, params),
        _row("published to callable everywhere", published_ms, limit_ms, params),
    ]


def _row(what: str, ours_ms: list[float], limit_ms: list[float], params: dict[str, Any]) -> Row:
    ours, limit = _p99(ours_ms), _p99(limit_ms)
    return Row(
        name=NAME,
        ours=round(ours, 2),
        unit=f"ms, p99, {what} (aim: {AIM_S * 1e3:g})",
        limit=LIMIT,
        limit_value=round(limit, 3),
        ratio_to_limit=round(ours / limit, 1),
        params={
            **params,
            "p50_ms": round(median(ours_ms), 2),
            "most_ms": round(max(ours_ms), 2),
        },
    )


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98]


async def _suspended(place: Market, probes: list[_Probe]) -> float:
    """Seconds from the request that suspends the contract until the last connection is refused."""
    contract = f"/marketplace/contracts/{place.contract_id}"
    why = {"reason": "bench"}
    spent = await _until_all(place, probes, f"{contract}/suspend", 403, why)
    await _until_all(place, probes, f"{contract}/resume", 200, why)
    return spent


async def _published(place: Market, probes: list[_Probe]) -> float:
    """Seconds from the request that publishes the service until it is called over the last one."""
    service = f"/marketplace/services/{SERVICE}/v1"
    await _until_all(place, probes, f"{service}/suspend", 503)
    return await _until_all(place, probes, f"{service}/publish", 200)


async def _until_all(
    place: Market,
    probes: list[_Probe],
    path: str,
    status: int,
    body: dict[str, str] | None = None,
) -> float:
    began = time.perf_counter()
    async with asyncio.timeout(30):
        calling = asyncio.gather(*(probe.until(status) for probe in probes))
        try:
            await post(place.http, place.provider, path, body)
            await calling
        finally:
            calling.cancel()
    return time.perf_counter() - began


class _Probe:
    """One kept connection that calls again and again; as cheap as it can be."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._request = request

    @classmethod
    async def open(cls, place: Market) -> _Probe:
        parts = urlsplit(place.call)
        lines = [f"GET {parts.path} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in place.requester.headers.items()]
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        return cls(reader, writer, "\r\n".join([*lines, "", ""]).encode())

    async def until(self, status: int) -> None:
        """Call until this is what is answered."""
        while True:
            if await self._ask() == status:
                return
            # So many connections at once must not keep the hub from hearing.
            await asyncio.sleep(0.002)

    async def _ask(self) -> int:
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                await self._reader.readexactly(int(value))
                return int(head[9:12])
        raise PeerMissing("an answer without its length")

    def close(self) -> None:
        self._writer.close()


async def _notices(url: str, rounds: int) -> list[float]:
    heard = asyncio.Event()
    listening, telling = await asyncio.gather(asyncpg.connect(url), asyncpg.connect(url))
    try:
        await listening.add_listener("bench", lambda *_: heard.set())
        spent = []
        for _ in range(rounds):
            heard.clear()
            began = time.perf_counter()
            await telling.execute("NOTIFY bench")
            await heard.wait()
            spent.append(time.perf_counter() - began)
        return spent
    finally:
        await asyncio.gather(listening.close(), telling.close())
