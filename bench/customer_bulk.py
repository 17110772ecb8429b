"""A million new customer contracts in one stream of NDJSON, beside PostgreSQL alone.

Ours is a whole hub (`gridroam serve`) behind its door, called with an access token over a socket:
each line read and checked, each batch on disk with its event, its place in the upload and all
indexes before the answer. The limit is PostgreSQL that COPYs such rows into the same tables, in
commits of the same size, and does nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, asynccontextmanager
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
_ROOT = "/services/clearing-house/customer-contracts"
_BODY = '","valid_from":"2025-01-01T00:00:00Z","valid_until":"2031-01-01T00:00:00Z","token_uids":["'


async def run(options: Options) -> list[Row]:
    rows = QUICK_ROWS if options.quick else ROWS
    file = options.scratch / "contracts"
    await asyncio.to_thread(_write, file, rows)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(_empty_database(options.database_url))
        home, port = options.scratch / "hub", free_port()
        where = ["--home", str(home), "--database-url", url]
        command = ["gridroam", "serve", "--port", str(port), *where]
        server = await stack.enter_async_context(running(command, port))
        database = await Database.open(url, pool_size=1)
        stack.push_async_callback(database.close)
        postgres = await serving.postmaster(database)
        token = await _token(port, where)
        memory = _most_memory_mb(server)
        before = cpu_s(server), cpu_s(postgres)
        path = f"{_ROOT}/bulk?upload=bench&lines={rows}"
        told = await stream(Plan(port=port, path=path, file=str(file), token=token))
        ours_us, postgres_us = (
            1e6 * (cpu_s(pid) - earlier) / rows
            for pid, earlier in zip((server, postgres), before, strict=True)
        )
        report = msgspec.json.decode(told.body)
        assert (report["created"], report["state"]) == (rows, "complete"), report
        copying_s, copying_cpu_s = await _copy(url, rows, postgres)
        copy_us = 1e6 * copying_cpu_s / rows
        params = {
            "rows": rows,
            "bytes_a_row": file.stat().st_size // rows,
            "in_a_commit": BATCH,
            "memory_grew_mb": round(_most_memory_mb(server) - memory),
        }
    cpu = {"server_us": round(ours_us, 1), "postgresql_us": round(postgres_us, 1)}
    per_core_s = {"rows_a_cpu_second": round(1e6 / (ours_us + postgres_us))}
    return [
        _row(rows / told.seconds, "rows/s", rows / copying_s, params),
        _row(
            *(ours_us + postgres_us, "us CPU a row, with PostgreSQL's", copy_us),
            params | cpu | per_core_s,
        ),
    ]


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


def _contract_ids(evsp: str, rows: int) -> Iterator[str]:
    provider = evsp.replace("*", "")
    for number in range(rows):
        code = f"{provider}{number:09}"
        yield code + check_digit(code)


def _uid(evsp: str, number: int) -> str:
    """Seven bytes in no order, as on cards; each once."""
    return f"{evsp[-1]}{number * 0x9E3779B97F4A7 % 0x1FFFFFFFFFFFFF:014X}"


def _write(file: Path, rows: int) -> None:
    with file.open("w") as lines:
        for number, contract_id in enumerate(_contract_ids(_EVSP, rows)):
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
        *("gridroam", "partner", "add", _EVSP, "--role", "evsp", "--name", "Bulk", *where),
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


async def _copy(url: str, rows: int, postgres: int) -> tuple[float, float]:
    """Write such rows of another EVSP by COPY; the seconds that it took, and PostgreSQL's CPU."""
    connection = await asyncpg.connect(url)
    contract_ids = _contract_ids(_OTHER, rows)
    earlier, spent = cpu_s(postgres), 0.0
    try:
        for first in range(0, rows, BATCH):
            numbers = range(first, min(first + BATCH, rows))
            ids = [next(contract_ids) for _ in numbers]
            tokens = [(_uid(_OTHER, n), one, _OTHER) for n, one in zip(numbers, ids, strict=True)]
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
        return spent, cpu_s(postgres) - earlier
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
