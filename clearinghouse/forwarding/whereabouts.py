"""Where records are and what proves that they arrived: read from the outbox, changing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clearinghouse.cdrs import store as cdrs
from clearinghouse.forwarding.model import (
    Carried,
    Channel,
    Place,
    Proof,
    Trace,
)
from clearinghouse.forwarding.tables import ARRIVED, dead_letters, deliveries, progress
from kit.database import Hot
from roaming.party import PartyId

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
        AND a.{ARRIVED} AND (a.up_to_xid, a.up_to_position) >= (c.xid, c.position)
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


async def traces(connection: Hot, keys: Sequence[tuple[PartyId, str]]) -> Sequence[Trace]:
    """Of each key, in the order in which was asked."""
    rows = await connection.fetch(
        _TRACES, [operator for operator, _ in keys], [cdr_id for _, cdr_id in keys]
    )
    return [_to_trace(row) for row in rows]


async def carried(
    connection: Hot, *, evsp: PartyId | None, operator: PartyId | None, after: Place, limit: int
) -> tuple[Sequence[Carried], Place]:
    """What has arrived behind a place, to an EVSP or for an operator, and how far was looked."""
    assert (evsp is None) != (operator is None)
    query = _CARRIED_FOR_OPERATOR if evsp is None else _CARRIED_TO_EVSP
    rows = await connection.fetch(query, evsp or operator, *after, limit)
    reached = Place(rows[-1]["log_xid"], rows[-1]["log_position"]) if rows else after
    return [_to_carried(row) for row in rows if row["operators"]], reached


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
