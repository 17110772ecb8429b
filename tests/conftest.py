"""A real PostgreSQL for every test that asks: one cluster a run, a fresh database a test."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Iterator

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
_numbers = itertools.count()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(
        tmp_path_factory.mktemp("cluster"), Settings(durable=False, max_connections=200)
    )

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
    postgres.stop()


@pytest.fixture
async def database_url(cluster: EmbeddedPostgres) -> str:
    name = f"test_{next(_numbers)}"
    await cluster.create_database(name, template=TEMPLATE)
    return cluster.url(name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, pool_size=8)
    yield database
    await database.close()
