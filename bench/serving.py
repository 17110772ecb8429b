"""Servers of a benchmark: ours and the bare ones under the same settings, the hub's own."""

from __future__ import annotations

from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from bench.asking import CALLER_HEADER
from kit import garbage
from kit.database import Database
from kit.http import CALLER, Caller
from roaming.party import PartyId

DATABASE = "GRIDROAM_BENCH_DATABASE"
POOL_SIZE = 12
"""Connections of one process, as many as the hub opens."""
_HEADER = CALLER_HEADER.encode()


def server(app: ASGIApp, port: int) -> uvicorn.Server:
    """As `gridroam serve` runs it, in one process; but what is idle is kept for the next round."""
    garbage.spare_what_is_held()
    return uvicorn.Server(
        uvicorn.Config(
            app,
            port=port,
            http="httptools",
            loop="uvloop",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_keep_alive=3600,
        )
    )


async def postmaster(database: Database) -> int:
    """The PostgreSQL process whose children serve all connections."""
    backend: int = await database.pool.fetchval("SELECT pg_backend_pid()")
    return parent_of(backend)


def parent_of(pid: int) -> int:
    """proc(5), the fourth field."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def behind_a_door(app: ASGIApp, *roles: str) -> ASGIApp:
    """The app, every caller taken at its word; what a real door costs has a row of its own."""

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        said = next(value for name, value in scope["headers"] if name == _HEADER)
        scope[CALLER] = Caller(PartyId(said.decode()), frozenset(roles), "bench", None, "bench")
        await app(scope, receive, send)

    return door
