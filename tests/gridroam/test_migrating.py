"""A database that was migrated is the one that the code describes, whoever migrated it."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.types import UserDefinedType

from clearinghouse.ledger.store import SqlLedger
from clearinghouse.periods import flows as periods
from clearinghouse.periods.store import SqlBooks as Periods
from gridroam import migrating
from kit.database import Database, metadata
from kit.embedded_postgres import EmbeddedPostgres
from kit.event_log import START, NewEvent, append, broken_links, read

# Names, definitions and comments of whatever Core cannot say.
ROUTINES = """
SELECT n.nspname || '.' || p.proname AS name, pg_get_functiondef(p.oid) AS text
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2
"""
TRIGGERS = """
SELECT t.tgrelid::regclass::text || '.' || t.tgname AS name, pg_get_triggerdef(t.oid) AS text
FROM pg_trigger AS t WHERE NOT t.tgisinternal ORDER BY 1, 2
"""
CONSTRAINTS = """
SELECT c.conrelid::regclass::text || '.' || c.conname AS name, pg_get_constraintdef(c.oid) AS text
FROM pg_constraint AS c JOIN pg_namespace AS n ON n.oid = c.connamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND c.conrelid::regclass::text <> 'alembic_version' ORDER BY 1, 2
"""
INDEXES = """
SELECT schemaname || '.' || indexname AS name, indexdef AS text FROM pg_indexes
WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
  AND tablename <> 'alembic_version' ORDER BY 1
"""
COLUMNS = """
SELECT table_schema || '.' || table_name || '.' || column_name AS name,
  concat_ws(' ', data_type, collation_name, is_nullable, column_default, is_identity,
    identity_generation, generation_expression) AS text
FROM information_schema.columns
WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
  AND table_name <> 'alembic_version' ORDER BY 1
"""


@pytest.fixture
async def empty_url(cluster: EmbeddedPostgres, database_url: str) -> str:
    """A database without a single table."""
    name = database_url.rpartition("/")[2].partition("?")[0] + "_empty"
    await cluster.create_database(name)
    return cluster.url(name)


async def rows(url: str, query: str) -> dict[str, str]:
    connection = await asyncpg.connect(url)
    try:
        return {row["name"]: row["text"] for row in await connection.fetch(query)}
    finally:
        await connection.close()


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(
        connection,
        opts={
            "include_schemas": True,
            "compare_type": True,
            "compare_server_default": True,
            "include_name": lambda name, kind, _: (kind, name) != ("table", "alembic_version"),
        },
    )
    return list(compare_metadata(context, metadata))


def test_files_are_named_as_the_migrations_in_them() -> None:
    read = ScriptDirectory.from_config(migrating.config()).walk_revisions()
    assert migrating.known() == [one.revision for one in read][::-1]


async def test_alembic_finds_nothing_to_add(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SQLAlchemy reads a type of ours back if it is told of it.
    for table in metadata.tables.values():
        for column in table.columns:
            if isinstance(column.type, UserDefinedType):
                monkeypatch.setitem(ischema_names, column.type.get_col_spec(), type(column.type))
    await migrating.upgrade(empty_url)
    engine = create_async_engine(empty_url.replace("postgresql:", "postgresql+asyncpg:"))
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await engine.dispose()


async def test_a_migrated_database_is_a_described_one(empty_url: str, database_url: str) -> None:
    """`database_url` was made from the tables and `attach_ddl` of the code, without a migration."""
    await migrating.upgrade(empty_url)
    for query in (COLUMNS, CONSTRAINTS, INDEXES, ROUTINES, TRIGGERS):
        described = await rows(database_url, query)
        assert described != {}
        assert await rows(empty_url, query) == described


async def test_the_books_of_before_are_sound_after_it(empty_url: str) -> None:
    """A ledger of the first release gets its chain, its balances and its periods."""
    await asyncio.to_thread(command.upgrade, migrating.config(empty_url), "0001")
    connection = await asyncpg.connect(empty_url)
    await connection.execute(
        "INSERT INTO clearinghouse.ledger_entry (posting_id, account, party, counterparty,"
        " currency, amount_minor, operator, cdr_id, occurred_at, recorded_at)"
        " SELECT n, account, party, other, 'EUR', sign * n, 'FR*PD' || n % 2, 'A-' || n,"
        " '2025-01-31 23:59:58.9Z'::timestamptz + n * interval '0.55 seconds', '2025-02-03Z'"
        " FROM generate_series(1, 7) AS n CROSS JOIN LATERAL (VALUES"
        " ('charge-receivable', 'FR*PD' || n % 2, 'DE*BET', 1),"
        " ('charge-payable', 'DE*BET', 'FR*PD' || n % 2, -1))"
        " AS v (account, party, other, sign)"
    )
    await connection.close()
    await migrating.upgrade(empty_url)
    database = await Database.open(empty_url, pool_size=1)
    try:
        audit = await SqlLedger(database).audit()
        assert (audit.postings, audit.entries, audit.books, audit.balances) == (7, 14, 2, 4)
        assert audit.faults == []
        known = await periods.known(books=Periods(database))
        assert [str(one.month) for one in known] == ["2025-01", "2025-02"]
    finally:
        await database.close()


async def test_events_from_before_there_were_actors_keep_their_hashes(empty_url: str) -> None:
    await asyncio.to_thread(command.upgrade, migrating.config(empty_url), "0003")
    connection = await asyncpg.connect(empty_url)
    await connection.execute(
        "SELECT kit.append_events(ARRAY['s', 's'], ARRAY['a', 'b'], ARRAY['FR*PD1', 'FR*PD1'],"
        " ARRAY[now(), now()], ARRAY[NULL, NULL], ARRAY[NULL, NULL], ARRAY['{}', '{\"n\": 1}'])"
    )
    await connection.close()
    await migrating.upgrade(empty_url)
    database = await Database.open(empty_url, pool_size=1)
    try:
        async with database.hot() as hot:
            await append(
                hot,
                [
                    NewEvent(
                        "s", "c", "FR*PD1", {}, datetime(2026, 5, 1, tzinfo=UTC), actor="office"
                    )
                ],
            )
        async with database.hot() as hot:
            assert [one.actor for one in await read(hot, START)] == [None, None, "office"]
            assert await broken_links(hot, "s") == []
    finally:
        await database.close()


async def test_two_processes_may_migrate_at_once(empty_url: str) -> None:
    code = (
        "import asyncio, sys; from gridroam import migrating;"
        " asyncio.run(migrating.upgrade(sys.argv[1]))"
    )
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, empty_url), stderr=asyncio.subprocess.PIPE
        )
        for _ in range(2)
    ]
    told = await asyncio.gather(*(process.communicate() for process in processes))
    assert [process.returncode for process in processes] == [0, 0], told
    versions = await rows(empty_url, "SELECT version_num AS name, '' AS text FROM alembic_version")
    assert list(versions) == [migrating.head()]


async def test_one_that_is_up_to_date_stays_as_it_is_and_a_later_hubs_is_refused(
    empty_url: str,
) -> None:
    await migrating.upgrade(empty_url)
    oids = "SELECT oid::regclass::text AS name, oid::text AS text FROM pg_class"
    before = await rows(empty_url, oids)
    await migrating.upgrade(empty_url)
    assert await rows(empty_url, oids) == before
    connection = await asyncpg.connect(empty_url)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.close()
    with pytest.raises(migrating.NewerDatabase, match="9999"):
        await migrating.upgrade(empty_url)
