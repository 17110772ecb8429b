"""Disputes on PostgreSQL: what is kept of one, and what it means in money, in one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from clearinghouse.cdrs import store as cdrs
from clearinghouse.cdrs.life import Step as LifeStep
from clearinghouse.cdrs.life import after
from clearinghouse.cdrs.model import Cdr
from clearinghouse.disputes.model import OUTCOMES, Dispute, Reason, State, Step
from clearinghouse.ledger import store as ledger
from clearinghouse.ledger.model import Entry, Kind, Posting, dispute_entries, release_entries
from clearinghouse.periods import store as periods
from kit import event_log
from kit.database import Database, Hot, metadata
from kit.event_log import NewEvent
from roaming.money import Money
from roaming.party import PartyId

_Identifier = Text(collation="C")

disputes = Table(
    "dispute",
    metadata,
    Column("dispute_id", _Identifier, primary_key=True),
    Column("operator", _Identifier, nullable=False),
    Column("cdr_id", _Identifier, nullable=False),
    Column("evsp", _Identifier, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("excl_vat_minor", BigInteger, nullable=False),
    Column("vat_minor", BigInteger, nullable=False),
    Column("clearing_group", Text, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("due_at", DateTime(timezone=True)),
    Column("value_at", DateTime(timezone=True), nullable=False),
    Column("history", JSONB, nullable=False),
    schema="clearinghouse",
)
_RUNNING = "state IN ('opened', 'contested', 'escalated')"
assert {"opened", "contested", "escalated"} == set(State) - set(OUTCOMES)
# One dispute at a time about one record: the database, not the code, says so.
Index(
    "uq_dispute_running",
    disputes.c.operator,
    disputes.c.cdr_id,
    unique=True,
    postgresql_where=text(_RUNNING),
)
Index("ix_dispute_of_operator", disputes.c.operator, disputes.c.dispute_id)
Index("ix_dispute_of_evsp", disputes.c.evsp, disputes.c.dispute_id)
Index("ix_dispute_due", disputes.c.due_at, postgresql_where=text("due_at IS NOT NULL"))

_COLUMNS = tuple(column.name for column in disputes.columns)
_KEEP = (
    f"INSERT INTO {disputes.fullname} ({', '.join(_COLUMNS)})"
    f" VALUES ({', '.join(f'${n}' for n in range(1, len(_COLUMNS) + 1))})"
    " ON CONFLICT (dispute_id) DO UPDATE SET state = excluded.state, due_at = excluded.due_at,"
    " history = excluded.history"
)
_PAGE = (
    f"SELECT * FROM {disputes.fullname} WHERE ($1::text IS NULL OR operator = $1 OR evsp = $1)"
    " AND ($2::text IS NULL OR state = $2) AND dispute_id > $3 ORDER BY dispute_id LIMIT $4"
)


class SqlBook:
    """Disputes about one operator's records, in one transaction."""

    def __init__(self, connection: Hot, operator: PartyId) -> None:
        self._connection = connection
        self._cdrs = cdrs.SqlBook(connection)
        self._operator = operator

    async def cdr(self, cdr_id: str) -> Cdr | None:
        key = (self._operator, cdr_id)
        return (await self._cdrs.booked([key])).get(key)

    async def running(self, cdr_id: str) -> Dispute | None:
        row = await self._connection.fetchrow(
            f"SELECT * FROM {disputes.fullname} WHERE operator = $1 AND cdr_id = $2 AND {_RUNNING}",
            self._operator,
            cdr_id,
        )
        return None if row is None else _to_dispute(row)

    async def find(self, dispute_id: str) -> Dispute | None:
        return await _find(self._connection, dispute_id)

    async def value_date(self, at: datetime) -> datetime:
        (value_at,) = await periods.value_dates(self._connection, [at])
        return value_at

    async def open(self, dispute: Dispute, cdr: Cdr, events: Sequence[NewEvent]) -> None:
        await self._post(
            dispute, Kind.DISPUTE_OPENED, _entries(dispute, held=True), dispute.value_at, events
        )
        await self._move(cdr, LifeStep.DECLINE)

    async def go_on(self, dispute: Dispute, events: Sequence[NewEvent]) -> None:
        await event_log.append(self._connection, events)
        await self._keep(dispute)

    async def release(
        self, dispute: Dispute, cdr: Cdr, value_at: datetime, events: Sequence[NewEvent]
    ) -> None:
        await self._post(
            dispute, Kind.DISPUTE_RELEASED, _entries(dispute, held=False), value_at, events
        )
        await self._move(cdr, LifeStep.RESOLVE)

    async def credit(
        self, dispute: Dispute, cdr: Cdr, credit: Cdr, event: NewEvent, events: Sequence[NewEvent]
    ) -> None:
        credited = replace(cdr, state=after(cdr.state, LifeStep.CREDIT), fingerprint=None)
        await self._cdrs.record([credit], [event], [credited], disputed=True)
        await self.go_on(dispute, events)

    async def _post(
        self,
        dispute: Dispute,
        kind: Kind,
        entries: tuple[Entry, ...],
        value_at: datetime,
        events: Sequence[NewEvent],
    ) -> None:
        (told, *_) = await event_log.append(self._connection, events)
        posting = Posting(
            posting_id=told.position,
            kind=kind,
            book=dispute.operator,
            operator=dispute.operator,
            cdr_id=dispute.cdr_id,
            value_at=value_at,
            entries=entries,
        )
        await ledger.post(self._connection, [posting], dispute.history[-1].at)
        await self._keep(dispute)

    async def _move(self, cdr: Cdr, step: LifeStep) -> None:
        await cdrs.change(self._connection, [replace(cdr, state=after(cdr.state, step))])

    async def _keep(self, dispute: Dispute) -> None:
        await self._connection.execute(
            _KEEP,
            dispute.dispute_id,
            dispute.operator,
            dispute.cdr_id,
            dispute.evsp,
            dispute.state.value,
            dispute.reason.value,
            dispute.excl_vat.currency,
            dispute.excl_vat.minor,
            dispute.vat.minor,
            dispute.clearing_group,
            dispute.opened_at,
            dispute.due_at,
            dispute.value_at,
            [(one.action, one.by, one.at.isoformat(), one.says) for one in dispute.history],
        )


class SqlBooks:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def write(self, operator: PartyId) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            await cdrs.hold(connection, [operator])
            yield SqlBook(connection, operator)

    async def of(self, dispute_id: str) -> Dispute | None:
        async with self._database.hot() as connection:
            return await _find(connection, dispute_id)

    async def page(
        self, party: PartyId | None, *, state: State | None, after: str, limit: int
    ) -> Sequence[Dispute]:
        async with self._database.hot() as connection:
            rows = await connection.fetch(
                _PAGE, party, None if state is None else state.value, after, limit
            )
        return [_to_dispute(row) for row in rows]

    async def due(self, now: datetime, limit: int) -> Sequence[Dispute]:
        async with self._database.hot() as connection:
            rows = await connection.fetch(
                f"SELECT * FROM {disputes.fullname} WHERE due_at <= $1 ORDER BY due_at LIMIT $2",
                now,
                limit,
            )
        return [_to_dispute(row) for row in rows]


async def _find(connection: Hot, dispute_id: str) -> Dispute | None:
    # PostgreSQL has no NUL in texts, and so no dispute of such an id.
    if "\0" in dispute_id:
        return None
    row = await connection.fetchrow(
        f"SELECT * FROM {disputes.fullname} WHERE dispute_id = $1", dispute_id
    )
    return None if row is None else _to_dispute(row)


def _entries(dispute: Dispute, *, held: bool) -> tuple[Entry, ...]:
    make = dispute_entries if held else release_entries
    return make(
        dispute.evsp, dispute.operator, dispute.excl_vat, dispute.vat, dispute.clearing_group
    )


def _to_dispute(row: Any) -> Dispute:
    return Dispute(
        dispute_id=row["dispute_id"],
        operator=PartyId(row["operator"]),
        cdr_id=row["cdr_id"],
        evsp=PartyId(row["evsp"]),
        state=State(row["state"]),
        reason=Reason(row["reason"]),
        excl_vat=Money(row["excl_vat_minor"], row["currency"]),
        vat=Money(row["vat_minor"], row["currency"]),
        clearing_group=row["clearing_group"],
        opened_at=row["opened_at"],
        due_at=row["due_at"],
        value_at=row["value_at"],
        history=tuple(
            Step(action, by, datetime.fromisoformat(at), says)
            for action, by, at, says in row["history"]
        ),
    )
