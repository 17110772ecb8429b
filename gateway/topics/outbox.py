"""What goes to webhooks, on PostgreSQL: whose turn it is, what is held, what was not taken.

Events are not copied: what is kept is how far a subscription has come, and the places in the log of
the few that wait or were refused. A crash between sending and keeping it sends them again, under
their ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Integer, Table, Text

from gateway.topics.model import (
    MOST_HELD,
    MOST_IN_A_DELIVERY,
    OWN_EVENTS,
    DeadLetter,
    Delivery,
    Event,
    EventId,
    Held,
    Kind,
    Nothing,
    Paused,
    Reply,
    Subscription,
)
from gateway.topics.ports import CHANNEL
from gateway.topics.store import fact, read, read_at, subscriptions, to_subscription
from kit import event_log
from kit.database import Database, Few, Hot, metadata
from roaming.events import EventType

MOST_BYTES = 1024 * 1024

_Identifier = Text(collation="C")


def _of_subscription() -> Column[str]:
    return Column(
        "subscription_id",
        _Identifier,
        ForeignKey(subscriptions.c.subscription_id, ondelete="CASCADE"),
        primary_key=True,
    )


# Events that a subscription's cursor has passed and that have yet to be taken.
held = Table(
    "topic_held",
    metadata,
    _of_subscription(),
    Column("xid", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failing_since", DateTime(timezone=True)),
    Column("next_attempt_at", DateTime(timezone=True)),
    schema="gateway",
)
dead_letters = Table(
    "topic_dead_letter",
    metadata,
    _of_subscription(),
    Column("xid", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("status", Integer),
    Column("says", Text, nullable=False),
    Column("buried_at", DateTime(timezone=True), nullable=False),
    Column("replays", Integer, nullable=False),
    Column("replay_asked_at", DateTime(timezone=True)),
    Column("delivered_at", DateTime(timezone=True)),
    schema="gateway",
)

_IS_ACTIVE = "delivery = 'webhook' AND paused IS NULL"
# Held by a process whose connections are gone, it is free at once: it may have been killed.
_CLAIM = f"""
UPDATE {subscriptions.fullname} AS s SET holder = $2, held_until = now() + interval '1 minute'
WHERE s.subscription_id = $1 AND {_IS_ACTIVE} AND (s.xid, s.position) = ($3, $4)
  AND (s.holder = $2 OR s.held_until < now() OR NOT EXISTS (SELECT FROM pg_stat_activity AS a
    WHERE a.datname = current_database() AND a.application_name = split_part(s.holder, '/', 1)))
RETURNING 1
"""
# Back in order: failures in a row are over.
_MOVE_ON = (
    f"UPDATE {subscriptions.fullname} SET xid = $3, position = $4, attempts = 0,"
    " failing_since = NULL, next_attempt_at = NULL, last_error = NULL,"
    " delivered_at = coalesce($5, delivered_at)"
    " WHERE subscription_id = $1 AND holder = $2 RETURNING 1"
)
_IS_MINE = f"SELECT 1 FROM {subscriptions.fullname} WHERE subscription_id = $1 AND holder = $2"
_HOLD = (
    f"INSERT INTO {held.fullname} VALUES ($1, $2, $3, $4, $5, $6, $7)"
    " ON CONFLICT (subscription_id, xid, position) DO UPDATE SET attempts = excluded.attempts,"
    " next_attempt_at = excluded.next_attempt_at"
)
_LET_GO = f"DELETE FROM {held.fullname} WHERE subscription_id = $1 AND xid = $2 AND position = $3"
_BURY = (
    f"INSERT INTO {dead_letters.fullname} VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, NULL, NULL)"
    " ON CONFLICT (subscription_id, xid, position) DO UPDATE SET status = excluded.status,"
    " says = excluded.says, buried_at = excluded.buried_at, replay_asked_at = NULL"
)
_ASKED_FOR = (
    f"SELECT xid, position FROM {dead_letters.fullname} WHERE subscription_id = $1"
    " AND replay_asked_at IS NOT NULL AND delivered_at IS NULL"
    " ORDER BY replay_asked_at, xid, position LIMIT 1"
)


class SqlOutbox:
    """`connections_most` keeps a thousand subscriptions from taking the connections of the rest."""

    def __init__(self, database: Database, *, connections_most: int = 4) -> None:
        self._few = Few(database, connections_most)

    async def active(self) -> Sequence[Subscription]:
        async with self._few.hot() as connection:
            rows = await connection.fetch(
                f"SELECT * FROM {subscriptions.fullname} WHERE {_IS_ACTIVE}"
            )
        return [to_subscription(row) for row in rows]

    async def look(self, subscription_id: str) -> Subscription | None:
        async with self._few.hot() as connection:
            row = await connection.fetchrow(
                f"SELECT * FROM {subscriptions.fullname}"
                f" WHERE subscription_id = $1 AND {_IS_ACTIVE}",
                subscription_id,
            )
        return None if row is None else to_subscription(row)

    async def next(
        self, subscription: Subscription, *, holder: str, now: datetime
    ) -> Delivery | Nothing:
        async with self._few.hot() as connection:
            # Read first: a subscription that has everything costs no write.
            found = await _next(connection, subscription, now)
            if isinstance(found, Delivery):
                claimed = await connection.fetchval(
                    _CLAIM, subscription.subscription_id, holder, *subscription.cursor
                )
                if claimed is None:
                    return Nothing()
        return found

    async def delivered(self, delivery: Delivery, *, holder: str, now: datetime) -> None:
        subscription = delivery.subscription
        async with self._few.hot() as connection:
            up_to = delivery.up_to if delivery.kind is Kind.NEXT else subscription.cursor
            sent_at = now if delivery.events else None
            mine = await connection.fetchval(
                _MOVE_ON, subscription.subscription_id, holder, *up_to, sent_at
            )
            if mine is None:
                return
            await _set_aside(connection, subscription, delivery.aside)
            for event in delivery.events:
                if delivery.kind is Kind.HELD:
                    await connection.execute(_LET_GO, subscription.subscription_id, *event.id)
                if delivery.kind is Kind.REPLAY:
                    await connection.execute(
                        f"UPDATE {dead_letters.fullname} SET delivered_at = $4"
                        " WHERE subscription_id = $1 AND xid = $2 AND position = $3",
                        subscription.subscription_id,
                        *event.id,
                        now,
                    )

    async def one_by_one(self, delivery: Delivery, *, holder: str) -> None:
        async with self._few.hot() as connection:
            await connection.execute(
                f"UPDATE {subscriptions.fullname} SET single_xid = $3, single_position = $4"
                " WHERE subscription_id = $1 AND holder = $2",
                delivery.subscription.subscription_id,
                holder,
                *delivery.up_to,
            )

    async def hold(
        self, delivery: Delivery, says: str, again_at: datetime, *, holder: str, now: datetime
    ) -> None:
        (event,) = delivery.events
        before = delivery.held or Held(event.id, event.key)
        async with self._few.hot() as connection:
            if not await self._passed(connection, delivery, holder):
                return
            await connection.execute(
                _HOLD,
                delivery.subscription.subscription_id,
                *event.id,
                event.key,
                before.attempts + 1,
                before.failing_since or now,
                again_at,
            )
            await _note(connection, delivery.subscription, says)

    async def bury(self, delivery: Delivery, reply: Reply, *, holder: str, now: datetime) -> None:
        (event,) = delivery.events
        subscription = delivery.subscription
        async with self._few.hot() as connection:
            if not await self._passed(connection, delivery, holder):
                return
            await connection.execute(_LET_GO, subscription.subscription_id, *event.id)
            await connection.execute(
                _BURY,
                subscription.subscription_id,
                *event.id,
                *(event.key, event.type, reply.status, reply.says, now),
            )
            await _note(connection, subscription, f"{reply.status}: {reply.says}")
            # Not of one's own events: told of there, each that is refused would make another.
            if delivery.kind is not Kind.REPLAY and subscription.topic != OWN_EVENTS:
                about = {"id": str(event.id), "key": event.key, "status": reply.status}
                one = fact(EventType.TOPIC_EVENT_DEAD_LETTERED, subscription, now, **about)
                await event_log.append(connection, [one])

    async def _passed(self, connection: Hot, delivery: Delivery, holder: str) -> bool:
        """Move behind an event that was not taken; False where another process is at it."""
        subscription = delivery.subscription
        if delivery.kind is not Kind.NEXT:
            mine = await connection.fetchval(_IS_MINE, subscription.subscription_id, holder)
            return mine is not None
        mine = await connection.fetchval(
            f"UPDATE {subscriptions.fullname} SET xid = $3, position = $4"
            " WHERE subscription_id = $1 AND holder = $2 RETURNING 1",
            subscription.subscription_id,
            holder,
            *delivery.up_to,
        )
        if mine is not None:
            await _set_aside(connection, subscription, delivery.aside)
        return mine is not None

    async def failed(
        self, subscription: Subscription, says: str, again_at: datetime, *, now: datetime
    ) -> None:
        async with self._few.hot() as connection:
            await connection.execute(
                f"UPDATE {subscriptions.fullname} SET attempts = attempts + 1, last_error = $2,"
                " next_attempt_at = $3, failing_since = coalesce(failing_since, $4)"
                " WHERE subscription_id = $1",
                subscription.subscription_id,
                says,
                again_at,
                now,
            )

    async def pause(
        self, subscription: Subscription, why: Paused, says: str, *, now: datetime
    ) -> None:
        async with self._few.hot() as connection:
            paused = await connection.fetchval(
                f"UPDATE {subscriptions.fullname} SET paused = $2, last_error = $3"
                " WHERE subscription_id = $1 AND paused IS NULL RETURNING 1",
                subscription.subscription_id,
                why.value,
                says,
            )
            if paused is not None:
                one = fact(EventType.TOPIC_DELIVERY_PAUSED, subscription, now, reason=why.value)
                await event_log.append(connection, [one])

    async def dead_letters(
        self, subscription: Subscription, *, after: EventId, limit: int
    ) -> Sequence[DeadLetter]:
        async with self._few.hot() as connection:
            rows = await connection.fetch(
                f"SELECT * FROM {dead_letters.fullname} WHERE subscription_id = $1"
                " AND (xid, position) > ($2, $3) ORDER BY xid, position LIMIT $4",
                subscription.subscription_id,
                *after,
                limit,
            )
        return [_to_dead_letter(row) for row in rows]

    async def ask_replay(
        self, subscription: Subscription, ids: Sequence[EventId] | None, now: datetime
    ) -> int:
        async with self._few.hot() as connection:
            asked = await connection.fetch(
                f"UPDATE {dead_letters.fullname} SET replay_asked_at = $2, replays = replays + 1"
                " WHERE subscription_id = $1 AND delivered_at IS NULL AND replay_asked_at IS NULL"
                " AND ($3::bigint[] IS NULL OR position = ANY($3)) RETURNING 1",
                subscription.subscription_id,
                now,
                None if ids is None else [one.position for one in ids],
            )
            if asked:
                await connection.execute(
                    "SELECT pg_notify($1, $2)", CHANNEL, subscription.subscription_id
                )
        return len(asked)


async def _next(connection: Hot, subscription: Subscription, now: datetime) -> Delivery | Nothing:
    asked_for = await connection.fetchrow(_ASKED_FOR, subscription.subscription_id)
    if asked_for is not None:
        event = await _event(connection, subscription, EventId(*asked_for))
        return Delivery(subscription, Kind.REPLAY, [event])
    waiting = await _held(connection, subscription)
    heads: dict[str, Held] = {}
    for one in waiting:
        heads.setdefault(one.key, one)
    for head in heads.values():
        if head.next_attempt_at is None or head.next_attempt_at <= now:
            event = await _event(connection, subscription, head.id)
            return Delivery(subscription, Kind.HELD, [event], held=head)
    until = min(
        (one.next_attempt_at for one in heads.values() if one.next_attempt_at), default=None
    )
    if len(waiting) >= MOST_HELD:
        return Nothing(until)
    limit = 1 if subscription.cursor < subscription.single else MOST_IN_A_DELIVERY
    found = await read(
        connection, subscription.source, subscription.cursor, limit=limit, most_bytes=MOST_BYTES
    )
    if not found:
        return Nothing(until)
    wanted = [event for event in found if subscription.wish.filter.takes(event)]
    return Delivery(
        subscription,
        Kind.NEXT,
        [event for event in wanted if event.key not in heads],
        up_to=found[-1].id,
        aside=[Held(event.id, event.key) for event in wanted if event.key in heads],
        blocked=len(heads),
    )


async def _held(connection: Hot, subscription: Subscription) -> list[Held]:
    rows = await connection.fetch(
        f"SELECT * FROM {held.fullname} WHERE subscription_id = $1 ORDER BY xid, position",
        subscription.subscription_id,
    )
    return [
        Held(
            EventId(row["xid"], row["position"]),
            row["key"],
            row["attempts"],
            row["failing_since"],
            row["next_attempt_at"],
        )
        for row in rows
    ]


async def _event(connection: Hot, subscription: Subscription, id_: EventId) -> Event:
    return (await read_at(connection, subscription.source, [id_]))[id_]


async def _set_aside(connection: Hot, subscription: Subscription, some: Sequence[Held]) -> None:
    await connection.executemany(
        _HOLD,
        [(subscription.subscription_id, *one.id, one.key, 0, None, None) for one in some],
    )


async def _note(connection: Hot, subscription: Subscription, says: str) -> None:
    await connection.execute(
        f"UPDATE {subscriptions.fullname} SET last_error = $2 WHERE subscription_id = $1",
        subscription.subscription_id,
        says,
    )


def _to_dead_letter(row: Any) -> DeadLetter:
    return DeadLetter(
        id=EventId(row["xid"], row["position"]),
        key=row["key"],
        type=row["type"],
        status=row["status"],
        says=row["says"],
        buried_at=row["buried_at"],
        replays=row["replays"],
        replay_asked_at=row["replay_asked_at"],
        delivered_at=row["delivered_at"],
    )
