"""Months on PostgreSQL, and the lock that decides which month a posting falls into.

Whoever posts holds the lock together with all others who post, from before it looks at the states
until its commit. Whoever closes a month holds it alone. So a posting has either committed before
its month was closed, or it has seen that it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Column, DateTime, Table, Text

from clearinghouse.ledger.store import entries, postings
from clearinghouse.periods.model import Month, Period, State, Total, value_date
from kit import event_log
from kit.database import Database, Hot, metadata
from kit.event_log import NewEvent

periods = Table(
    "accounting_period",
    metadata,
    Column("period_id", Text(collation="C"), primary_key=True),
    Column("state", Text, nullable=False),
    Column("begun_closing_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True)),
    Column("settled_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('open', 'closing', 'closed', 'settled')", name="state"),
    schema="clearinghouse",
)

Closing = Callable[[Hot, Month, datetime], Awaitable[None]]
"""Posts what the house itself has to post before a month is closed, in the closer's transaction."""

_KEY = "hashtextextended('clearinghouse.periods', 0)"
_POSTING = f"SELECT pg_advisory_xact_lock_shared({_KEY})"
_ALONE = f"SELECT pg_advisory_xact_lock({_KEY})"
_CLOSING = "SELECT pg_advisory_xact_lock(hashtextextended('clearinghouse.closing', 0))"
_STATES = f"SELECT period_id, state FROM {periods.fullname}"
_FOUND = (
    f"INSERT INTO {periods.fullname} (period_id, state)"
    " SELECT m, 'open' FROM unnest($1::text[]) AS u (m) ORDER BY m ON CONFLICT DO NOTHING"
)
_TOTALS = f"""
SELECT currency,
  coalesce(sum(amount_minor) FILTER (WHERE account = 'charge-receivable'), 0)::bigint AS charges,
  coalesce(sum(amount_minor) FILTER (WHERE account = 'vat-receivable'), 0)::bigint AS vat,
  coalesce(sum(amount_minor) FILTER (WHERE account = 'fee-receivable'), 0)::bigint AS fees,
  coalesce(sum(amount_minor) FILTER (WHERE account = 'fee-vat-receivable'), 0)::bigint AS fee_vat,
  coalesce(sum(amount_minor) FILTER (WHERE account IN ('disputed-charge-receivable',
    'disputed-vat-receivable')), 0)::bigint AS disputed,
  coalesce(sum(cdrs) FILTER (WHERE account = 'charge-receivable'), 0) AS cdrs,
  sum(amount_minor) AS left_over
FROM (SELECT e.* FROM {entries.fullname} AS e JOIN {postings.fullname} AS p
    USING (posting_id) WHERE e.value_at >= $1 AND e.value_at < $2
    AND p.kind NOT IN ('settlement', 'payment', 'deposit', 'default')) AS posted
GROUP BY currency ORDER BY currency
"""


async def hold_open(connection: Hot) -> None:
    """Before anything is looked at that decides about a month: none is closed until our commit."""
    await connection.execute(_POSTING)


async def value_dates(connection: Hot, instants: Sequence[datetime]) -> list[datetime]:
    """The value date of each of `instants`; `hold_open` must have been called before."""
    rows = await connection.fetch(_STATES)
    states = {Month.parse(row["period_id"]): State(row["state"]) for row in rows}
    dates = [value_date(at, states) for at in instants]
    new = {month for month in map(Month.of, dates) if month not in states}
    if new:
        # The first posting of a month makes it known.
        await connection.execute(_FOUND, [str(month) for month in new])
    return dates


class SqlBook:
    def __init__(self, connection: Hot, closings: Sequence[Closing]) -> None:
        self._connection = connection
        self._closings = closings

    async def find(self, month: Month) -> Period:
        return await find(self._connection, month)

    async def keep(self, period: Period, event: NewEvent) -> None:
        await keep(self._connection, period)
        await event_log.append(self._connection, [event])

    async def known(self) -> Sequence[Period]:
        rows = await self._connection.fetch(f"SELECT * FROM {periods.fullname} ORDER BY period_id")
        return [_to_period(row) for row in rows]

    async def totals(self, month: Month) -> Sequence[Total]:
        rows = await self._connection.fetch(_TOTALS, month.starts_at, month.ends_at)
        for row in rows:
            assert row["left_over"] == 0, "what is posted to a month sums to zero"
        return [
            Total(
                currency=row["currency"],
                charges_minor=row["charges"],
                vat_minor=row["vat"],
                fees_minor=row["fees"],
                fee_vat_minor=row["fee_vat"],
                disputed_minor=row["disputed"],
                cdrs=row["cdrs"],
            )
            for row in rows
        ]

    async def post_closing(self, month: Month, now: datetime) -> None:
        for closing in self._closings:
            await closing(self._connection, month, now)


class SqlBooks:
    """`closings`: what is posted before a month is closed, in this order."""

    def __init__(self, database: Database, closings: Sequence[Closing] = ()) -> None:
        self._database = database
        self._closings = closings

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            yield SqlBook(connection, self._closings)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            await hold_alone(connection)
            yield SqlBook(connection, self._closings)

    @asynccontextmanager
    async def closing(self, month: Month) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            # One month after the other: each takes numbers of invoices and the hub's book, and two
            # could take them in a circle. Postings to other months go on meanwhile: to this one
            # there are none any more.
            await connection.execute(_CLOSING)
            await connection.execute(
                f"SELECT FROM {periods.fullname} WHERE period_id = $1 FOR UPDATE", str(month)
            )
            yield SqlBook(connection, self._closings)


async def find(connection: Hot, month: Month) -> Period:
    """The month as it stands, for whoever changes it: or for a look."""
    row = await connection.fetchrow(
        f"SELECT * FROM {periods.fullname} WHERE period_id = $1", str(month)
    )
    return Period(month, State.OPEN) if row is None else _to_period(row)


async def keep(connection: Hot, period: Period) -> None:
    await connection.execute(
        f"INSERT INTO {periods.fullname} VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (period_id) DO UPDATE SET state = excluded.state,"
        " begun_closing_at = excluded.begun_closing_at, closed_at = excluded.closed_at,"
        " settled_at = excluded.settled_at",
        str(period.month),
        period.state.value,
        period.begun_closing_at,
        period.closed_at,
        period.settled_at,
    )


async def hold_alone(connection: Hot) -> None:
    """No posting is under way anywhere from here until the caller's commit."""
    await connection.execute(_ALONE)


def _to_period(row: Any) -> Period:
    return Period(
        month=Month.parse(row["period_id"]),
        state=State(row["state"]),
        begun_closing_at=row["begun_closing_at"],
        closed_at=row["closed_at"],
        settled_at=row["settled_at"],
    )
