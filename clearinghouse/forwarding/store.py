"""The outbox on PostgreSQL: how far each EVSP has come, what is on its way, what was refused.

A delivery is kept before it is sent and closed after it, so that a crash in between sends the same
records under the same id again, and an EVSP can tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from clearinghouse.cdrs import store as cdrs
from clearinghouse.cdrs.ports import CHANNEL
from clearinghouse.forwarding.model import (
    AT_ONCE,
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
    Reply,
    Trace,
    delivery_id,
    replay_id,
)
from clearinghouse.forwarding.tables import dead_letters, deliveries, progress
from clearinghouse.forwarding.whereabouts import carried, traces
from kit import event_log
from kit.database import Database, Few, Hot
from kit.event_log import Cursor, NewEvent
from roaming.events import EventType
from roaming.party import PartyId

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
        self._few = Few(database, connections_most)

    async def evsps(self) -> Sequence[PartyId]:
        async with self._few.hot() as connection:
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
        async with self._few.hot() as connection:
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
        async with self._few.hot() as connection:
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
        async with self._few.hot() as connection:
            await connection.execute(
                f"UPDATE {deliveries.fullname} SET attempts = attempts + 1, last_error = $2,"
                " next_attempt_at = $3 WHERE delivery_id = $1 AND outcome IS NULL",
                delivery.delivery_id,
                says,
                again_at,
            )

    async def split(self, delivery: Delivery) -> None:
        async with self._few.hot() as connection:
            if await _close(connection, delivery, "split"):
                await connection.execute(
                    f"UPDATE {progress.fullname} SET single_xid = $2, single_position = $3"
                    " WHERE evsp = $1",
                    delivery.evsp,
                    *delivery.up_to,
                )

    async def bury(self, delivery: Delivery, reply: Reply, now: datetime) -> None:
        (cdr,) = delivery.cdrs
        async with self._few.hot() as connection:
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
        async with self._few.hot() as connection:
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
        async with self._few.hot() as connection:
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
        async with self._few.hot() as connection:
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
        async with self._few.hot() as connection:
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
        async with self._few.hot() as connection:
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
        async with self._few.hot() as connection:
            return await traces(connection, keys)

    async def carried(
        self, *, evsp: PartyId | None, operator: PartyId | None, after: Place, limit: int
    ) -> tuple[Sequence[Carried], Place]:
        async with self._few.hot() as connection:
            return await carried(connection, evsp=evsp, operator=operator, after=after, limit=limit)

    async def delivered_count(self) -> int:
        async with self._few.hot() as connection:
            count: int = await connection.fetchval(
                f"SELECT coalesce(sum(cdrs), 0)::bigint FROM {deliveries.fullname}"
                " WHERE outcome = 'delivered'"
            )
        return count

    async def undelivered(self) -> Mapping[PartyId, int]:
        async with self._few.hot() as connection:
            evsps = [row["evsp"] for row in await connection.fetch(_EVSPS)]
            rows = await connection.fetch(_UNDELIVERED, evsps)
        return {PartyId(row["evsp"]): row["cdrs"] for row in rows}


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
