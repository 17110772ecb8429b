"""The log: one append-only table, written in the same transaction as the state that it tells of.

Law: a reader never skips an event. Positions are given out when an event is written, but
transactions commit in another order, so "everything after the last position I saw" loses the events
of slow writers. A reader here goes by (transaction, position) and stops at the oldest transaction
that still runs: whatever is older has finished, whatever comes later sorts behind. An event stands
under its own transaction or that of its predecessor in the stream, whichever is later, so that a
stream is read in its own order.

Each stream is a hash chain: an event carries the SHA-256 of its predecessor's hash and its own
content. Its actor is part of that; one without hashes as events did before there were actors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import UserDefinedType

from kit.actor import actor_now
from kit.database import Database, Hot, attach_ddl, metadata, raw_connection
from kit.encoding import encode_json

CHANNEL = "events"


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id: never wraps, always grows."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


streams = Table(
    "stream",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("head_hash", LargeBinary, nullable=False),
    Column("head_xid", Xid8, nullable=False),
    schema="kit",
)
events = Table(
    "event",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("xid", Xid8, nullable=False),
    Column("stream", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("party", Text, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column(
        "recorded_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=text("clock_timestamp()"),
    ),
    Column("correlation_id", Text),
    Column("causation_id", Text),
    Column("body", JSONB, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("actor", Text),
    UniqueConstraint("stream", "version"),
    schema="kit",
)
Index("ix_event_xid_position", events.c.xid, events.c.position)
cursors = Table(
    "cursor",
    metadata,
    Column("name", Text, primary_key=True),
    Column("xid", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    schema="kit",
)

attach_ddl(
    """
CREATE FUNCTION kit.event_hash(previous bytea, stream text, version bigint, type text, party text,
    occurred_at timestamptz, body jsonb, actor text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT sha256(previous || convert_to(concat_ws(E'\\n', stream, version, type, party,
    extract(epoch FROM occurred_at), body::text, actor), 'UTF8'))
$$
"""
)
attach_ddl(
    """
CREATE FUNCTION kit.append_events(streams text[], types text[], parties text[],
    occurred timestamptz[], correlations text[], causations text[], bodies text[],
    actors text[])
RETURNS TABLE (xid xid8, "position" bigint) LANGUAGE plpgsql AS $$
DECLARE
  current_stream text;
  indexes int[];
  i int;
  said jsonb[] := bodies::jsonb[];
  begun boolean;
  head_version bigint;
  head bytea;
  -- Not before its predecessor: of two writers of a stream the later may have begun first.
  place xid8;
  hashes bytea[] := array_fill('\\x'::bytea, ARRAY[cardinality(streams)]);
  positions bigint[] := array_fill(0::bigint, ARRAY[cardinality(streams)]);
  places xid8[] := array_fill('0'::xid8, ARRAY[cardinality(streams)]);
  wrote bigint;
BEGIN
  -- Streams in one order for all writers: two appends never wait for each other in a circle.
  FOR current_stream, indexes IN
    SELECT s, array_agg(n ORDER BY n) FROM unnest(streams) WITH ORDINALITY AS u(s, n)
      GROUP BY s ORDER BY s
  LOOP
    -- Most streams are begun and ended here, so a head is written once: when all is known. Twice
    -- only where somebody else begins the same one meanwhile.
    LOOP
      SELECT t.version, t.head_hash, greatest(t.head_xid, pg_current_xact_id())
        INTO head_version, head, place
        FROM kit.stream AS t WHERE t.stream = current_stream FOR NO KEY UPDATE;
      begun := FOUND;
      IF NOT begun THEN
        head_version := 0;
        head := '\\x';
        place := pg_current_xact_id();
      END IF;
      FOREACH i IN ARRAY indexes LOOP
        head_version := head_version + 1;
        head := kit.event_hash(head, current_stream, head_version, types[i], parties[i],
          occurred[i], said[i], actors[i]);
        hashes[i] := head;
      END LOOP;
      IF begun THEN
        UPDATE kit.stream AS t SET version = head_version, head_hash = head, head_xid = place
          WHERE t.stream = current_stream;
      ELSE
        INSERT INTO kit.stream VALUES (current_stream, head_version, head, place)
          ON CONFLICT DO NOTHING;
      END IF;
      EXIT WHEN FOUND;
    END LOOP;
    head_version := head_version - cardinality(indexes);
    FOREACH i IN ARRAY indexes LOOP
      head_version := head_version + 1;
      INSERT INTO kit.event AS e (xid, stream, version, type, party, occurred_at, correlation_id,
          causation_id, body, hash, actor)
        VALUES (place, current_stream, head_version, types[i], parties[i], occurred[i],
          correlations[i], causations[i], said[i], hashes[i], actors[i])
        RETURNING e.position INTO wrote;
      positions[i] := wrote;
      places[i] := place;
    END LOOP;
  END LOOP;
  PERFORM pg_notify('events', '');
  RETURN QUERY SELECT x, p FROM unnest(places, positions) WITH ORDINALITY AS u(x, p, n) ORDER BY n;
END
$$
"""
)
attach_ddl(
    """
CREATE FUNCTION kit.forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%.% is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME;
END
$$
"""
)
attach_ddl(
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON kit.event
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
"""
)


class Cursor(NamedTuple):
    """How far a reader has come: everything up to here has been read."""

    xid: int
    position: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.position}"

    @classmethod
    def parse(cls, shown: str) -> Cursor:
        """The inverse of `str`; ValueError for anything else."""
        xid, _, position = shown.partition("-")
        return cls(int(xid), int(position))


START = Cursor(0, 0)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A fact to be told. `occurred_at` is the fact's time; the time of record is the log's own.

    `actor` is who acts where it is made, unless whoever makes it knows better.
    """

    stream: str
    type: str
    party: str
    body: Mapping[str, Any]
    occurred_at: datetime
    correlation_id: str | None = None
    causation_id: str | None = None
    actor: str | None = field(default_factory=actor_now)


@dataclass(frozen=True, slots=True)
class Event:
    """A fact as recorded."""

    cursor: Cursor
    stream: str
    version: int
    type: str
    party: str
    occurred_at: datetime
    recorded_at: datetime
    correlation_id: str | None
    causation_id: str | None
    body: Mapping[str, Any]
    actor: str | None = None


_COLUMNS = (
    "xid::text::bigint AS xid, position, stream, version, type, party, occurred_at, recorded_at, "
    "correlation_id, causation_id, body, actor"
)
_APPEND = (
    "SELECT xid::text::bigint, position FROM kit.append_events"
    "($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],"
    " $8::text[])"
)


# Behind a cursor ($1, $2), what has finished, and whatever is older has finished, too.
READABLE = (
    "(xid, position) > ($1::bigint::text::xid8, $2::bigint)"
    " AND xid < pg_snapshot_xmin(pg_current_snapshot())"
)


async def append(connection: AsyncConnection | Hot, new_events: Sequence[NewEvent]) -> list[Cursor]:
    """Write events in the caller's transaction; they become visible with its commit."""
    if not new_events:
        return []
    arguments: list[list[Any]] = [
        [event.stream for event in new_events],
        [str(event.type) for event in new_events],
        [event.party for event in new_events],
        [event.occurred_at for event in new_events],
        [event.correlation_id for event in new_events],
        [event.causation_id for event in new_events],
        [encode_json(event.body).decode() for event in new_events],
        [event.actor for event in new_events],
    ]
    raw = await raw_connection(connection)
    rows = await raw.fetch(_APPEND, *arguments)
    return [Cursor(row[0], row[1]) for row in rows]


async def read(
    connection: AsyncConnection | Hot,
    after: Cursor,
    *,
    limit: int = 1000,
    types: Collection[str] | None = None,
    party: str | None = None,
    stream: str | None = None,
) -> list[Event]:
    """The next events after a cursor, oldest transaction first; none skipped, none unfinished."""
    return await read_where(
        connection,
        after,
        "($4::text[] IS NULL OR type = ANY($4)) AND ($5::text IS NULL OR party = $5)"
        " AND ($6::text IS NULL OR stream = $6)",
        None if types is None else [str(one) for one in types],
        party,
        stream,
        limit=limit,
    )


async def read_where(
    connection: AsyncConnection | Hot,
    after: Cursor,
    condition: str,
    *arguments: object,
    limit: int,
    most_bytes: int | None = None,
) -> list[Event]:
    """As `read`, of those events that a condition in SQL picks; its arguments count from $4 on.

    The condition is its capability's own text, never a caller's: it fits an index of the log that
    the capability has declared. With `most_bytes`, bodies come up to so many bytes of JSON in all,
    and one at least.
    """
    query = (
        f"SELECT {_COLUMNS} FROM kit.event"
        f" WHERE {READABLE} AND {condition} ORDER BY kit.event.xid, position LIMIT $3"
    )
    if most_bytes is not None:
        query = (
            "SELECT * FROM (SELECT *, sum(bytes) OVER (ORDER BY xid, position) - bytes AS before"
            f" FROM (SELECT {_COLUMNS}, octet_length(body::text) AS bytes FROM kit.event"
            f" WHERE {READABLE} AND {condition} ORDER BY kit.event.xid, position LIMIT $3) AS page"
            f") AS added WHERE before < {most_bytes:d} ORDER BY xid, position"
        )
    raw = await raw_connection(connection)
    rows = await raw.fetch(query, after.xid, after.position, limit, *arguments)
    return [_to_event(row) for row in rows]


class Heading(NamedTuple):
    """What an event is about, without what it says."""

    cursor: Cursor
    stream: str
    type: str
    party: str


async def headings(
    connection: AsyncConnection | Hot, after: Cursor, *, limit: int
) -> list[Heading]:
    """As `read`, for whoever only wants to know that there is something to read."""
    raw = await raw_connection(connection)
    rows = await raw.fetch(
        "SELECT xid::text::bigint, position, stream, type, party FROM kit.event"
        f" WHERE {READABLE} ORDER BY kit.event.xid, position LIMIT $3",
        after.xid,
        after.position,
        limit,
    )
    return [Heading(Cursor(row[0], row[1]), row[2], row[3], row[4]) for row in rows]


def _to_event(row: Any) -> Event:
    body = row["body"]
    return Event(
        cursor=Cursor(row["xid"], row["position"]),
        stream=row["stream"],
        version=row["version"],
        type=row["type"],
        party=row["party"],
        occurred_at=row["occurred_at"],
        recorded_at=row["recorded_at"],
        correlation_id=row["correlation_id"],
        causation_id=row["causation_id"],
        body=msgspec.json.decode(body) if isinstance(body, str) else body,
        actor=row["actor"],
    )


async def follow(
    database: Database,
    after: Cursor,
    *,
    types: Collection[str] | None = None,
    party: str | None = None,
    limit: int = 1000,
    look_again_s: float = 1.0,
) -> AsyncGenerator[list[Event], None]:
    """Events as they come, in batches, for ever. A commit wakes it; it also looks by itself.

    The second look is needed: a notice may come while an older transaction still runs, and the end
    of that one is not announced here when it wrote no event.
    """
    async with database.listen(CHANNEL) as wakes:
        while True:
            async with database.hot() as connection:
                batch = await read(connection, after, limit=limit, types=types, party=party)
            if batch:
                after = batch[-1].cursor
                yield batch
                continue
            # Not wait_for: on Python 3.11 it can swallow a cancellation that meets a wake.
            with suppress(TimeoutError):
                async with asyncio.timeout(look_again_s):
                    await anext(wakes)


async def newest(connection: AsyncConnection | Hot) -> Cursor:
    """A cursor behind everything that a reader could read now."""
    raw = await raw_connection(connection)
    row = await raw.fetchrow(
        "SELECT xid::text::bigint, position FROM kit.event"
        " WHERE xid < pg_snapshot_xmin(pg_current_snapshot())"
        " ORDER BY xid DESC, position DESC LIMIT 1"
    )
    return START if row is None else Cursor(row[0], row[1])


async def load_cursor(connection: AsyncConnection | Hot, name: str) -> Cursor:
    """How far reader `name` had come when it last saved; START for a new one."""
    raw = await raw_connection(connection)
    row = await raw.fetchrow("SELECT xid, position FROM kit.cursor WHERE name = $1", name)
    return START if row is None else Cursor(row[0], row[1])


async def save_cursor(connection: AsyncConnection | Hot, name: str, cursor: Cursor) -> None:
    """Remember in the caller's transaction, with whatever was done about the events read."""
    raw = await raw_connection(connection)
    await raw.execute(
        "INSERT INTO kit.cursor VALUES ($1, $2, $3)"
        " ON CONFLICT (name) DO UPDATE SET xid = excluded.xid, position = excluded.position",
        name,
        cursor.xid,
        cursor.position,
    )


async def broken_links(connection: AsyncConnection | Hot, stream: str) -> list[int]:
    """Versions in `stream` whose hash does not follow from their content and predecessor."""
    raw = await raw_connection(connection)
    rows = await raw.fetch(
        "SELECT version FROM (SELECT *, row_number() OVER (ORDER BY version) AS expected,"
        " lag(hash, 1, ''::bytea) OVER (ORDER BY version) AS previous"
        " FROM kit.event WHERE stream = $1) AS chain"
        " WHERE version <> expected OR hash IS DISTINCT FROM"
        " kit.event_hash(previous, stream, version, type, party, occurred_at, body, actor)",
        stream,
    )
    return [row[0] for row in rows]
