"""Messages on PostgreSQL. The rows stay in this file.

`tell` writes a fact into the log, once for each party that it concerns, and a message beside each:
own-events and the outbox say the same, in one transaction with the state that they tell of.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database, metadata, raw_connection
from kit.event_log import NewEvent, append
from kit.sortable_id import is_id, sortable_id
from marketplace.messages.model import Fact, Message, Reply, State, Way
from marketplace.messages.ports import CHANNEL
from marketplace.partners.model import Purpose
from marketplace.partners.store import endpoints
from roaming.events import EventType
from roaming.party import PartyId

_Identifier = Text(collation="C")
_IS_WAITING = "state = 'must-be-sent'"
messages = Table(
    "message",
    metadata,
    Column("message_id", _Identifier, primary_key=True),
    Column("position", BigInteger, Identity(always=True), nullable=False),
    Column("party", _Identifier, nullable=False),
    Column("subject", _Identifier, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failing_since", DateTime(timezone=True)),
    Column("next_attempt_at", DateTime(timezone=True)),
    Column("says", Text),
    Column("settled_at", DateTime(timezone=True)),
    Column("way", Text),
    Column("holder", Text, nullable=False),
    Column("held_until", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)
Index("ix_message_party", messages.c.party, messages.c.position)
Index("ix_message_subject", messages.c.subject, messages.c.position)
Index(
    "ix_message_waiting",
    messages.c.party,
    messages.c.position,
    postgresql_where=text(_IS_WAITING),
)

# No longer than this is one at work on a message; who is gone holds nothing.
_LEASE = "interval '1 minute'"
_IS_DUE = f"m.{_IS_WAITING} AND (m.next_attempt_at IS NULL OR m.next_attempt_at <= $2)"
_HAS_ENDPOINT = (
    f"EXISTS (SELECT FROM {endpoints.fullname} AS e"
    f" WHERE e.party COLLATE \"C\" = m.party AND e.purpose = '{Purpose.CONTRACTS}')"
)
_SELECT = f"SELECT m.*, {_HAS_ENDPOINT} AS has_endpoint FROM {messages.fullname} AS m"
_PARTIES = (
    f"SELECT e.party FROM {endpoints.fullname} AS e WHERE e.purpose = $1 AND EXISTS"
    f" (SELECT FROM {messages.fullname} AS m"
    f' WHERE m.party = e.party COLLATE "C" AND {_IS_DUE}) ORDER BY e.party'
)
_CLAIM = f"""
UPDATE {messages.fullname} SET holder = $3, held_until = now() + {_LEASE} WHERE message_id =
  (SELECT m.message_id FROM {messages.fullname} AS m WHERE m.party = $1 AND {_IS_DUE}
    AND (m.holder IN ('', $3) OR m.held_until < now() OR NOT EXISTS
      (SELECT FROM pg_stat_activity AS a WHERE a.datname = current_database()
        AND a.application_name = split_part(m.holder, '/', 1)))
    AND NOT EXISTS (SELECT FROM {messages.fullname} AS older WHERE older.party = m.party
      AND older.subject = m.subject AND older.position < m.position AND older.{_IS_WAITING})
    ORDER BY m.position LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING *, true AS has_endpoint
"""
_SETTLE = (
    f"UPDATE {messages.fullname} SET state = $2, settled_at = $3, way = $4, says = $5,"
    " holder = '', next_attempt_at = NULL"
    f" WHERE message_id = $1 AND {_IS_WAITING}"
)


async def tell(connection: AsyncConnection, facts: Sequence[Fact]) -> None:
    """Tell facts to all that they concern, in the caller's transaction."""
    told = [(fact, party) for fact in facts for party in fact.hearers]
    if not told:
        return
    await append(
        connection,
        [NewEvent(fact.subject, fact.type, party, fact.body, fact.at) for fact, party in told],
    )
    await connection.execute(messages.insert().values([_to_row(*one) for one in told]))
    await connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


async def told(connection: AsyncConnection, subject: str) -> Sequence[Message]:
    """All messages about a subject, to whomever, in order."""
    raw = await raw_connection(connection)
    rows = await raw.fetch(f"{_SELECT} WHERE m.subject = $1 ORDER BY m.position", subject)
    return [_to_message(row) for row in rows]


class SqlOutbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def parties(self, now: datetime) -> Sequence[PartyId]:
        async with self._database.hot() as connection:
            rows = await connection.fetch(_PARTIES, Purpose.CONTRACTS.value, now)
        return [PartyId(row[0]) for row in rows]

    async def next(self, party: PartyId, *, holder: str, now: datetime) -> Message | None:
        async with self._database.hot() as connection:
            row = await connection.fetchrow(_CLAIM, party, now, holder)
        return None if row is None else _to_message(row)

    async def acknowledged(self, message: Message, *, holder: str, now: datetime) -> None:
        async with self._database.hot() as connection:
            await connection.execute(
                f"{_SETTLE} AND holder = $6",
                *(message.message_id, State.ACKNOWLEDGED.value, now, Way.ENDPOINT.value, None),
                holder,
            )

    async def wait(
        self, message: Message, reply: Reply, again_at: datetime, *, holder: str, now: datetime
    ) -> None:
        async with self._database.hot() as connection:
            mine = await connection.fetchval(
                f"UPDATE {messages.fullname} SET attempts = attempts + 1, says = $2, holder = '',"
                " failing_since = coalesce(failing_since, $3)"
                f" WHERE message_id = $1 AND {_IS_WAITING} AND holder = $4 RETURNING 1",
                *(message.message_id, _said(reply), now, holder),
            )
            if mine is not None:
                # What one message met, all that go to this endpoint would meet.
                await connection.execute(
                    f"UPDATE {messages.fullname} SET next_attempt_at = $2"
                    f" WHERE party = $1 AND {_IS_WAITING}",
                    message.party,
                    again_at,
                )

    async def bury(self, message: Message, reply: Reply, *, holder: str, now: datetime) -> None:
        async with self._database.hot() as connection:
            mine = await connection.execute(
                f"{_SETTLE} AND holder = $6",
                *(message.message_id, State.DEAD_LETTER.value, now, None, _said(reply), holder),
            )
            if mine == "UPDATE 1":
                await append(
                    connection,
                    [
                        NewEvent(
                            f"messages:{message.party}",
                            EventType.MESSAGE_DEAD_LETTERED,
                            message.party,
                            {
                                "message_id": message.message_id,
                                "subject": message.subject,
                                "type": message.type,
                                "says": _said(reply),
                            },
                            now,
                        )
                    ],
                )

    async def find(self, party: PartyId, message_id: str) -> Message | None:
        if not is_id(message_id):
            return None
        async with self._database.hot() as connection:
            row = await connection.fetchrow(
                f"{_SELECT} WHERE m.party = $1 AND m.message_id = $2", party, message_id
            )
        return None if row is None else _to_message(row)

    async def page(
        self,
        party: PartyId,
        *,
        state: State | None,
        subject: str | None,
        after: int,
        limit: int,
    ) -> Sequence[Message]:
        async with self._database.hot() as connection:
            rows = await connection.fetch(
                f"{_SELECT} WHERE m.party = $1 AND m.position > $2"
                " AND ($3::text IS NULL OR m.state = $3) AND ($4::text IS NULL OR m.subject = $4)"
                " ORDER BY m.position LIMIT $5",
                *(party, after, state, subject, limit),
            )
        return [_to_message(row) for row in rows]

    async def settle(self, message: Message, way: Way, now: datetime) -> None:
        async with self._database.hot() as connection:
            await connection.execute(
                f"UPDATE {messages.fullname} SET state = $2, settled_at = $3, way = $4,"
                " holder = '', next_attempt_at = NULL WHERE message_id = $1 AND state <> $2",
                *(message.message_id, State.ACKNOWLEDGED.value, now, way.value),
            )

    async def send_again(self, message: Message, now: datetime) -> None:
        async with self._database.hot() as connection:
            await connection.execute(
                f"UPDATE {messages.fullname} SET state = $2, settled_at = NULL,"
                " failing_since = NULL WHERE message_id = $1 AND state = $3",
                *(message.message_id, State.MUST_BE_SENT.value, State.DEAD_LETTER.value),
            )
            await connection.execute("SELECT pg_notify($1, '')", CHANNEL)


def _to_row(fact: Fact, party: PartyId) -> dict[str, Any]:
    return {
        "message_id": sortable_id(fact.at),
        "party": str(party),
        "subject": fact.subject,
        "type": fact.type.value,
        "body": fact.body,
        "occurred_at": fact.at,
        "state": State.MUST_BE_SENT.value,
        "attempts": 0,
        "holder": "",
        "held_until": fact.at,
    }


def _to_message(row: Any) -> Message:
    return Message(
        message_id=row["message_id"],
        position=row["position"],
        party=PartyId(row["party"]),
        subject=row["subject"],
        type=row["type"],
        body=row["body"],
        occurred_at=row["occurred_at"],
        state=State(row["state"]),
        has_endpoint=row["has_endpoint"],
        attempts=row["attempts"],
        failing_since=row["failing_since"],
        next_attempt_at=row["next_attempt_at"],
        says=row["says"],
        settled_at=row["settled_at"],
        way=None if row["way"] is None else Way(row["way"]),
    )


def _said(reply: Reply) -> str:
    return reply.says if reply.status is None else f"{reply.status}: {reply.says}"
