"""Clearing runs on PostgreSQL, and what the ledger says is owed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, Table, Text

from clearinghouse.ledger.store import entries
from clearinghouse.netting.model import (
    Clearing,
    ClearingRun,
    Method,
    Obligation,
    Payment,
    Period,
    Position,
    Strategy,
    gross,
    less,
    owed_by_pair,
)
from kit import event_log
from kit.database import Database, Hot, attach_ddl, metadata
from kit.event_log import NewEvent
from roaming.party import PartyId

runs = Table(
    "clearing_run",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("requested_by", Text, nullable=False),
    Column("period_start", DateTime(timezone=True), nullable=False),
    Column("period_end", DateTime(timezone=True), nullable=False),
    Column("currency", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("method", Text),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)
Index("ix_clearing_run_requested_by", runs.c.requested_by, runs.c.recorded_at)
lines = Table(
    "clearing_line",
    metadata,
    # No foreign key: lines are written with their run, by one method, and neither ever changes;
    # checking each of a hundred thousand would take as long as clearing them.
    Column("run_id", Text, primary_key=True),
    Column("line_no", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("party", Text, nullable=False),
    Column("counterparty", Text),
    Column("amount_minor", BigInteger, nullable=False),
    Column("vat_minor", BigInteger),
    Column("cdrs", BigInteger),
    schema="clearinghouse",
)
for _table in (runs, lines):
    attach_ddl(
        f"""
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {_table.fullname}
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
"""
    )

_CLAIM = "account IN ('charge-receivable', 'vat-receivable') AND clearing_group <> ''"
_OBLIGATIONS = f"""
SELECT counterparty AS debtor, party AS creditor,
  coalesce(sum(amount_minor) FILTER (WHERE account = 'charge-receivable'), 0)::bigint AS amount,
  coalesce(sum(amount_minor) FILTER (WHERE account = 'vat-receivable'), 0)::bigint AS vat,
  sum(cdrs) AS cdrs
FROM {entries.fullname}
WHERE {_CLAIM} AND currency = $1 AND value_at >= $2 AND value_at < $3
  AND ($4::text IS NULL OR party = $4 OR counterparty = $4)
GROUP BY 1, 2
"""
_RECORD_LINES = f"""
INSERT INTO {lines.fullname} (run_id, line_no, kind, party, counterparty, amount_minor, vat_minor,
  cdrs)
SELECT $1, line_no, kind, party, counterparty, amount_minor, vat_minor, cdrs
FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[])
  WITH ORDINALITY AS u (kind, party, counterparty, amount_minor, vat_minor, cdrs, line_no)
"""

_OBLIGATION, _PAYMENT, _CANCELLED, _POSITION = "obligation", "payment", "cancelled", "position"
_Line = tuple[str, PartyId, PartyId | None, int, int | None, int | None]


class SqlBook:
    """One open transaction."""

    def __init__(self, connection: Hot) -> None:
        self._connection = connection

    async def obligations(
        self, period: Period, currency: str, party: PartyId | None
    ) -> Sequence[Obligation]:
        rows = await self._connection.fetch(_OBLIGATIONS, currency, period.start, period.end, party)
        return [
            Obligation(
                debtor=PartyId(row["debtor"]),
                creditor=PartyId(row["creditor"]),
                amount_minor=row["amount"],
                vat_minor=row["vat"],
                cdrs=row["cdrs"],
            )
            for row in rows
        ]

    async def record(self, run: ClearingRun, event: NewEvent) -> None:
        clearing = run.clearing
        await self._connection.execute(
            f"INSERT INTO {runs.fullname} VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            run.run_id,
            run.requested_by,
            run.period.start,
            run.period.end,
            run.currency,
            clearing.strategy.value,
            None if clearing.method is None else clearing.method.value,
            run.recorded_at,
        )
        rows = _to_lines(clearing)
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(6)]
        await self._connection.execute(_RECORD_LINES, run.run_id, *columns)
        await event_log.append(self._connection, [event])

    async def find(self, run_id: str) -> ClearingRun | None:
        row = await self._connection.fetchrow(
            f"SELECT * FROM {runs.fullname} WHERE run_id = $1", run_id
        )
        if row is None:
            return None
        found = await self._connection.fetch(
            f"SELECT * FROM {lines.fullname} WHERE run_id = $1 ORDER BY line_no", run_id
        )
        return _to_run(row, found)

    async def runs(self, requested_by: Sequence[PartyId], limit: int) -> Sequence[ClearingRun]:
        rows = await self._connection.fetch(
            f"SELECT * FROM {runs.fullname} WHERE requested_by = ANY($1::text[])"
            " ORDER BY recorded_at DESC, run_id LIMIT $2",
            list(requested_by),
            limit,
        )
        return [_to_run(row, []) for row in rows]


class SqlBooks:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            yield SqlBook(connection)


def _to_lines(clearing: Clearing) -> list[_Line]:
    return [
        *(
            (_OBLIGATION, one.debtor, one.creditor, one.amount_minor, one.vat_minor, one.cdrs)
            for one in clearing.obligations
        ),
        *(
            (_PAYMENT, one.payer, one.payee, one.amount_minor, one.vat_minor, None)
            for one in clearing.payments
            # Gross payments are the obligations again, those of cycles what is not cancelled.
            if clearing.strategy in (Strategy.BILATERAL, Strategy.MULTILATERAL)
        ),
        *(
            (_CANCELLED, one.debtor, one.creditor, one.amount_minor, None, None)
            for one in (clearing.cancelled if clearing.strategy is Strategy.CYCLES else ())
        ),
        *(
            (_POSITION, one.party, None, one.amount_minor, one.vat_minor, None)
            for one in clearing.positions
        ),
    ]


def _to_run(row: Any, rows: Sequence[Any]) -> ClearingRun:
    strategy = Strategy(row["strategy"])
    obligations = tuple(
        Obligation(
            PartyId(one["party"]),
            PartyId(one["counterparty"]),
            one["amount_minor"],
            one["vat_minor"],
            one["cdrs"],
        )
        for one in rows
        if one["kind"] == _OBLIGATION
    )
    clearing = Clearing(
        strategy=strategy,
        obligations=obligations,
        payments=_to_payments(strategy, obligations, rows),
        positions=tuple(
            Position(PartyId(one["party"]), one["amount_minor"], one["vat_minor"])
            for one in rows
            if one["kind"] == _POSITION
        ),
        method=None if row["method"] is None else Method(row["method"]),
    )
    return ClearingRun(
        run_id=row["run_id"],
        requested_by=PartyId(row["requested_by"]),
        period=Period(row["period_start"], row["period_end"]),
        currency=row["currency"],
        clearing=clearing,
        recorded_at=row["recorded_at"],
    )


def _to_payments(
    strategy: Strategy, obligations: Sequence[Obligation], rows: Sequence[Any]
) -> tuple[Payment, ...]:
    if strategy is Strategy.GROSS:
        return gross(obligations)
    if strategy is Strategy.CYCLES:
        return less(
            owed_by_pair(obligations),
            {
                (PartyId(one["party"]), PartyId(one["counterparty"])): one["amount_minor"]
                for one in rows
                if one["kind"] == _CANCELLED
            },
        )
    return tuple(
        Payment(
            PartyId(one["party"]),
            PartyId(one["counterparty"]),
            one["amount_minor"],
            one["vat_minor"],
        )
        for one in rows
        if one["kind"] == _PAYMENT
    )
