"""A whole hub in processes of its own, with a partner's service and another who may call it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec

from bench import gateway_servers
from bench.processes import PeerMissing, free_port, running

_GRIDROAM = str(Path(sys.executable).parent / "gridroam")
SERVICE = "weather"


@dataclass(frozen=True, slots=True)
class Partner:
    """A partner's programme: what it says of itself in every request."""

    party: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Market:
    """`pid` is the hub's first process, whose children the workers are where there are several."""

    url: str
    pid: int
    provider: Partner
    requester: Partner
    contract_id: str
    http: httpx.AsyncClient

    @property
    def call(self) -> str:
        return f"{self.url}/services/{SERVICE}/evses"

    @property
    def workers(self) -> list[int]:
        """The processes that answer calls."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        children = {int(one) for task in tasks for one in (task / "children").read_text().split()}
        workers = [one for one in children if b"serve-worker" in _command(one)]
        return sorted(workers) or [self.pid]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@asynccontextmanager
async def market(database_url: str, scratch: Path, *, workers: int) -> AsyncIterator[Market]:
    """A hub on a database of its own; all is agreed by its public API when the block begins."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(_empty_database(database_url, f"market-{workers}"))
        upstream, port = free_port(), free_port()
        weather = gateway_servers.command(gateway_servers.REST, upstream)
        await stack.enter_async_context(running(weather, upstream))
        where = ["--home", str(scratch / f"market-{workers}"), "--database-url", url]
        serve = [_GRIDROAM, "serve", "--port", str(port), "--log-level", "error", *where]
        # The one caller here stands for many.
        serve += ["--workers", str(workers), "--client-rate", "1000000"]
        pid = await stack.enter_async_context(running(serve, port))
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)
        )
        provider = await _partner(http, "NL*WTH", "service-provider", where)
        requester = await _partner(http, "FR*PD1", "evse-operator", where)
        contract_id = await _agreed(http, provider, requester, upstream)
        yield Market(f"http://127.0.0.1:{port}", pid, provider, requester, contract_id, http)


@asynccontextmanager
async def _empty_database(url: str, name: str) -> AsyncIterator[str]:
    """One without a table, for a hub that makes its own."""
    beside = await asyncpg.connect(url)
    here = url.rpartition("/")[2].partition("?")[0]
    try:
        await beside.execute(f'CREATE DATABASE "{name}"')
        yield url.replace(f"/{here}?", f"/{name}?")
        await beside.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await beside.close()


async def _partner(http: httpx.AsyncClient, party: str, role: str, where: list[str]) -> Partner:
    process = await asyncio.create_subprocess_exec(
        *(_GRIDROAM, "partner", "add", party, "--role", role, "--name", party, *where),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    added = msgspec.json.decode(out)
    told = await http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(added["client_id"], added["client_secret"]),
    )
    return Partner(party, {"Authorization": f"Bearer {told.json()['access_token']}"})


async def _agreed(
    http: httpx.AsyncClient, provider: Partner, requester: Partner, upstream: int
) -> str:
    await post(
        *(http, provider, "/marketplace/services"),
        {
            "name": SERVICE,
            "category": "value-added",
            "description": "",
            "endpoint": f"http://127.0.0.1:{upstream}",
        },
    )
    await post(http, provider, f"/marketplace/services/{SERVICE}/v1/publish")
    offering = await post(http, provider, "/marketplace/offerings", {"service": SERVICE})
    contract = await post(
        http, requester, "/marketplace/contracts", {"offering_id": offering["offering_id"]}
    )
    return str(contract["contract_id"])


async def post(http: httpx.AsyncClient, partner: Partner, path: str, body: Any = None) -> Any:
    """PeerMissing where the hub says no."""
    answer = await http.post(path, json=body, headers=partner.headers)
    if not answer.is_success:
        raise PeerMissing(f"{path} answered {answer.status_code}: {answer.text[:300]}")
    return answer.json()
