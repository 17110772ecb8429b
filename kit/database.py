"""PostgreSQL, spoken two ways: SQLAlchemy Core for most, asyncpg for the few hot queries.

Both ways share one rule: leaving the block commits, an exception undoes everything in it. No
network call is made inside such a block.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import asyncpg
from sqlalchemy import Connection, MetaData, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateSchema

from kit.encoding import encode_json
from kit.notices import Listener, Notices

# Named constraints, so that a migration can drop what another made.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

if TYPE_CHECKING:
    Hot = asyncpg.Connection[asyncpg.Record]
else:
    Hot = asyncpg.Connection  # generic in its stubs only


def attach_ddl(sql: str) -> None:
    """Add what Core cannot say (functions, triggers): run once, after all tables are made."""

    def run(_: MetaData, connection: Connection, **__: Any) -> None:
        connection.exec_driver_sql(sql)

    event.listen(metadata, "after_create", run)


def create_schemas(connection: Connection) -> None:
    """Make every schema that a table names; PostgreSQL wants them before the tables."""
    for schema in sorted({table.schema for table in metadata.tables.values() if table.schema}):
        connection.execute(CreateSchema(schema, if_not_exists=True))


async def _prepare(connection: Any) -> None:
    """Teach a raw connection that json and jsonb are Python objects.

    jsonb goes in its binary form (a version number, then the text): COPY takes no other.
    """
    await connection.set_type_codec(
        "json", encoder=_to_json, decoder=json.loads, schema="pg_catalog"
    )
    await connection.set_type_codec(
        "jsonb", encoder=_to_jsonb, decoder=_from_jsonb, schema="pg_catalog", format="binary"
    )


def _renew_if_lost(connection: Any, _record: object, _proxy: object) -> None:
    """A connection that was lost while it lay in the engine's pool is made anew, so that the first
    request after a restart of the server does not fail. asyncpg knows without asking the server;
    its own pool looks by itself."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


async def _nothing_else_to_reset(_: Any) -> None:
    """Nothing of ours outlives its transaction (no SET, no LISTEN, no session lock), and an open
    transaction is undone without this. asyncpg's own way asks the server to forget everything
    after each use, which costs as much as a look-up."""


def _to_json(value: Any) -> str:
    return encode_json(value).decode()


def _to_jsonb(value: Any) -> bytes:
    return b"\x01" + encode_json(value)


def _from_jsonb(sent: bytes) -> Any:
    return json.loads(sent[1:])


async def raw_connection(connection: AsyncConnection | Hot) -> Hot:
    """The asyncpg connection under either kind, inside the transaction that is open on it."""
    if not isinstance(connection, AsyncConnection):
        return connection
    # SQLAlchemy opens its transaction at the first statement; this makes sure that there is one.
    await connection.execute(text("SELECT 1"))
    raw: Hot | None = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    return raw


async def plan_for_these_values(connection: AsyncConnection) -> None:
    """For what the values of a statement decide how it is best answered, as in a search: plan it
    for them each time, until the transaction ends. From the sixth time on PostgreSQL may go by one
    plan for whatever values come, and takes a guess at how many rows an array or a pattern finds.
    """
    await connection.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))


class Database:
    """One server, one database: an engine for SQLAlchemy Core, a pool for asyncpg, and notices."""

    def __init__(
        self, url: str, engine: AsyncEngine, pool: asyncpg.Pool[asyncpg.Record], session: str
    ) -> None:
        # By this name the server knows whether we live: the pool keeps a connection at all times.
        self.session = session
        self.url = url
        self.engine = engine
        self.pool = pool
        self._notices = Notices(url)

    @classmethod
    async def open(cls, url: str, *, pool_size: int = 10) -> Database:
        """Connect to `url` (`postgresql://user:password@host:port/name?host=/socket/folder`)."""
        parsed = make_url(url).set(drivername="postgresql")
        plain = parsed.render_as_string(hide_password=False)
        session = f"gridroam-{uuid4().hex[:16]}"
        pool = await asyncpg.create_pool(
            plain,
            min_size=1,
            max_size=pool_size,
            server_settings={"application_name": session},
            init=_prepare,
            reset=_nothing_else_to_reset,
            command_timeout=60,
        )
        engine = create_async_engine(
            parsed.set(drivername="postgresql+asyncpg"),
            pool_size=pool_size,
            max_overflow=0,
            json_serializer=_to_json,
        )
        event.listen(engine.sync_engine, "checkout", _renew_if_lost)
        return cls(plain, engine, pool, session)

    async def close(self) -> None:
        await self.engine.dispose()
        await self.pool.close()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        async with self.engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def hot(self) -> AsyncIterator[Hot]:
        async with self.pool.acquire() as connection, connection.transaction():
            yield cast(Hot, connection)

    def listen(self, channel: str) -> AbstractAsyncContextManager[Listener]:
        """Hear NOTIFY on `channel`, over the one connection that all share who listen."""
        return self._notices.listen(channel)


class Few:
    """A few of a database's connections for one kind of work: however much there is to do of it,
    the rest find connections too."""

    def __init__(self, database: Database, most: int) -> None:
        self._database = database
        self._turns = asyncio.Semaphore(most)

    @asynccontextmanager
    async def hot(self) -> AsyncIterator[Hot]:
        """One transaction."""
        async with self._turns, self._database.hot() as connection:
            yield connection

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Hot]:
        """For a single statement."""
        async with self._turns, self._database.pool.acquire() as connection:
            yield cast(Hot, connection)
