"""The log read backwards, by the indexes that it has: by party, by stream, or by time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kit.database import Database, Hot
from marketplace.access.store import clients
from marketplace.audit.model import SEEN_BESIDE, Entry, Place, Question
from marketplace.contracts.rows import contracts
from marketplace.people.store import persons

_PICKED = """
SELECT e.* FROM kit.event AS e
WHERE {whose} AND (e.xid, e.position) < ($1::bigint::text::xid8, $2::bigint)
  AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
  AND ($4::timestamptz IS NULL OR e.occurred_at >= $4)
  AND ($5::timestamptz IS NULL OR e.occurred_at < $5)
  AND ($6::text[] IS NULL OR e.type = ANY($6)) AND ($7::text IS NULL OR e.actor = $7)
  AND ($8::text IS NULL OR e.stream = $8)
ORDER BY e.xid DESC, e.position DESC LIMIT $3
"""
_EVERYBODYS = _PICKED.format(whose="true")
# Whoever hears of another party's actors by kind alone learns of none whether it exists.
_NAMED = f"""
($7::text IS NULL OR $12::text IS NULL OR NOT EXISTS (
  SELECT FROM {clients.fullname} WHERE 'client:' || client_id = $7 AND party <> $12
  UNION ALL SELECT FROM {persons.fullname} WHERE 'person:' || person_id = $7 AND party <> $12))
"""
# What is told to the party, and what it may see of others' without being told.
_BESIDE = "e.stream = ANY($10::text[]) AND e.type = ANY($11::text[]) AND e.party <> $9"
_CONCERNING = (
    f"({_PICKED.format(whose=f'e.party = $9 AND {_NAMED}')})"
    f" UNION ALL ({_PICKED.format(whose=f'{_BESIDE} AND {_NAMED}')})"
)
_READ = f"""
SELECT e.xid::text::bigint AS xid, e.position, e.type, e.party, e.stream, e.occurred_at,
  e.recorded_at, e.correlation_id, e.actor, e.body, p.name AS actor_name,
  coalesce(c.party, p.party) AS on_behalf_of
FROM ({{picked}}) AS e
LEFT JOIN {clients.fullname} AS c ON e.actor = 'client:' || c.client_id
LEFT JOIN {persons.fullname} AS p ON e.actor = 'person:' || p.person_id
ORDER BY e.xid DESC, e.position DESC LIMIT $3
"""
_STREAMS = f"""
SELECT 'service:' || service || ':' || major FROM {contracts.fullname} WHERE requester = $1
UNION SELECT 'packs:' || contract_id FROM {contracts.fullname} WHERE provider = $1
"""


class SqlAudit:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, question: Question) -> Sequence[Entry]:
        asked: list[Any] = [
            *question.before,
            question.limit,
            question.since,
            question.until,
            [one.value for one in question.types] or None,
            question.actor,
            question.stream,
        ]
        async with self._database.hot() as connection:
            if question.party is None:
                rows = await connection.fetch(_READ.format(picked=_EVERYBODYS), *asked)
            else:
                streams = await _streams_beside(connection, question)
                rows = await connection.fetch(
                    _READ.format(picked=_CONCERNING),
                    *(*asked, question.party, streams, [one.value for one in SEEN_BESIDE]),
                    question.reader,
                )
        return [_entry(row) for row in rows]


async def _streams_beside(connection: Hot, question: Question) -> list[str]:
    rows = await connection.fetch(_STREAMS, question.party)
    return [row[0] for row in rows if question.stream in (None, row[0])]


def _entry(row: Any) -> Entry:
    return Entry(
        place=Place(row["xid"], row["position"]),
        type=row["type"],
        party=row["party"],
        stream=row["stream"],
        occurred_at=row["occurred_at"],
        recorded_at=row["recorded_at"],
        correlation_id=row["correlation_id"],
        actor=row["actor"],
        actor_name=row["actor_name"],
        on_behalf_of=row["on_behalf_of"],
        body=row["body"],
    )
