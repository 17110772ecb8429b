"""What banks have told, on PostgreSQL: each entry once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from clearinghouse.payments.model import EntryKey, Level, Match, Reminder
from clearinghouse.payments.ports import Unapplied
from kit import event_log
from kit.database import Database, Hot, metadata
from kit.encoding import encode_json
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.party import PartyId

_Identifier = Text(collation="C")

entries = Table(
    "bank_entry",
    metadata,
    Column("account", _Identifier, primary_key=True),
    Column("statement_id", _Identifier, primary_key=True),
    Column("entry_ref", _Identifier, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("owner", _Identifier, nullable=False),
    Column("booked_on", Date, nullable=False),
    Column("currency", _Identifier, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("end_to_end_id", Text),
    Column("counterparty_iban", Text),
    Column("counterparty_name", Text),
    Column("says", Text, nullable=False),
    Column("returned", Boolean, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reference", Text),
    Column("paid_minor", BigInteger, nullable=False),
    Column("over_minor", BigInteger, nullable=False),
    Column("because", Text, nullable=False),
    Column("guesses", JSONB, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("applied_at", DateTime(timezone=True)),
    Column("refused", Text),
    schema="clearinghouse",
)
Index(
    "ix_bank_entry_unapplied",
    entries.c.recorded_at,
    postgresql_where=text("reference IS NOT NULL AND applied_at IS NULL"),
)

reminders = Table(
    "payment_reminder",
    metadata,
    Column("reference", _Identifier, primary_key=True),
    Column("level", _Identifier, primary_key=True),
    Column("log_position", BigInteger, nullable=False),
    Column("payer", _Identifier, nullable=False),
    Column("payee", _Identifier, nullable=False),
    Column("content", JSONB, nullable=False),
    schema="clearinghouse",
)
Index("ix_payment_reminder_payer", reminders.c.payer, reminders.c.log_position)
Index("ix_payment_reminder_payee", reminders.c.payee, reminders.c.log_position)

_OWN = "($1::text IS NULL OR payer = $1 OR payee = $1)"
_KEEP = f"""
INSERT INTO {entries.fullname} (account, statement_id, entry_ref, number, owner, booked_on,
  currency, amount_minor, end_to_end_id, counterparty_iban, counterparty_name, says, returned,
  outcome, reference, paid_minor, over_minor, because, guesses, recorded_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
  $19::text::jsonb, $20)
ON CONFLICT DO NOTHING
"""
_UNAPPLIED = f"""
SELECT * FROM {entries.fullname} WHERE reference IS NOT NULL AND applied_at IS NULL
ORDER BY recorded_at, account, statement_id, entry_ref, number
"""


class SqlBook:
    def __init__(self, connection: Hot) -> None:
        self._connection = connection

    async def seen(self, account: str, statement_id: str) -> Collection[EntryKey]:
        rows = await self._connection.fetch(
            f"SELECT entry_ref, number FROM {entries.fullname}"
            " WHERE account = $1 AND statement_id = $2",
            account,
            statement_id,
        )
        return {EntryKey(account, statement_id, row["entry_ref"], row["number"]) for row in rows}

    async def keep(self, owner: PartyId, matches: Sequence[Match], now: datetime) -> None:
        await self._connection.executemany(
            _KEEP,
            [
                (
                    *match.entry.key,
                    owner,
                    match.entry.booked_on,
                    match.entry.currency,
                    match.entry.amount_minor,
                    match.entry.end_to_end_id,
                    match.entry.counterparty_iban,
                    match.entry.counterparty_name,
                    match.entry.text,
                    match.entry.returned,
                    match.outcome.value,
                    match.reference,
                    match.paid_minor,
                    match.over_minor,
                    match.because,
                    encode_json(match.guesses).decode(),
                    now,
                )
                for match in matches
            ],
        )

    async def unapplied(self) -> Sequence[Unapplied]:
        return [
            Unapplied(
                key=EntryKey(row["account"], row["statement_id"], row["entry_ref"], row["number"]),
                reference=row["reference"],
                currency=row["currency"],
                amount_minor=row["paid_minor"] - row["over_minor"],
                booked_at=datetime.combine(row["booked_on"], time.min, tzinfo=UTC),
            )
            for row in await self._connection.fetch(_UNAPPLIED)
        ]

    async def told_from_elsewhere(self, reference: str, account: str) -> bool:
        found: bool = await self._connection.fetchval(
            f"SELECT EXISTS (SELECT FROM {entries.fullname} WHERE reference = $1 AND account <> $2"
            " AND applied_at IS NOT NULL AND refused IS NULL AND paid_minor <> over_minor)",
            reference,
            account,
        )
        return found

    async def applied(self, key: EntryKey, now: datetime, refused: str | None) -> None:
        await self._connection.execute(
            f"UPDATE {entries.fullname} SET applied_at = $5, refused = $6 WHERE account = $1"
            " AND statement_id = $2 AND entry_ref = $3 AND number = $4 AND applied_at IS NULL",
            *key,
            now,
            refused,
        )

    async def reminded(self, references: Sequence[str]) -> Mapping[str, Collection[Level]]:
        rows = await self._connection.fetch(
            f"SELECT reference, level FROM {reminders.fullname} WHERE reference = ANY($1::text[])",
            list(references),
        )
        sent: defaultdict[str, set[Level]] = defaultdict(set)
        for row in rows:
            sent[row["reference"]].add(Level(row["level"]))
        return sent

    async def keep_reminders(self, made: Sequence[Reminder], now: datetime) -> int:
        # Of two processes that look at the same moment, one waits here and then sees the other's.
        await self._connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", _LOCK
        )
        sent = await self.reminded([one.due.reference for one in made])
        new = [one for one in made if one.level not in sent.get(one.due.reference, ())]
        cursors = await event_log.append(self._connection, [_event(one, now) for one in new])
        await self._connection.executemany(
            f"INSERT INTO {reminders.fullname} VALUES ($1, $2, $3, $4, $5, $6)",
            [
                (
                    one.due.reference,
                    one.level.value,
                    cursor.position,
                    one.due.payer,
                    one.due.payee,
                    one,
                )
                for one, cursor in zip(new, cursors, strict=True)
            ],
        )
        return len(new)

    async def reminders(self, party: PartyId | None, limit: int) -> Sequence[Reminder]:
        rows = await self._connection.fetch(
            f"SELECT content FROM {reminders.fullname} WHERE {_OWN}"
            " ORDER BY log_position DESC LIMIT $2",
            party,
            limit,
        )
        return [_to_reminder(row["content"]) for row in rows]

    async def reminder(
        self, reference: str, level: Level, party: PartyId | None
    ) -> Reminder | None:
        row = await self._connection.fetchrow(
            f"SELECT content FROM {reminders.fullname}"
            f" WHERE reference = $2 AND level = $3 AND {_OWN}",
            party,
            reference,
            level.value,
        )
        return None if row is None else _to_reminder(row["content"])


_LOCK = "clearinghouse.payments.reminders"


def _event(reminder: Reminder, now: datetime) -> NewEvent:
    due = reminder.due
    return NewEvent(
        stream=f"reminders/{due.payer}",
        type=EventType.PAYMENT_REMINDED,
        party=due.payer,
        body={
            "reference": due.reference,
            "level": reminder.level.value,
            "payer": due.payer,
            "payee": due.payee,
            "currency": due.currency,
            "open_minor": due.open_minor,
            "due_on": due.due_on,
        },
        occurred_at=now,
    )


def _to_reminder(content: Any) -> Reminder:
    return msgspec.convert(content, Reminder, dec_hook=lambda _, value: PartyId(value))


class SqlBooks:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            yield SqlBook(connection)
