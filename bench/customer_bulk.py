"""A million new customer contracts in one stream of NDJSON, beside PostgreSQL alone.

Ours is a whole hub (`gridroam serve`) behind its door, called with an access token over a socket:
each line read and checked, each batch on disk with its event, its place in the upload and all
indexes before the answer. The limit is PostgreSQL that COPYs such rows into the same tables, in
commits of the same size, and does nothing else.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec

from bench import serving
from bench.processes import PeerMissing, cpu_s, free_port, running
from bench.row import Options, Row
from bench.streaming import Plan, stream
from clearinghouse.customers.flows import BATCH
from clearinghouse.customers.store import customer_contract, customer_token
from kit.database import Database
from roaming.contract_id import check_digit

NAME = "customer-bulk"

ROWS = 1_000_000
QUICK_ROWS = 12_000
LIMIT = "PostgreSQL alone: COPY of such rows into the same tables in commits of the same size"
_EVSP, _OTHER = "FR*BLK", "FR*CPY"
_BEGAN, _ENDS = datetime(2025, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
_GRIDROAM = str(Path(sys.executable).with_name("gridroam"))
_ROOT = "/services/clearing-house/customer-contracts"
_BODY = '","valid_from":"2025-01-01T00:00:00Z","valid_until":"2031-01-01T00:00:00Z","token_uids":["'


async def run(options: Options) -> list[Row]:
    rows, rounds = (QUICK_ROWS, 1) if options.quick else (ROWS, 2)
    file = options.scratch / "contracts"
    ours, limit = _Best(), _Best()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(_empty_database(options.database_url))
        home, port = options.scratch / "hub", free_port()
        where = ["--home", str(home), "--database-url", url]
        command = [_GRIDROAM, "serve", "--port", str(port), *where]
        server = await stack.enter_async_context(running(command, port))
        database = await Database.open(url, pool_size=1)
        stack.push_async_callback(database.close)
        postgres = await serving.postmaster(database)
        token = await _token(port, where)
        memory = _most_memory_mb(server)
        for turn in range(rounds):
            numbers = range(turn * rows, (turn + 1) * rows)
            await asyncio.to_thread(_write, file, numbers)
            before = cpu_s(server), cpu_s(postgres)
            path = f"{_ROOT}/bulk?upload=bench-{turn}&lines={rows}"
            told = await stream(Plan(port=port, path=path, file=str(file), token=token))
            spent = cpu_s(server) - before[0], cpu_s(postgres) - before[1]
            report = msgspec.json.decode(told.body)
            assert (report["created"], report["state"]) == (rows, "complete"), report
            ours.take(rows, told.seconds, *spent)
            limit.take(rows, *await _copy(url, numbers, postgres))
        params = {
            "rows": rows,
            "bytes_a_row": file.stat().st_size // rows,
            "in_a_commit": BATCH,
            "memory_grew_mb": round(_most_memory_mb(server) - memory),
        }
    cpu = {
        "server_us": round(ours.server_us, 1),
        "postgresql_us": round(ours.postgres_us, 1),
        "rows_a_cpu_second": round(1e6 / (ours.server_us + ours.postgres_us)),
    }
    return [
        _row(ours.per_s, "rows/s", limit.per_s, params),
        _row(
            *(ours.server_us + ours.postgres_us, "us CPU a row, with PostgreSQL's"),
            *(limit.postgres_us, params | cpu),
        ),
    ]


@dataclass(slots=True)
class _Best:
    """The best of some rounds: what else this machine does meanwhile makes none of them better."""

    per_s: float = 0.0
    server_us: float = float("inf")
    postgres_us: float = float("inf")

    def take(self, rows: int, seconds: float, server_s: float, postgres_s: float) -> None:
        self.per_s = max(self.per_s, rows / seconds)
        if server_s + postgres_s < rows / 1e6 * (self.server_us + self.postgres_us):
            self.server_us, self.postgres_us = 1e6 * server_s / rows, 1e6 * postgres_s / rows


def _row(value: float, unit: str, limit: float, params: dict[str, Any]) -> Row:
    return Row(
        name=NAME,
        ours=round(value, 1),
        unit=unit,
        limit=LIMIT,
        limit_value=round(limit, 1),
        ratio_to_limit=round(value / limit, 2) if limit else None,
        params=params,
    )


def _contract_ids(evsp: str, numbers: Sequence[int]) -> Iterator[str]:
    provider = evsp.replace("*", "")
    for number in numbers:
        code = f"{provider}{number:09}"
        yield code + check_digit(code)


def _uid(evsp: str, number: int) -> str:
    """Seven bytes in no order, as on cards; each once."""
    return f"{evsp[-1]}{number * 0x9E3779B97F4A7 % 0x1FFFFFFFFFFFFF:014X}"


def _write(file: Path, numbers: Sequence[int]) -> None:
    with file.open("w") as lines:
        for number, contract_id in zip(numbers, _contract_ids(_EVSP, numbers), strict=True):
            lines.write(f'{{"contract_id":"{contract_id}{_BODY}{_uid(_EVSP, number)}"]}}\n')


@asynccontextmanager
async def _empty_database(url: str) -> Any:
    """One without a table, for a hub that makes its own."""
    name = "customer-bulk-hub"
    beside = await asyncpg.connect(url)
    try:
        await beside.execute(f'CREATE DATABASE "{name}"')
        yield url.replace(f"/{NAME}?", f"/{name}?")
        await beside.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await beside.close()


async def _token(port: int, where: list[str]) -> str:
    """An EVSP's access token, as soon as the hub lets it in."""
    process = await asyncio.create_subprocess_exec(
        *(_GRIDROAM, "partner", "add", _EVSP, "--role", "evsp", "--name", "Bulk", *where),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    added = msgspec.json.decode(out)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        told = await http.post(
            "/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(added["client_id"], added["client_secret"]),
        )
        token = str(told.json()["access_token"])
        for _ in range(200):
            answer = await http.get(_ROOT, headers={"Authorization": f"Bearer {token}"})
            if answer.status_code == 200:
                return token
            await asyncio.sleep(0.05)
    raise PeerMissing(f"the hub answered {answer.status_code}")


async def _copy(url: str, numbers: Sequence[int], postgres: int) -> tuple[float, float, float]:
    """Write such rows of another EVSP by COPY; the seconds that it took, and PostgreSQL's CPU."""
    connection = await asyncpg.connect(url)
    contract_ids = _contract_ids(_OTHER, numbers)
    earlier, spent = cpu_s(postgres), 0.0
    try:
        for first in range(0, len(numbers), BATCH):
            some = numbers[first : first + BATCH]
            ids = [next(contract_ids) for _ in some]
            tokens = [(_uid(_OTHER, n), one, _OTHER) for n, one in zip(some, ids, strict=True)]
            contracts = [
                (one, _OTHER, _BEGAN, _ENDS, "active", ["charging"], "list", _BEGAN) for one in ids
            ]
            began = time.perf_counter()
            async with connection.transaction():
                for table, columns, records in (
                    (customer_contract, _CONTRACT, contracts),
                    (customer_token, _TOKEN, tokens),
                ):
                    await connection.copy_records_to_table(
                        table.name, schema_name=table.schema, columns=columns, records=records
                    )
            spent += time.perf_counter() - began
        # While its backend is still there to be asked.
        return spent, 0.0, cpu_s(postgres) - earlier
    finally:
        await connection.close()


_CONTRACT = (
    *("contract_id", "evsp", "valid_from", "valid_until", "status", "services"),
    *("authorisation", "changed_at"),
)
_TOKEN = ("uid", "contract_id", "evsp")


def _most_memory_mb(pid: int) -> float:
    """The most that a process ever held (proc(5), VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise PeerMissing("the server has ended")
