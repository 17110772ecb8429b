"""A real PostgreSQL for every test that asks: one cluster a run, a fresh database a test."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from gridroam import tables
from kit import garbage
from kit.database import Database, create_schemas, metadata
from kit.embedded_postgres import EmbeddedPostgres, Settings

# Started in the background by a shell, a test run ignores Ctrl-C, and so would every hub that it
# starts: what is inherited is set right before the first one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# As in every process of the hub.
garbage.look_rarely()

TEMPLATE = "gridroam_template"
# A fresh database is a thousand files, which cost a quarter in memory of what they do on a disk.
MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 4 << 30
OURS = "gridroam-tests-"
_numbers = itertools.count()


def _in_memory() -> bool:
    return os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH_BYTES


def _remove_what_killed_runs_left() -> None:
    for left in MEMORY.glob(f"{OURS}*"):
        try:
            os.kill(int(left.name.split("-")[2]), 0)
        except ProcessLookupError:
            EmbeddedPostgres(left).remove()
            shutil.rmtree(left, ignore_errors=True)
        except PermissionError:
            continue


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    place = tmp_path_factory.mktemp("cluster")
    if _in_memory():
        _remove_what_killed_runs_left()
        place = Path(tempfile.mkdtemp(prefix=f"{OURS}{os.getpid()}-", dir=MEMORY))
    postgres = EmbeddedPostgres(place, Settings(durable=False, max_connections=200))

    async def start() -> None:
        await postgres.start()
        await postgres.create_database(TEMPLATE)
        database = await Database.open(postgres.url(TEMPLATE), pool_size=1)
        tables.register()
        async with database.begin() as connection:
            await connection.run_sync(create_schemas)
            await connection.run_sync(metadata.create_all)
        await database.close()

    asyncio.run(start())
    yield postgres
    postgres.remove()
    place.rmdir()


@pytest.fixture
async def database_url(cluster: EmbeddedPostgres) -> AsyncIterator[str]:
    name = f"test_{next(_numbers)}"
    await cluster.create_database(name, template=TEMPLATE)
    yield cluster.url(name)
    beside = await asyncpg.connect(cluster.url("postgres"))
    await beside.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await beside.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, pool_size=8)
    yield database
    await database.close()
