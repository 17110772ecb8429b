"""The outbox on PostgreSQL: how far each EVSP has come, what is on its way, what was refused.

A delivery is kept before it is sent and closed after it, so that a crash in between sends the same
records under the same id again, and an EVSP can tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, Table, Text, text

from clearinghouse.cdrs import store as cdrs
from clearinghouse.cdrs.ports import CHANNEL
from clearinghouse.forwarding.model import (
    DeadLetter,
    Delivery,
    Nothing,
    Place,
    Reply,
    delivery_id,
    replay_id,
)
from kit import event_log
from kit.database import Database, Hot, metadata
from kit.event_log import Cursor, NewEvent
from roaming.events import EventType
from roaming.party import PartyId

_Identifier = Text(collation="C")

# How far an EVSP has come; up to where its records go one by one; and which process serves it.
progress = Table(
    "forwarding",
    metadata,
    Column("evsp", _Identifier, primary_key=True),
    Column("xid", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("single_xid", BigInteger, nullable=False),
    Column("single_position", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),
    Column("held_until", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)
deliveries = Table(
    "delivery",
    metadata,
    Column("delivery_id", Text, primary_key=True),
    Column("evsp", _Identifier, nullable=False),
    Column("after_xid", BigInteger, nullable=False),
    Column("after_position", BigInteger, nullable=False),
    Column("up_to_xid", BigInteger, nullable=False),
    Column("up_to_position", BigInteger, nullable=False),
    Column("cdrs", Integer, nullable=False),
    Column("dead_letter", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("last_error", Text),
    Column("outcome", Text),
    Column("delivered_at", DateTime(timezone=True)),
    schema="clearinghouse",
)
# One delivery at a time for an EVSP: the database, not the code, says so.
Index(
    "uq_delivery_under_way",
    deliveries.c.evsp,
    unique=True,
    postgresql_where=text("outcome IS NULL"),
)
dead_letters = Table(
    "dead_letter",
    metadata,
    Column("dead_letter_id", BigInteger, primary_key=True, autoincrement=False),
    Column("xid", BigInteger, nullable=False),
    Column("evsp", _Identifier, nullable=False),
    Column("operator", _Identifier, nullable=False),
    Column("cdr_id", _Identifier, nullable=False),
    Column("status", Integer, nullable=False),
    Column("says", Text, nullable=False),
    Column("refused_at", DateTime(timezone=True), nullable=False),
    Column("replays", Integer, nullable=False),
    Column("replay_requested_at", DateTime(timezone=True)),
    Column("delivered_at", DateTime(timezone=True)),
    schema="clearinghouse",
)
Index("ix_dead_letter_of_evsp", dead_letters.c.evsp, dead_letters.c.dead_letter_id)

_LEASE = "interval '1 minute'"
_CLAIM = f"""
INSERT INTO {progress.fullname} AS p VALUES ($1, 0, 0, 0, 0, $2, now() + {_LEASE})
ON CONFLICT (evsp) DO UPDATE SET holder = $2, held_until = now() + {_LEASE}
  WHERE p.holder = $2 OR p.held_until < now() OR NOT EXISTS (SELECT FROM pg_stat_activity AS a
    WHERE a.datname = current_database() AND a.application_name = split_part(p.holder, '/', 1))
RETURNING xid, position, single_xid, single_position
"""
_BEHIND = "(c.log_xid, c.log_position) > (p.xid::text::xid8, p.position)"
_ANYTHING = f"""
SELECT EXISTS (SELECT FROM {deliveries.fullname} WHERE evsp = $1 AND outcome IS NULL)
  OR EXISTS (SELECT FROM {dead_letters.fullname}
    WHERE evsp = $1 AND replay_requested_at IS NOT NULL AND delivered_at IS NULL)
  OR EXISTS (SELECT FROM {cdrs.cdrs.fullname} AS c,
      (SELECT coalesce(max(xid), 0) AS xid, coalesce(max(position), 0) AS position
        FROM {progress.fullname} WHERE evsp = $1) AS p
    WHERE c.evsp = $1 AND c.state <> 'rejected' AND {_BEHIND})
"""
_BEGIN = f"""
INSERT INTO {deliveries.fullname} (delivery_id, evsp, after_xid, after_position, up_to_xid,
  up_to_position, cdrs, dead_letter, attempts, started_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9)
"""
_MOVE_ON = f"UPDATE {progress.fullname} SET xid = $2, position = $3 WHERE evsp = $1"
# One step of the index for each EVSP, however many records it has.
_EVSPS = f"""
WITH RECURSIVE known AS (
  (SELECT evsp FROM {cdrs.cdrs.fullname} WHERE state <> 'rejected' ORDER BY evsp LIMIT 1)
  UNION ALL
  SELECT (SELECT c.evsp FROM {cdrs.cdrs.fullname} AS c
    WHERE c.state <> 'rejected' AND c.evsp > known.evsp ORDER BY c.evsp LIMIT 1)
  FROM known WHERE known.evsp IS NOT NULL
) SELECT evsp FROM known WHERE evsp IS NOT NULL
"""
_UNDELIVERED = f"""
SELECT e.evsp, n.cdrs FROM unnest($1::text[]) AS e (evsp)
LEFT JOIN {progress.fullname} AS f ON f.evsp = e.evsp
CROSS JOIN LATERAL (SELECT coalesce(f.xid, 0) AS xid, coalesce(f.position, 0) AS position) AS p
CROSS JOIN LATERAL (SELECT count(*) AS cdrs FROM {cdrs.cdrs.fullname} AS c
  WHERE c.evsp = e.evsp AND c.state <> 'rejected' AND {_BEHIND}) AS n
WHERE n.cdrs > 0 ORDER BY e.evsp
"""


class SqlOutbox:
    """`connections_most` keeps a thousand EVSPs from taking the connections of the rest."""

    def __init__(self, database: Database, *, connections_most: int = 4) -> None:
        self._database = database
        self._turns = asyncio.Semaphore(connections_most)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Hot]:
        async with self._turns, self._database.hot() as connection:
            yield connection

    async def evsps(self) -> Sequence[PartyId]:
        async with self._open() as connection:
            return [PartyId(row["evsp"]) for row in await connection.fetch(_EVSPS)]

    async def next(
        self, evsp: PartyId, *, holder: str, most: int, now: datetime
    ) -> Delivery | Nothing:
        async with self._open() as connection:
            # Looked at first: an EVSP that has everything costs no write.
            if not await connection.fetchval(_ANYTHING, evsp):
                return Nothing()
            held = await connection.fetchrow(_CLAIM, evsp, holder)
            if held is None:
                return Nothing()
            begun = await self._begun(connection, evsp)
            if begun is not None:
                return begun
            again = await self._begin_replay(connection, evsp, now)
            if again is not None:
                return again
            after = Cursor(held["xid"], held["position"])
            one_by_one = after < (held["single_xid"], held["single_position"])
            found = await cdrs.next_for_evsp(connection, evsp, after, 1 if one_by_one else most)
            if not found:
                return Nothing(unfinished=True)
            start, up_to = Place(*after), Place(*found[-1][0])
            delivery = Delivery(
                delivery_id(evsp, start, up_to), evsp, start, up_to, [cdr for _, cdr in found]
            )
            await _begin(connection, delivery, now)
            return delivery

    async def _begun(self, connection: Hot, evsp: PartyId) -> Delivery | None:
        row = await connection.fetchrow(
            f"SELECT * FROM {deliveries.fullname} WHERE evsp = $1 AND outcome IS NULL", evsp
        )
        if row is None:
            return None
        after = Place(row["after_xid"], row["after_position"])
        up_to = Place(row["up_to_xid"], row["up_to_position"])
        found = await cdrs.between(connection, evsp, Cursor(*after), Cursor(*up_to))
        assert len(found) == row["cdrs"], "a delivery holds the same records as when it began"
        return Delivery(
            delivery_id=row["delivery_id"],
            evsp=evsp,
            after=after,
            up_to=up_to,
            cdrs=[cdr for _, cdr in found],
            attempts=row["attempts"],
            dead_letter=row["dead_letter"],
        )

    async def _begin_replay(self, connection: Hot, evsp: PartyId, now: datetime) -> Delivery | None:
        row = await connection.fetchrow(
            f"SELECT dead_letter_id, xid, replays FROM {dead_letters.fullname}"
            " WHERE evsp = $1 AND replay_requested_at IS NOT NULL AND delivered_at IS NULL"
            " ORDER BY replay_requested_at, dead_letter_id LIMIT 1",
            evsp,
        )
        if row is None:
            return None
        up_to = Place(row["xid"], row["dead_letter_id"])
        just_before = Place(up_to.xid, up_to.position - 1)
        found = await cdrs.between(connection, evsp, Cursor(*just_before), Cursor(*up_to))
        delivery = Delivery(
            delivery_id=replay_id(evsp, row["dead_letter_id"], row["replays"]),
            evsp=evsp,
            after=just_before,
            up_to=up_to,
            cdrs=[cdr for _, cdr in found],
            dead_letter=row["dead_letter_id"],
        )
        await _begin(connection, delivery, now)
        return delivery

    async def delivered(self, delivery: Delivery, now: datetime) -> None:
        async with self._open() as connection:
            if not await _close(connection, delivery, "delivered", delivered_at=now):
                return
            if delivery.dead_letter is None:
                await connection.execute(_MOVE_ON, delivery.evsp, *delivery.up_to)
            else:
                await connection.execute(
                    f"UPDATE {dead_letters.fullname} SET delivered_at = $2"
                    " WHERE dead_letter_id = $1",
                    delivery.dead_letter,
                    now,
                )
            await event_log.append(connection, [_delivered_event(delivery, now)])

    async def failed(self, delivery: Delivery, says: str) -> None:
        async with self._open() as connection:
            await connection.execute(
                f"UPDATE {deliveries.fullname} SET attempts = attempts + 1, last_error = $2"
                " WHERE delivery_id = $1 AND outcome IS NULL",
                delivery.delivery_id,
                says,
            )

    async def split(self, delivery: Delivery) -> None:
        async with self._open() as connection:
            if await _close(connection, delivery, "split"):
                await connection.execute(
                    f"UPDATE {progress.fullname} SET single_xid = $2, single_position = $3"
                    " WHERE evsp = $1",
                    delivery.evsp,
                    *delivery.up_to,
                )

    async def bury(self, delivery: Delivery, reply: Reply, now: datetime) -> None:
        (cdr,) = delivery.cdrs
        async with self._open() as connection:
            if not await _close(connection, delivery, "refused"):
                return
            await connection.execute(
                f"INSERT INTO {dead_letters.fullname} VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)"
                " ON CONFLICT (dead_letter_id) DO UPDATE SET status = excluded.status,"
                " says = excluded.says, refused_at = excluded.refused_at,"
                " replay_requested_at = NULL",
                delivery.up_to.position,
                delivery.up_to.xid,
                delivery.evsp,
                *cdr.key,
                reply.status,
                reply.says,
                now,
            )
            if delivery.dead_letter is None:
                await connection.execute(_MOVE_ON, delivery.evsp, *delivery.up_to)
            await event_log.append(connection, [_buried_event(delivery, reply, now)])

    async def dead_letters(self, evsp: PartyId, *, after: int, limit: int) -> Sequence[DeadLetter]:
        async with self._open() as connection:
            rows = await connection.fetch(
                f"SELECT * FROM {dead_letters.fullname} WHERE evsp = $1 AND dead_letter_id > $2"
                " ORDER BY dead_letter_id LIMIT $3",
                evsp,
                after,
                limit,
            )
        return [_to_dead_letter(row) for row in rows]

    async def ask_replay(
        self, evsp: PartyId, dead_letter_id: int, now: datetime
    ) -> DeadLetter | None:
        async with self._open() as connection:
            await connection.execute(
                f"UPDATE {dead_letters.fullname}"
                " SET replay_requested_at = $3, replays = replays + 1"
                " WHERE evsp = $1 AND dead_letter_id = $2"
                " AND delivered_at IS NULL AND replay_requested_at IS NULL",
                evsp,
                dead_letter_id,
                now,
            )
            row = await connection.fetchrow(
                f"SELECT * FROM {dead_letters.fullname} WHERE evsp = $1 AND dead_letter_id = $2",
                evsp,
                dead_letter_id,
            )
            if row is None:
                return None
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, cdrs.notice_of([evsp]))
        return _to_dead_letter(row)

    async def delivered_count(self) -> int:
        async with self._open() as connection:
            count: int = await connection.fetchval(
                f"SELECT coalesce(sum(cdrs), 0)::bigint FROM {deliveries.fullname}"
                " WHERE outcome = 'delivered'"
            )
        return count

    async def undelivered(self) -> Mapping[PartyId, int]:
        async with self._open() as connection:
            evsps = [row["evsp"] for row in await connection.fetch(_EVSPS)]
            rows = await connection.fetch(_UNDELIVERED, evsps)
        return {PartyId(row["evsp"]): row["cdrs"] for row in rows}


async def _begin(connection: Hot, delivery: Delivery, now: datetime) -> None:
    await connection.execute(
        _BEGIN,
        delivery.delivery_id,
        delivery.evsp,
        *delivery.after,
        *delivery.up_to,
        len(delivery.cdrs),
        delivery.dead_letter,
        now,
    )


async def _close(
    connection: Hot, delivery: Delivery, outcome: str, *, delivered_at: datetime | None = None
) -> bool:
    """Whether it was still open: of two that finish one delivery, one moves the cursor."""
    closed = await connection.fetchrow(
        f"UPDATE {deliveries.fullname}"
        " SET outcome = $2, delivered_at = $3, attempts = attempts + 1"
        " WHERE delivery_id = $1 AND outcome IS NULL RETURNING 1",
        delivery.delivery_id,
        outcome,
        delivered_at,
    )
    return closed is not None


def _to_dead_letter(row: Any) -> DeadLetter:
    return DeadLetter(
        dead_letter_id=row["dead_letter_id"],
        evsp=PartyId(row["evsp"]),
        operator=PartyId(row["operator"]),
        cdr_id=row["cdr_id"],
        status=row["status"],
        says=row["says"],
        refused_at=row["refused_at"],
        replay_requested_at=row["replay_requested_at"],
        delivered_at=row["delivered_at"],
    )


def _delivered_event(delivery: Delivery, now: datetime) -> NewEvent:
    return NewEvent(
        stream=f"deliveries:{delivery.evsp}",
        type=EventType.CDRS_DELIVERED,
        party=delivery.evsp,
        body={
            "delivery_id": delivery.delivery_id,
            "cdrs": len(delivery.cdrs),
            "after": str(delivery.after),
            "up_to": str(delivery.up_to),
            "attempts": delivery.attempts + 1,
        },
        occurred_at=now,
    )


def _buried_event(delivery: Delivery, reply: Reply, now: datetime) -> NewEvent:
    (cdr,) = delivery.cdrs
    return NewEvent(
        stream=f"deliveries:{delivery.evsp}",
        type=EventType.CDR_DEAD_LETTERED,
        party=delivery.evsp,
        body={
            "delivery_id": delivery.delivery_id,
            "operator": cdr.submission.operator,
            "cdr_id": cdr.submission.cdr_id,
            "status": reply.status,
        },
        occurred_at=now,
    )
