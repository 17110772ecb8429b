"""Topics on the log, and the subscribers' books on PostgreSQL.

A topic is read by an index of the log of its own, so that a rare one costs no more than a busy one.
What that costs whoever writes the log was measured: 4 of 30 microseconds of an event appended among
a hundred, 5 of 210 of one appended alone; nearly all of it for the index by party. A table beside
the log would have cost a second row for every event, and a reader that must never stop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from gateway.topics import model
from gateway.topics.model import (
    EVSE_DATA,
    EVSE_STATUS,
    OWN_EVENTS,
    Draft,
    Event,
    EventId,
    Filter,
    Lag,
    Paused,
    Source,
    Subscription,
    TooManySubscriptions,
    Way,
    Wish,
    stream_of,
)
from gateway.topics.ports import CHANNEL
from kit import event_log
from kit.database import Database, Few, Hot, metadata
from kit.event_log import Cursor, NewEvent, events
from kit.sortable_id import sortable_id
from roaming.events import EventType
from roaming.party import PartyId

_IS_PUBLISHED = f"type = '{EventType.TOPIC_EVENT_PUBLISHED}'"
_IS_OF_EVSES = f"type IN ('{EventType.EVSE_STATUS_CHANGED}', '{EventType.EVSE_CHANGED}')"
Index("ix_event_of_party", events.c.party, events.c.xid, events.c.position)
Index(
    "ix_event_of_topic",
    text("split_part(stream, ':', 2)"),
    events.c.xid,
    events.c.position,
    postgresql_where=text(_IS_PUBLISHED),
)
Index(
    "ix_event_of_evses",
    events.c.type,
    events.c.xid,
    events.c.position,
    postgresql_where=text(_IS_OF_EVSES),
)

# For figures alone: whoever has more subscriptions than this is told of the older ones.
MOST_LOOKED_AT = 2_000

_Identifier = Text(collation="C")
subscriptions = Table(
    "topic_subscription",
    metadata,
    Column("subscription_id", _Identifier, primary_key=True),
    Column("topic", _Identifier, nullable=False),
    Column("party", _Identifier, nullable=False),
    Column("name", _Identifier, nullable=False),
    Column("delivery", Text, nullable=False),
    Column("url", Text),
    Column("types", JSONB, nullable=False),
    Column("keys", JSONB, nullable=False),
    Column("xid", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("single_xid", BigInteger, nullable=False),
    Column("single_position", BigInteger, nullable=False),
    Column("made_at", DateTime(timezone=True), nullable=False),
    Column("paused", Text),
    Column("attempts", Integer, nullable=False),
    Column("failing_since", DateTime(timezone=True)),
    Column("next_attempt_at", DateTime(timezone=True)),
    Column("last_error", Text),
    Column("delivered_at", DateTime(timezone=True)),
    Column("holder", Text, nullable=False),
    Column("held_until", DateTime(timezone=True), nullable=False),
    schema="gateway",
)
Index(
    "uq_topic_subscription_party_topic_name",
    subscriptions.c.party,
    subscriptions.c.topic,
    subscriptions.c.name,
    unique=True,
)


_KEEP = f"""
INSERT INTO {subscriptions.fullname} AS s (subscription_id, topic, party, name, delivery, url,
  types, keys, xid, position, single_xid, single_position, made_at, attempts, holder, held_until)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, $11, 0, '', $11)
ON CONFLICT (party, topic, name) DO UPDATE SET delivery = excluded.delivery, url = excluded.url,
  types = excluded.types, keys = excluded.keys, paused = NULL, attempts = 0, failing_since = NULL,
  next_attempt_at = NULL, holder = CASE excluded.delivery WHEN 'pull' THEN '' ELSE s.holder END
RETURNING *
"""
# What waited for an endpoint is pulled from now on: from the oldest of it, so that none is missed.
_TAKE_BACK = f"""
WITH freed AS (DELETE FROM gateway.topic_held WHERE subscription_id = $1 RETURNING xid, position),
  oldest AS (SELECT xid, position FROM freed ORDER BY xid, position LIMIT 1)
UPDATE {subscriptions.fullname} AS s SET xid = oldest.xid, position = oldest.position - 1
FROM oldest WHERE s.subscription_id = $1 RETURNING s.*
"""


class SqlLog:
    """`connections_most` keeps readers of topics from taking the connections of the rest."""

    def __init__(self, database: Database, *, connections_most: int = 4) -> None:
        self._database = database
        self._few = Few(database, connections_most)

    async def publish(
        self, topic: str, provider: PartyId, drafts: Sequence[Draft]
    ) -> Sequence[EventId]:
        told = [
            NewEvent(
                stream=stream_of(topic, draft.key),
                type=EventType.TOPIC_EVENT_PUBLISHED,
                party=provider,
                body={"type": draft.type, "data": draft.data},
                occurred_at=draft.at,
            )
            for draft in drafts
        ]
        async with self._database.hot() as connection:
            return [EventId(*place) for place in await event_log.append(connection, told)]

    async def read(
        self, source: Source, after: EventId, *, limit: int, most_bytes: int
    ) -> Sequence[Event]:
        async with self._few.hot() as connection:
            return await read(connection, source, after, limit=limit, most_bytes=most_bytes)

    async def newest(self) -> EventId:
        async with self._few.hot() as connection:
            return EventId(*await event_log.newest(connection))


async def read(
    connection: Hot, source: Source, after: EventId, *, limit: int, most_bytes: int
) -> Sequence[Event]:
    """The next events of a topic, in the caller's transaction."""
    condition, argument = _picks(source)
    found = await event_log.read_where(
        connection, Cursor(*after), condition, argument, limit=limit, most_bytes=most_bytes
    )
    return [_to_event(source.topic, one) for one in found]


async def read_at(
    connection: Hot, source: Source, places: Sequence[EventId]
) -> Mapping[EventId, Event]:
    """These very events."""
    found = await event_log.read_where(
        connection,
        event_log.START,
        "position = ANY($4::bigint[])",
        [place.position for place in places],
        limit=len(places),
    )
    return {EventId(*one.cursor): _to_event(source.topic, one) for one in found}


def _picks(source: Source) -> tuple[str, str]:
    """The condition that fits an index of the topic's, and its argument."""
    if source.topic == OWN_EVENTS:
        assert source.party is not None, "own events are somebody's"
        return "party = $4", source.party
    if source.topic == EVSE_STATUS:
        return f"{_IS_OF_EVSES} AND type = $4", EventType.EVSE_STATUS_CHANGED.value
    if source.topic == EVSE_DATA:
        return f"{_IS_OF_EVSES} AND type = $4", EventType.EVSE_CHANGED.value
    return f"{_IS_PUBLISHED} AND split_part(stream, ':', 2) = $4", source.topic


def _to_event(topic: str, told: event_log.Event) -> Event:
    key, type_, data = told.stream, told.type, told.body
    if topic in (EVSE_STATUS, EVSE_DATA):
        key = told.party
    elif topic != OWN_EVENTS:
        key, type_, data = told.stream.split(":", 2)[2], told.body["type"], told.body["data"]
    return Event(
        id=EventId(*told.cursor),
        topic=topic,
        key=key,
        type=type_,
        at=told.occurred_at,
        recorded_at=told.recorded_at,
        data=data,
        correlation_id=told.correlation_id,
    )


class SqlSubscriptions:
    """The subscribers' books."""

    def __init__(self, database: Database, *, connections_most: int = 4) -> None:
        self._few = Few(database, connections_most)

    async def find(self, party: PartyId, topic: str, name: str) -> Subscription | None:
        async with self._few.hot() as connection:
            return await _find(connection, party, topic, name)

    async def of(self, party: PartyId, topic: str) -> Sequence[Subscription]:
        async with self._few.hot() as connection:
            rows = await connection.fetch(
                f"SELECT * FROM {subscriptions.fullname} WHERE party = $1 AND topic = $2"
                " ORDER BY name",
                party,
                topic,
            )
        return [to_subscription(row) for row in rows]

    async def all(self) -> Sequence[Subscription]:
        async with self._few.hot() as connection:
            rows = await connection.fetch(
                f"SELECT * FROM {subscriptions.fullname} ORDER BY subscription_id LIMIT $1",
                MOST_LOOKED_AT,
            )
        return [to_subscription(row) for row in rows]

    async def keep(
        self, party: PartyId, topic: str, name: str, wish: Wish, start: EventId, now: datetime
    ) -> tuple[Subscription, bool]:
        new_id = sortable_id(now)
        async with self._few.hot() as connection:
            # One of a party at a time, so that its subscriptions can be counted.
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"topics:{party}"
            )
            known = await _find(connection, party, topic, name)
            if known is not None and known.wish == wish and known.paused is None:
                return known, False
            others = await connection.fetchval(
                f"SELECT count(*) FROM {subscriptions.fullname}"
                " WHERE party = $1 AND topic = $2 AND name <> $3",
                party,
                topic,
                name,
            )
            if others >= model.MOST_SUBSCRIPTIONS:
                raise TooManySubscriptions(
                    f"{others} subscriptions of {topic} are yours already",
                    field="name",
                    rule=f"at most {model.MOST_SUBSCRIPTIONS}; end one that nobody reads",
                )
            row = await connection.fetchrow(
                _KEEP,
                *(new_id, topic, party, name, wish.way.value, wish.url),
                *(sorted(wish.filter.types), sorted(wish.filter.keys), *start, now),
            )
            assert row is not None
            if wish.way is Way.PULL:
                row = await connection.fetchrow(_TAKE_BACK, row["subscription_id"]) or row
            kept = to_subscription(row)
            one = fact(EventType.TOPIC_SUBSCRIPTION_CHANGED, kept, now, delivery=wish.way.value)
            await event_log.append(connection, [one])
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, kept.subscription_id)
        return kept, kept.subscription_id == new_id

    async def end(self, subscription: Subscription, now: datetime) -> None:
        async with self._few.hot() as connection:
            gone = await connection.fetchval(
                f"DELETE FROM {subscriptions.fullname} WHERE subscription_id = $1 RETURNING 1",
                subscription.subscription_id,
            )
            if gone is None:
                return
            one = fact(EventType.TOPIC_SUBSCRIPTION_ENDED, subscription, now)
            await event_log.append(connection, [one])
            await connection.execute(
                "SELECT pg_notify($1, $2)", CHANNEL, subscription.subscription_id
            )

    async def move(self, subscription: Subscription, to: EventId) -> EventId:
        async with self._few.hot() as connection:
            row = await connection.fetchrow(
                f"UPDATE {subscriptions.fullname} SET xid = $2, position = $3"
                " WHERE subscription_id = $1 AND (xid, position) < ($2, $3) RETURNING 1",
                subscription.subscription_id,
                *to,
            )
            if row is not None:
                return to
            row = await connection.fetchrow(
                f"SELECT xid, position FROM {subscriptions.fullname} WHERE subscription_id = $1",
                subscription.subscription_id,
            )
        return to if row is None else EventId(row["xid"], row["position"])

    async def lag(self, subscription: Subscription, most: int) -> Lag:
        async with self._few.hot() as connection:
            return await lag(connection, subscription.source, subscription.cursor, most)


async def _find(connection: Hot, party: PartyId, topic: str, name: str) -> Subscription | None:
    row = await connection.fetchrow(
        f"SELECT * FROM {subscriptions.fullname} WHERE party = $1 AND topic = $2 AND name = $3",
        party,
        topic,
        name,
    )
    return None if row is None else to_subscription(row)


async def lag(connection: Hot, source: Source, after: EventId, most: int) -> Lag:
    """What is behind a place, counted up to `most`."""
    condition, argument = _picks(source)
    row = await connection.fetchrow(
        "SELECT count(*) AS events, min(recorded_at) AS oldest FROM (SELECT recorded_at"
        f" FROM kit.event WHERE {event_log.READABLE} AND {condition}"
        " ORDER BY xid, position LIMIT $3) AS behind",
        *after,
        most,
        argument,
    )
    assert row is not None
    return Lag(row["events"], row["oldest"])


def to_subscription(row: Any) -> Subscription:
    return Subscription(
        subscription_id=row["subscription_id"],
        topic=row["topic"],
        party=PartyId(row["party"]),
        name=row["name"],
        wish=Wish(
            Way(row["delivery"]),
            row["url"],
            Filter(frozenset(row["types"]), frozenset(row["keys"])),
        ),
        cursor=EventId(row["xid"], row["position"]),
        made_at=row["made_at"],
        single=EventId(row["single_xid"], row["single_position"]),
        paused=None if row["paused"] is None else Paused(row["paused"]),
        attempts=row["attempts"],
        failing_since=row["failing_since"],
        next_attempt_at=row["next_attempt_at"],
        last_error=row["last_error"],
        delivered_at=row["delivered_at"],
    )


def fact(type_: EventType, one: Subscription, now: datetime, **more: object) -> NewEvent:
    """What became of a subscription, to be told to its party."""
    return NewEvent(
        stream=f"topic-subscriptions:{one.party}",
        type=type_,
        party=one.party,
        body={"topic": one.topic, "name": one.name, **more},
        occurred_at=now,
    )
