"""A hub and its PostgreSQL are killed with a million records undelivered: when does it go on?

A real `gridroam serve` on a home of its own, always durable, and the EVSPs' endpoints as a
real HTTP server. Each EVSP's endpoint fails first, so that there is a delivery under way to each;
then both processes are killed (SIGKILL), the endpoints are well again, and the hub is started. Ours
is the time from that start until the last EVSP has had a delivery. The limit is PostgreSQL alone,
killed in the same state: started, recovered, and asked for the first records of every EVSP.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from aiohttp import web
from rich.console import Console
from rich.progress import Progress

from bench.row import Options, Row
from bench.serving import parent_of
from bench.world import party
from gridroam.core import core
from gridroam.home import DATABASE, Home
from kit.clock import utc_now
from kit.database import Database
from kit.embedded_postgres import EmbeddedPostgres
from marketplace.partners import flows as partner_flows
from marketplace.partners.model import Purpose
from roaming.party import PartyId

NAME = "restart-undelivered"

AIM_S = 10.0
LIMIT = "PostgreSQL alone: recovered, and the first 100 records of every EVSP read"
AT_ONCE = 50_000
_FIRST_EVSP = 20_000
# As the intake leaves them, so that what is delivered is what an EVSP would get.
_BOOK = """
INSERT INTO clearinghouse.cdr (log_position, log_xid, operator, cdr_id, state, reasons, evse_id,
  token_uid, evsp, started_at, ended_at, energy_wh, periods, signed_meter_values, agreement_id,
  time_zone, currency, excl_vat_minor, vat_minor, price_lines, content, fingerprint, recorded_at)
SELECT n, pg_current_xact_id(), $3, 'C' || n, 'accepted', '[]', 'DEAAAE' || n % 1000,
  '04' || lpad(to_hex(n), 12, '0'), ($4::text[])[1 + n % array_length($4, 1)],
  at - interval '1 hour', at, 12345, '[]', '[]', 'agreement', 'Europe/Berlin', 'EUR', 617, 117,
  '[{"component": "ENERGY", "amount": "6.17"}]', decode(md5(n::text), 'hex'),
  sha256(n::text::bytea), at
FROM generate_series($1::bigint, $2::bigint) AS n
CROSS JOIN LATERAL (SELECT timestamptz '2026-01-01' + n * interval '1 second' AS at) AS t
"""
_FIRST_RECORDS = """
SELECT * FROM clearinghouse.cdr WHERE evsp = $1 AND state <> 'rejected'
ORDER BY log_xid, log_position LIMIT 100
"""


@dataclass(slots=True)
class Endpoints:
    """All EVSPs' endpoints in one server, by path: down at first, then well."""

    evsps: int
    well: bool = False
    asked: Counter[str] = field(default_factory=Counter)
    took: Counter[str] = field(default_factory=Counter)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def take(self, request: web.BaseRequest) -> web.StreamResponse:
        content = await request.content.read()
        self.asked[request.path] += 1
        if self.well:
            self.took[request.path] += content.count(b'"cdr_id"')
        self.changed.set()
        return web.Response(status=204 if self.well else 503)

    async def all_of(self, seen: Counter[str], within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while len(seen) < self.evsps:
                self.changed.clear()
                await self.changed.wait()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        runner = web.ServerRunner(web.Server(self.take), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()


async def run(options: Options) -> list[Row]:
    cdrs, evsps = (4_000, 20) if options.quick else (1_000_000, 200)
    folder = options.scratch / "home"
    names = [party(_FIRST_EVSP + number) for number in range(evsps)]
    endpoints = Endpoints(evsps)
    try:
        async with endpoints.open():
            home = Home(folder)
            async with home.database() as database:
                await _load(database, home, cdrs, names, endpoints.url)
            await _killed_while_it_fails(folder, endpoints)
            limit = await _alone(folder, names)
            endpoints.asked.clear()
            await _killed_while_it_fails(folder, endpoints)
            endpoints.well = True
            began = time.perf_counter()
            async with _hub(folder):
                ready_s = time.perf_counter() - began
                await endpoints.all_of(endpoints.took, within_s=300)
                ours = time.perf_counter() - began
                before = endpoints.took.total()
                await asyncio.sleep(1 if options.quick else 10)
                spent = time.perf_counter() - began - ours
                rate = (endpoints.took.total() - before) / spent
    finally:
        Home(folder).remove()
    return [
        Row(
            name=NAME,
            ours=round(ours, 2),
            unit=f"s until the last EVSP has had a delivery (aim: {AIM_S:g})",
            limit=LIMIT,
            limit_value=round(limit, 3),
            ratio_to_limit=round(ours / limit, 2),
            params={
                "cdrs": cdrs,
                "evsps": evsps,
                "ready_s": round(ready_s, 2),
                "then_cdrs_per_s": round(rate),
            },
        )
    ]


async def _load(
    database: Database, home: Home, cdrs: int, evsps: Sequence[PartyId], url: str
) -> None:
    parts = core(database, home.secret, hub=PartyId("EU*GRD"), clock=utc_now)
    async with database.hot() as connection:
        await connection.executemany(
            "INSERT INTO marketplace.partner (party, name, roles, registered_at)"
            " VALUES ($1, $1, '{evsp}', now())",
            [(one,) for one in evsps],
        )
    for one in evsps:
        await partner_flows.set_endpoint(
            *(parts.partners, one, one, Purpose.CDRS, f"{url}/{one.compact}", {}),
            allow_loopback=True,
            now=utc_now(),
        )
    connection = await asyncpg.connect(database.url)
    try:
        with Progress(transient=True, console=Console(stderr=True)) as progress:
            booking = progress.add_task("booking records", total=cdrs)
            for first in range(1, cdrs + 1, AT_ONCE):
                last = min(first + AT_ONCE - 1, cdrs)
                await connection.execute(_BOOK, first, last, str(party(10_000)), list(evsps))
                progress.advance(booking, last - first + 1)
        # A backlog comes over days: most of it is long in place, and known to the planner.
        await connection.execute("VACUUM ANALYZE clearinghouse.cdr")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _killed_while_it_fails(folder: Path, endpoints: Endpoints) -> None:
    """A hub that has tried every EVSP in vain, killed with its PostgreSQL."""
    async with _hub(folder) as hub:
        await endpoints.all_of(endpoints.asked, within_s=300)
        server = await _postmaster(folder)
        hub.kill()
        await asyncio.to_thread(_kill, server)
        await hub.wait()


async def _alone(folder: Path, evsps: Sequence[PartyId]) -> float:
    postgres = EmbeddedPostgres(folder)
    began = time.perf_counter()
    await postgres.start()
    connection = await asyncpg.connect(postgres.url(DATABASE))
    try:
        for one in evsps:
            await connection.fetch(_FIRST_RECORDS, one)
        return time.perf_counter() - began
    finally:
        await connection.close()


@asynccontextmanager
async def _hub(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A hub that is ready; what it has to say is on standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gridroam.cli", "serve", "--home", str(folder)),
        *("--port", "0", "--log-level", "error"),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(120):
            said = await process.stdout.readline()
        assert said.startswith(b"ready "), "the hub did not start; see above"
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 60)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _postmaster(folder: Path) -> int:
    connection = await asyncpg.connect(EmbeddedPostgres(folder).url(DATABASE))
    try:
        return parent_of(await connection.fetchval("SELECT pg_backend_pid()"))
    finally:
        await connection.close()


def _kill(server: int) -> None:
    """A server and its processes, at once, as when the power fails; gone when this returns."""
    family = [server]
    with suppress(OSError):
        for task in Path(f"/proc/{server}/task").iterdir():
            family += [int(child) for child in (task / "children").read_text().split()]
    for one in family:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    while any(Path(f"/proc/{one}/exe").exists() for one in family):
        time.sleep(0.01)
