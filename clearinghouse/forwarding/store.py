"""The outbox on PostgreSQL: how far each EVSP has come, what is on its way, what was refused.

A delivery is kept before it is sent and closed after it, so that a crash in between sends the same
records under the same id again, and an EVSP can tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import datetime, time
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from clearinghouse.cdrs import store as cdrs
from clearinghouse.cdrs.ports import CHANNEL
from clearinghouse.forwarding.model import (
    Acknowledged,
    Cadence,
    Carried,
    Channel,
    DeadLetter,
    Delivery,
    DeliveryState,
    Nothing,
    Place,
    Preference,
    Proof,
    Reply,
    Schedule,
    SftpPlace,
    Trace,
    Weekday,
    delivery_id,
    replay_id,
)
from kit import event_log, sftp
from kit.clock import Clock
from kit.database import Database, Hot, metadata
from kit.event_log import Cursor, NewEvent
from kit.secrets import SecretBox
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
    # The run that is due, where an EVSP has a cadence: all that older transactions have booked.
    Column("run_xid", BigInteger),
    Column("acknowledged_xid", BigInteger),
    Column("acknowledged_position", BigInteger),
    Column("acknowledged_at", DateTime(timezone=True)),
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
    Column("next_attempt_at", DateTime(timezone=True)),
    # The proof of what arrived, and the place of its event in the log's hash chain.
    Column("channel", Text),
    Column("host", Text),
    Column("body_sha256", LargeBinary),
    Column("answer_status", Integer),
    Column("answer_says", Text),
    Column("answer_sha256", LargeBinary),
    Column("receipt", JSONB),
    Column("log_xid", BigInteger),
    Column("log_position", BigInteger),
    schema="clearinghouse",
)
# One delivery at a time for an EVSP: the database, not the code, says so.
Index(
    "uq_delivery_under_way",
    deliveries.c.evsp,
    unique=True,
    postgresql_where=text("outcome IS NULL"),
)
_ARRIVED = "outcome = 'delivered' AND dead_letter IS NULL"
Index(
    "ix_delivery_arrived",
    deliveries.c.evsp,
    deliveries.c.up_to_xid,
    deliveries.c.up_to_position,
    postgresql_where=text(_ARRIVED),
)
Index(
    "ix_delivery_of_dead_letter",
    deliveries.c.dead_letter,
    postgresql_where=text("dead_letter IS NOT NULL"),
)
Index(
    "ix_delivery_of_evsp_in_log",
    deliveries.c.evsp,
    deliveries.c.log_xid,
    deliveries.c.log_position,
    postgresql_where=text("log_position IS NOT NULL"),
)
Index(
    "ix_delivery_in_log",
    deliveries.c.log_xid,
    deliveries.c.log_position,
    postgresql_where=text("log_position IS NOT NULL"),
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

preferences = Table(
    "delivery_preference",
    metadata,
    Column("evsp", _Identifier, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("cadence", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("weekday", Text, nullable=False),
    Column("day_of_month", Integer, nullable=False),
    Column("sftp", JSONB),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)
# The hub's own key at each EVSP's host; the private half is sealed with the hub's key.
sftp_keys = Table(
    "sftp_key",
    metadata,
    Column("evsp", _Identifier, primary_key=True),
    Column("public_key", Text, nullable=False),
    Column("sealed_private_key", LargeBinary, nullable=False),
    Column("made_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)

_LEASE = "interval '1 minute'"
_CLAIM = f"""
INSERT INTO {progress.fullname} AS p VALUES ($1, 0, 0, 0, 0, $2, now() + {_LEASE})
ON CONFLICT (evsp) DO UPDATE SET holder = $2, held_until = now() + {_LEASE}
  WHERE p.holder = $2 OR p.held_until < now() OR NOT EXISTS (SELECT FROM pg_stat_activity AS a
    WHERE a.datname = current_database() AND a.application_name = split_part(p.holder, '/', 1))
RETURNING xid, position, single_xid, single_position, run_xid
"""
_BEHIND = "(c.log_xid, c.log_position) > (p.xid::text::xid8, p.position)"
# `oldest` is when the next record was booked, and `pressing` what waits for no schedule.
_LOOK = f"""
SELECT EXISTS (SELECT FROM {deliveries.fullname} WHERE evsp = $1 AND outcome IS NULL)
    OR EXISTS (SELECT FROM {dead_letters.fullname} WHERE evsp = $1
      AND replay_requested_at IS NOT NULL AND delivered_at IS NULL) AS pressing,
  p.run_xid,
  (SELECT c.recorded_at FROM {cdrs.cdrs.fullname} AS c
    WHERE c.evsp = $1 AND c.state <> 'rejected' AND {_BEHIND}
    ORDER BY c.log_xid, c.log_position LIMIT 1) AS oldest
FROM (SELECT coalesce(max(xid), 0) AS xid, coalesce(max(position), 0) AS position,
    max(run_xid) AS run_xid FROM {progress.fullname} WHERE evsp = $1) AS p
"""
# What has a lower number has begun by now: all that was booked before this moment, and maybe more.
_OPEN_RUN = (
    f"UPDATE {progress.fullname} SET run_xid = pg_snapshot_xmax(pg_current_snapshot())"
    "::text::bigint WHERE evsp = $1 RETURNING run_xid"
)
_CLOSE_RUN = f"UPDATE {progress.fullname} SET run_xid = NULL WHERE evsp = $1"
_ALL_ENDED_BEFORE = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= $1::bigint"
_BEGIN = f"""
INSERT INTO {deliveries.fullname} (delivery_id, evsp, after_xid, after_position, up_to_xid,
  up_to_position, cdrs, dead_letter, attempts, started_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9)
"""
# Never back: the EVSP may have said meanwhile that it has more than this.
_MOVE_ON = (
    f"UPDATE {progress.fullname} SET xid = $2, position = $3"
    " WHERE evsp = $1 AND (xid, position) < ($2, $3)"
)
_REACHED = f"""
SELECT c.log_xid::text::bigint AS xid, c.log_position AS position
FROM {cdrs.cdrs.fullname} AS c WHERE c.evsp = $1 AND c.state <> 'rejected'
  AND (c.log_xid, c.log_position) <= ($2::bigint::text::xid8, $3::bigint)
  AND c.log_xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY c.log_xid DESC, c.log_position DESC LIMIT 1
"""
_COUNT_BETWEEN = f"""
SELECT count(*) FROM {cdrs.cdrs.fullname} AS c WHERE c.evsp = $1 AND c.state <> 'rejected'
  AND (c.log_xid, c.log_position) > ($2::bigint::text::xid8, $3::bigint)
  AND (c.log_xid, c.log_position) <= ($4::bigint::text::xid8, $5::bigint)
"""
_STATE = f"""
SELECT p.xid, p.position, d.delivery_id, d.attempts, d.last_error, d.next_attempt_at,
  (SELECT c.recorded_at FROM {cdrs.cdrs.fullname} AS c
    WHERE c.evsp = $1 AND c.state <> 'rejected' AND {_BEHIND}
    ORDER BY c.log_xid, c.log_position LIMIT 1) AS oldest,
  (SELECT count(*) FROM {cdrs.cdrs.fullname} AS c
    WHERE c.evsp = $1 AND c.state <> 'rejected' AND {_BEHIND}) AS undelivered,
  (SELECT count(*) FROM {dead_letters.fullname}
    WHERE evsp = $1 AND delivered_at IS NULL) AS dead_letters
FROM (SELECT coalesce(max(xid), 0) AS xid, coalesce(max(position), 0) AS position
  FROM {progress.fullname} WHERE evsp = $1) AS p
LEFT JOIN {deliveries.fullname} AS d ON d.evsp = $1 AND d.outcome IS NULL
"""
_COVERS = (
    "(d.after_xid, d.after_position) < (c.xid, c.position)"
    " AND (d.up_to_xid, d.up_to_position) >= (c.xid, c.position)"
)
# Each key is a few probes of indexes, whatever the planner believes of tables that grow.
_TRACES = f"""
SELECT k.operator, k.cdr_id, c.evsp, c.recorded_at, rejected.found AS rejected,
  d.delivery_id, d.delivered_at, d.body_sha256, o.delivery_id AS open_delivery_id, o.attempts,
  o.last_error, o.next_attempt_at, l.refused_at,
  CASE WHEN (f.acknowledged_xid, f.acknowledged_position) >= (c.xid, c.position)
    THEN f.acknowledged_at END AS acknowledged_at
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (operator, cdr_id, number)
LEFT JOIN LATERAL (SELECT b.evsp, b.recorded_at, b.log_xid::text::bigint AS xid,
    b.log_position AS position FROM {cdrs.cdrs.fullname} AS b
  WHERE b.operator = k.operator AND b.cdr_id = k.cdr_id AND b.state <> 'rejected' LIMIT 1) AS c
  ON true
LEFT JOIN LATERAL (SELECT true AS found FROM {cdrs.cdrs.fullname} AS r WHERE c.evsp IS NULL
    AND r.operator = k.operator AND r.cdr_id = k.cdr_id AND r.state = 'rejected' LIMIT 1)
  AS rejected ON true
LEFT JOIN {progress.fullname} AS f ON f.evsp = c.evsp
LEFT JOIN {dead_letters.fullname} AS l ON l.dead_letter_id = c.position AND l.delivered_at IS NULL
LEFT JOIN LATERAL (
  SELECT * FROM (
    (SELECT d.* FROM {deliveries.fullname} AS d WHERE d.dead_letter = c.position
      AND d.outcome = 'delivered' LIMIT 1)
    UNION ALL
    (SELECT d.* FROM (SELECT a.* FROM {deliveries.fullname} AS a WHERE a.evsp = c.evsp
        AND a.{_ARRIVED} AND (a.up_to_xid, a.up_to_position) >= (c.xid, c.position)
      ORDER BY a.up_to_xid, a.up_to_position LIMIT 1) AS d WHERE {_COVERS})
  ) AS either LIMIT 1
) AS d ON true
LEFT JOIN LATERAL (SELECT d.* FROM {deliveries.fullname} AS d
  WHERE d.evsp = c.evsp AND d.outcome IS NULL AND {_COVERS} LIMIT 1) AS o ON true
ORDER BY k.number
"""
_CARRIED = """
SELECT d.*, own.operators, own.cdr_ids FROM (
  SELECT * FROM {deliveries} WHERE {whose} log_position IS NOT NULL
    AND (log_xid, log_position) > ($2::bigint, $3::bigint)
    AND log_xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
  ORDER BY log_xid, log_position LIMIT $4
) AS d CROSS JOIN LATERAL (
  SELECT array_agg(c.operator ORDER BY c.log_xid, c.log_position) AS operators,
    array_agg(c.cdr_id ORDER BY c.log_xid, c.log_position) AS cdr_ids
  FROM {cdrs} AS c WHERE c.evsp = d.evsp AND c.state <> 'rejected' AND {which}
    AND (c.log_xid, c.log_position) > (d.after_xid::text::xid8, d.after_position)
    AND (c.log_xid, c.log_position) <= (d.up_to_xid::text::xid8, d.up_to_position)
) AS own ORDER BY d.log_xid, d.log_position
"""
_TABLES = {"deliveries": deliveries.fullname, "cdrs": cdrs.cdrs.fullname}
_CARRIED_TO_EVSP = _CARRIED.format(whose="evsp = $1 AND", which="true", **_TABLES)
_CARRIED_FOR_OPERATOR = _CARRIED.format(whose="", which="c.operator = $1", **_TABLES)
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


AT_ONCE = Preference()


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
        self,
        evsp: PartyId,
        *,
        holder: str,
        most: int,
        now: datetime,
        preference: Preference = AT_ONCE,
    ) -> Delivery | Nothing:
        async with self._open() as connection:
            # Looked at first: an EVSP that has everything, or waits, costs no write.
            seen = await connection.fetchrow(_LOOK, evsp)
            assert seen is not None
            if not seen["pressing"]:
                if seen["oldest"] is None:
                    return Nothing()
                due = preference.due(seen["oldest"])
                if seen["run_xid"] is None and _scheduled(preference) and due > now:
                    return Nothing(until=due)
            held = await connection.fetchrow(_CLAIM, evsp, holder)
            if held is None:
                return Nothing()
            begun = await self._begun(connection, evsp)
            if begun is not None:
                return begun
            again = await self._begin_replay(connection, evsp, now)
            if again is not None:
                return again
            return await self._begin_next(connection, evsp, held, most, now, preference)

    async def _begin_next(
        self,
        connection: Hot,
        evsp: PartyId,
        held: Any,
        most: int,
        now: datetime,
        preference: Preference,
    ) -> Delivery | Nothing:
        """The next records, of the run that is due where there are runs."""
        run_xid = None
        whole = False
        if _scheduled(preference):
            run_xid = held["run_xid"]
            if run_xid is None:
                seen = await connection.fetchrow(_LOOK, evsp)
                if seen is None or seen["oldest"] is None:
                    return Nothing()
                due = preference.due(seen["oldest"])
                if due > now:
                    return Nothing(until=due)
                run_xid = await connection.fetchval(_OPEN_RUN, evsp)
            # Asked before the records are looked for: what ended before this is seen by that.
            whole = await connection.fetchval(_ALL_ENDED_BEFORE, run_xid)
        after = Cursor(held["xid"], held["position"])
        one_by_one = after < (held["single_xid"], held["single_position"])
        found = await cdrs.next_for_evsp(
            connection, evsp, after, 1 if one_by_one else most, run_xid
        )
        if not found and whole:
            await connection.execute(_CLOSE_RUN, evsp)
            seen = await connection.fetchrow(_LOOK, evsp)
            if seen is None or seen["oldest"] is None:
                return Nothing()
            return Nothing(until=preference.due(seen["oldest"]))
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

    async def delivered(
        self,
        delivery: Delivery,
        now: datetime,
        reply: Reply | None = None,
        channel: Channel = Channel.HTTP,
    ) -> None:
        reply = reply or Reply(None, "")
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
            told = _delivered_event(delivery, now, reply, channel)
            [place] = await event_log.append(connection, [told])
            await _keep_proof(connection, delivery, reply, channel, place)

    async def failed(self, delivery: Delivery, says: str, again_at: datetime | None = None) -> None:
        async with self._open() as connection:
            await connection.execute(
                f"UPDATE {deliveries.fullname} SET attempts = attempts + 1, last_error = $2,"
                " next_attempt_at = $3 WHERE delivery_id = $1 AND outcome IS NULL",
                delivery.delivery_id,
                says,
                again_at,
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

    async def ask_replays(
        self, evsp: PartyId, dead_letter_ids: Sequence[int] | None, now: datetime
    ) -> int:
        async with self._open() as connection:
            asked = await connection.fetch(
                f"UPDATE {dead_letters.fullname}"
                " SET replay_requested_at = $3, replays = replays + 1"
                " WHERE evsp = $1 AND ($2::bigint[] IS NULL OR dead_letter_id = ANY($2))"
                " AND delivered_at IS NULL AND replay_requested_at IS NULL RETURNING 1",
                evsp,
                None if dead_letter_ids is None else list(dead_letter_ids),
                now,
            )
            if asked:
                await connection.execute(
                    "SELECT pg_notify($1, $2)", CHANNEL, cdrs.notice_of([evsp])
                )
        return len(asked)

    async def acknowledge(self, evsp: PartyId, up_to: Place, now: datetime) -> Acknowledged:
        async with self._open() as connection:
            # A row to lock, held by nobody.
            row = await connection.fetchrow(
                f"INSERT INTO {progress.fullname} AS p VALUES ($1, 0, 0, 0, 0, '', now())"
                " ON CONFLICT (evsp) DO UPDATE SET evsp = excluded.evsp"
                " RETURNING acknowledged_xid, acknowledged_position, acknowledged_at",
                evsp,
            )
            assert row is not None
            known = None
            if row["acknowledged_xid"] is not None:
                known = Place(row["acknowledged_xid"], row["acknowledged_position"])
            # No further than there are records: a number out of the air is no receipt for what
            # will be booked tomorrow.
            reached = await connection.fetchrow(_REACHED, evsp, *up_to)
            if reached is None or (known is not None and Place(*reached) <= known):
                return Acknowledged(known, 0, row["acknowledged_at"] or now)
            place = Place(*reached)
            count: int = await connection.fetchval(
                _COUNT_BETWEEN, evsp, *(known or Place(0, 0)), *place
            )
            await connection.execute(
                f"UPDATE {progress.fullname} SET acknowledged_xid = $2,"
                " acknowledged_position = $3, acknowledged_at = $4 WHERE evsp = $1",
                evsp,
                *place,
                now,
            )
            await connection.execute(_MOVE_ON, evsp, *place)
            acknowledged = Acknowledged(place, count, now)
            await event_log.append(connection, [_acknowledged_event(evsp, acknowledged)])
        return acknowledged

    async def state(self, evsp: PartyId) -> DeliveryState:
        async with self._open() as connection:
            row = await connection.fetchrow(_STATE, evsp)
        assert row is not None
        return DeliveryState(
            undelivered=row["undelivered"],
            oldest_booked_at=row["oldest"],
            under_way=row["delivery_id"],
            attempts=row["attempts"] or 0,
            last_error=row["last_error"],
            next_attempt_at=row["next_attempt_at"],
            dead_letters=row["dead_letters"],
        )

    async def traces(self, keys: Sequence[tuple[PartyId, str]]) -> Sequence[Trace]:
        async with self._open() as connection:
            rows = await connection.fetch(
                _TRACES, [operator for operator, _ in keys], [cdr_id for _, cdr_id in keys]
            )
        return [_to_trace(row) for row in rows]

    async def carried(
        self, *, evsp: PartyId | None, operator: PartyId | None, after: Place, limit: int
    ) -> tuple[Sequence[Carried], Place]:
        assert (evsp is None) != (operator is None)
        query = _CARRIED_FOR_OPERATOR if evsp is None else _CARRIED_TO_EVSP
        async with self._open() as connection:
            rows = await connection.fetch(query, evsp or operator, *after, limit)
        reached = Place(rows[-1]["log_xid"], rows[-1]["log_position"]) if rows else after
        return [_to_carried(row) for row in rows if row["operators"]], reached

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


class SqlPreferences:
    """`connections_most`: as for the outbox, which asks here before each step."""

    def __init__(
        self, database: Database, box: SecretBox, clock: Clock, *, connections_most: int = 2
    ) -> None:
        self._database = database
        self._box = box
        self._clock = clock
        self._turns = asyncio.Semaphore(connections_most)

    async def of(self, evsp: PartyId) -> Preference:
        async with self._turns, self._database.pool.acquire() as connection:
            row = await connection.fetchrow(
                f"SELECT * FROM {preferences.fullname} WHERE evsp = $1", evsp
            )
        return AT_ONCE if row is None else _to_preference(row)

    async def keep(self, evsp: PartyId, preference: Preference) -> Preference:
        now = self._clock()
        key = sftp.new_key(f"gridroam-{evsp.compact}") if preference.sftp is not None else None
        async with self._turns, self._database.hot() as connection:
            row = await connection.fetchrow(
                f"SELECT * FROM {preferences.fullname} WHERE evsp = $1 FOR UPDATE", evsp
            )
            known = None if row is None else _to_preference(row)
            if known is not None and replace(preference, changed_at=known.changed_at) == known:
                return known
            kept = replace(preference, changed_at=now)
            schedule = kept.schedule
            place = None if kept.sftp is None else asdict(kept.sftp)
            values = {
                "channel": kept.channel.value,
                "cadence": schedule.cadence.value,
                "time_zone": schedule.time_zone,
                "at": schedule.at.isoformat("minutes"),
                "weekday": schedule.weekday.value,
                "day_of_month": schedule.day_of_month,
                "sftp": place,
            }
            await connection.execute(
                f"INSERT INTO {preferences.fullname}"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (evsp) DO UPDATE SET"
                " channel = $2, cadence = $3, time_zone = $4, at = $5, weekday = $6,"
                " day_of_month = $7, sftp = $8, changed_at = $9",
                evsp,
                *values.values(),
                now,
            )
            if key is not None:
                await connection.execute(
                    f"INSERT INTO {sftp_keys.fullname} VALUES ($1, $2, $3, $4)"
                    " ON CONFLICT DO NOTHING",
                    evsp,
                    key.public,
                    self._box.seal(key.private, purpose=f"sftp-key:{evsp}"),
                    now,
                )
            event = NewEvent(
                stream=f"deliveries:{evsp}",
                type=EventType.DELIVERY_PREFERENCE_CHANGED,
                party=evsp,
                body=values,
                occurred_at=now,
            )
            await event_log.append(connection, [event])
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, cdrs.notice_of([evsp]))
        return kept

    async def public_key(self, evsp: PartyId) -> str | None:
        async with self._turns, self._database.pool.acquire() as connection:
            key: str | None = await connection.fetchval(
                f"SELECT public_key FROM {sftp_keys.fullname} WHERE evsp = $1", evsp
            )
        return key

    async def private_key(self, evsp: PartyId) -> bytes:
        async with self._turns, self._database.pool.acquire() as connection:
            sealed = await connection.fetchval(
                f"SELECT sealed_private_key FROM {sftp_keys.fullname} WHERE evsp = $1", evsp
            )
        return self._box.unseal(bytes(sealed), purpose=f"sftp-key:{evsp}")


def _scheduled(preference: Preference) -> bool:
    return preference.schedule.cadence is not Cadence.AT_ONCE


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


async def _keep_proof(
    connection: Hot, delivery: Delivery, reply: Reply, channel: Channel, place: Cursor
) -> None:
    proof = reply.proof
    await connection.execute(
        f"UPDATE {deliveries.fullname} SET next_attempt_at = NULL, channel = $2, host = $3,"
        " body_sha256 = $4, answer_status = $5, answer_says = $6, answer_sha256 = $7,"
        " receipt = $8, log_xid = $9, log_position = $10 WHERE delivery_id = $1",
        delivery.delivery_id,
        channel.value,
        None if proof is None else proof.host,
        None if proof is None else proof.body_sha256,
        reply.status,
        reply.says,
        None if proof is None else proof.answer_sha256,
        None if proof is None else proof.receipt,
        *place,
    )


def _to_preference(row: Any) -> Preference:
    place = row["sftp"]
    return Preference(
        channel=Channel(row["channel"]),
        schedule=Schedule(
            cadence=Cadence(row["cadence"]),
            time_zone=row["time_zone"],
            at=time.fromisoformat(row["at"]),
            weekday=Weekday(row["weekday"]),
            day_of_month=row["day_of_month"],
        ),
        sftp=None if place is None else SftpPlace(**place),
        changed_at=row["changed_at"],
    )


def _to_trace(row: Any) -> Trace:
    return Trace(
        operator=PartyId(row["operator"]),
        cdr_id=row["cdr_id"],
        evsp=None if row["evsp"] is None else PartyId(row["evsp"]),
        rejected=bool(row["rejected"]),
        booked_at=row["recorded_at"],
        delivery_id=row["delivery_id"],
        delivered_at=row["delivered_at"],
        body_sha256=_bytes(row["body_sha256"]),
        dead_lettered_at=row["refused_at"],
        acknowledged_at=row["acknowledged_at"],
        open_delivery_id=row["open_delivery_id"],
        attempts=row["attempts"] or 0,
        last_error=row["last_error"],
        next_attempt_at=row["next_attempt_at"],
    )


def _to_carried(row: Any) -> Carried:
    proof = None
    if row["body_sha256"] is not None:
        proof = Proof(
            bytes(row["body_sha256"]), row["host"], _bytes(row["answer_sha256"]), row["receipt"]
        )
    return Carried(
        cursor=Place(row["log_xid"], row["log_position"]),
        delivery_id=row["delivery_id"],
        evsp=PartyId(row["evsp"]),
        channel=Channel(row["channel"]),
        cdrs=row["cdrs"],
        keys=[
            (PartyId(operator), cdr_id)
            for operator, cdr_id in zip(row["operators"], row["cdr_ids"], strict=True)
        ],
        delivered_at=row["delivered_at"],
        attempts=row["attempts"],
        proof=proof,
        status=row["answer_status"],
        says=row["answer_says"],
    )


def _bytes(found: Any) -> bytes | None:
    return None if found is None else bytes(found)


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


def _acknowledged_event(evsp: PartyId, acknowledged: Acknowledged) -> NewEvent:
    return NewEvent(
        stream=f"deliveries:{evsp}",
        type=EventType.CDRS_ACKNOWLEDGED,
        party=evsp,
        body={"up_to": str(acknowledged.up_to), "cdrs": acknowledged.cdrs},
        occurred_at=acknowledged.at,
    )


def _delivered_event(delivery: Delivery, now: datetime, reply: Reply, channel: Channel) -> NewEvent:
    proof = reply.proof
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
            "channel": channel.value,
            "body_sha256": None if proof is None else proof.body_sha256.hex(),
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
