"""Runs the benchmarks, each on an empty database of one PostgreSQL that is made for them.

The server is durable (fsync on), since that a promise is on disk before it is given is part of what
is measured; only a quick run, which measures nothing, is not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import asyncpg
import msgspec
from rich.console import Console
from rich.table import Table

from bench import (
    authorise,
    authorise_ask,
    book_load,
    catalogue,
    cdr_intake,
    clearing_run,
    customer_bulk,
    documents,
    gateway_call,
    gateway_soap,
    gateway_workers,
    restart_undelivered,
    revocation,
    service_billing,
    validation,
)
from bench.processes import PeerMissing
from bench.row import Options, Row
from gridroam import tables
from kit.database import Database, create_schemas, metadata
from kit.embedded_postgres import EmbeddedPostgres, Settings

OUTPUT = Path("build/bench.json")
_TEMPLATE = "bench_template"
Ran: TypeAlias = tuple[list[Row], list[str]]
"""The rows, and what could not run."""


class Benchmark(Protocol):
    NAME: str

    async def run(self, options: Options) -> list[Row]: ...


BENCHMARKS: Sequence[Benchmark] = (
    gateway_call,
    gateway_soap,
    gateway_workers,
    revocation,
    validation,
    authorise,
    authorise_ask,
    customer_bulk,
    cdr_intake,
    clearing_run,
    documents,
    catalogue,
    book_load,
    service_billing,
    restart_undelivered,
)


async def run_all(names: Sequence[str], *, quick: bool, console: Console) -> Ran:
    """The rows of the benchmarks of these names (none: of all), and those that could not run."""
    rows: list[Row] = []
    failed: list[str] = []
    # Not /tmp, which may be memory: there fsync would cost nothing.
    with tempfile.TemporaryDirectory(prefix="gridroam-bench-", dir="/var/tmp") as folder:
        async with _server(Path(folder), durable=not quick) as postgres:
            fsync = "off" if quick else "on"
            console.print(f"{_machine()}, {await _version(postgres)}, fsync {fsync}", style="dim")
            for benchmark in BENCHMARKS:
                if names and benchmark.NAME not in names:
                    continue
                console.print(f"{benchmark.NAME} …")
                try:
                    rows += await _run_one(benchmark, postgres, Path(folder), quick=quick)
                except PeerMissing as missing:
                    failed.append(f"{benchmark.NAME}: {missing}")
    return rows, failed


async def _run_one(
    benchmark: Benchmark, postgres: EmbeddedPostgres, folder: Path, *, quick: bool
) -> list[Row]:
    scratch = folder / benchmark.NAME
    scratch.mkdir()
    await postgres.create_database(benchmark.NAME, template=_TEMPLATE)
    try:
        return await benchmark.run(
            Options(database_url=postgres.url(benchmark.NAME), scratch=scratch, quick=quick)
        )
    finally:
        await _execute(postgres, f'DROP DATABASE "{benchmark.NAME}" WITH (FORCE)')


@asynccontextmanager
async def _server(folder: Path, *, durable: bool) -> AsyncIterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(folder, Settings(durable=durable, max_connections=100))
    await postgres.start()
    try:
        await postgres.create_database(_TEMPLATE)
        tables.register()
        database = await Database.open(postgres.url(_TEMPLATE), pool_size=1)
        async with database.begin() as connection:
            await connection.run_sync(create_schemas)
            await connection.run_sync(metadata.create_all)
        await database.close()
        yield postgres
    finally:
        await asyncio.to_thread(postgres.stop)


async def _execute(postgres: EmbeddedPostgres, statement: str) -> None:
    connection = await asyncpg.connect(postgres.url("postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _version(postgres: EmbeddedPostgres) -> str:
    connection = await asyncpg.connect(postgres.url("postgres"))
    try:
        return f"PostgreSQL {await connection.fetchval('SHOW server_version')}"
    finally:
        await connection.close()


def _machine() -> str:
    cores = f"{os.cpu_count()} cores ({platform.machine()})"
    return f"{cores}, {platform.system()}, Python {platform.python_version()}"


def shown(rows: Sequence[Row]) -> Table:
    """The rows to read: of ours, its limit and its peers only the ratio is a result."""
    table = Table(caption="ratio: ours / limit. Absolute figures hold for this machine alone.")
    for heading in ("what", "unit"):
        table.add_column(heading)
    for heading in ("ours", "limit", "ratio", "peer"):
        table.add_column(heading, justify="right")
    for heading in ("against", "data"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        ratio = "" if row.ratio_to_limit is None else f"{row.ratio_to_limit:.2f}"
        against = "; ".join(one for one in (row.limit, row.peer) if one)
        data = ", ".join(f"{name} {value}" for name, value in row.params.items())
        table.add_row(
            *(row.name, row.unit, _number(row.ours), _number(row.limit_value), ratio),
            *(_number(row.peer_value), against, data),
        )
    return table


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:g}"


async def _until_told(work: Coroutine[Any, Any, Ran]) -> Ran:
    """Told to end, it takes its servers and its folder with it."""
    task = asyncio.create_task(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all ran; 1: one did not, and the others are told of."""
    parser = argparse.ArgumentParser(prog="gridroam bench", description=__doc__)
    known = [benchmark.NAME for benchmark in BENCHMARKS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(known)}")
    parser.add_argument("--quick", action="store_true", help="little data, to see that all work")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the JSON goes")
    asked = parser.parse_args(arguments)
    for name in asked.names:
        if name not in known:
            parser.error(f"no benchmark {name!r}; there are: {', '.join(known)}")
    console = Console(stderr=True)
    try:
        running = run_all(asked.names, quick=asked.quick, console=console)
        rows, failed = asyncio.run(_until_told(running))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1))
    Console(width=None if sys.stdout.isatty() else 180).print(shown(rows))
    for one in failed:
        console.print(f"could not run {one}", style="red")
    console.print(f"{len(rows)} rows in {asked.output}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
