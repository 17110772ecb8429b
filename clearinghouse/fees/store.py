"""Fee schedules and fees on PostgreSQL: rows are added and never changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Identity, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from clearinghouse.cdrs.store import cdrs
from clearinghouse.fees.model import Payer, Schedule, Usage
from clearinghouse.fees.ports import Charged
from clearinghouse.ledger import store as ledger
from clearinghouse.ledger.model import Kind, Posting, Subject, mirrored
from clearinghouse.periods.model import Month
from kit import event_log
from kit.database import Database, Hot, attach_ddl, metadata
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.money import Money
from roaming.party import PartyId

# Each fee is paid as it is: nobody else's debt to the hub has to do with it.
CLEARING_GROUP = "gross:hub-fees"

schedules = Table(
    "fee_schedule",
    metadata,
    Column("schedule_id", BigInteger, Identity(always=True), primary_key=True),
    Column("payer", Text, nullable=False),
    Column("party", Text),
    Column("valid_from", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("per_cdr", Numeric, nullable=False),
    Column("per_kwh", Numeric, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)
fees = Table(
    "fee",
    metadata,
    Column("period_id", Text, primary_key=True),
    Column("party", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("posting_id", BigInteger, nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("vat_minor", BigInteger, nullable=False),
    Column("vat_rule", Text, nullable=False),
    Column("vat_category", Text),
    Column("vat_percent", Numeric),
    Column("parts", JSONB, nullable=False),
    schema="clearinghouse",
)
for _table in (schedules, fees):
    attach_ddl(
        f"""
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {_table.fullname}
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
"""
    )

# A credit repeats the energy of the record that it takes back.
_USED = f"""
SELECT side.payer, side.party, sum(side.sign)::bigint AS cdrs,
  sum(side.sign * side.energy_wh)::bigint AS energy_wh
FROM {ledger.postings.fullname} AS p JOIN {cdrs.fullname} AS c ON c.log_position = p.posting_id
CROSS JOIN LATERAL (VALUES
  ('operator', c.operator, CASE p.kind WHEN 'credit' THEN -1 ELSE 1 END, c.energy_wh),
  ('evsp', c.evsp, CASE p.kind WHEN 'credit' THEN -1 ELSE 1 END, c.energy_wh)
) AS side (payer, party, sign, energy_wh)
WHERE p.kind IN ('charge', 'credit') AND p.value_at >= $1 AND p.value_at < $2
GROUP BY side.payer, side.party ORDER BY side.payer, side.party
"""


class SqlBook:
    def __init__(self, connection: Hot) -> None:
        self._connection = connection

    async def schedules(self) -> Sequence[Schedule]:
        rows = await self._connection.fetch(
            f"SELECT * FROM {schedules.fullname} ORDER BY schedule_id"
        )
        return [_to_schedule(row) for row in rows]

    async def add(self, schedule: Schedule, hub: PartyId, now: datetime) -> None:
        body = {
            "payer": schedule.payer.value,
            "party": schedule.party,
            "valid_from": str(schedule.valid_from),
            "currency": schedule.currency,
            "per_cdr": f"{schedule.per_cdr:f}",
            "per_kwh": f"{schedule.per_kwh:f}",
        }
        await event_log.append(
            self._connection,
            [NewEvent("hub-fees", EventType.FEE_SCHEDULE_SET, schedule.party or hub, body, now)],
        )
        await self._connection.execute(
            f"INSERT INTO {schedules.fullname}"
            " (payer, party, valid_from, currency, per_cdr, per_kwh, recorded_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            schedule.payer.value,
            schedule.party,
            str(schedule.valid_from),
            schedule.currency,
            schedule.per_cdr,
            schedule.per_kwh,
            now,
        )

    async def used(self, month: Month) -> Sequence[Usage]:
        rows = await self._connection.fetch(_USED, month.starts_at, month.ends_at)
        return [
            Usage(Payer(row["payer"]), PartyId(row["party"]), row["cdrs"], row["energy_wh"])
            for row in rows
        ]

    async def post(self, charged: Sequence[Charged], hub: PartyId, now: datetime) -> None:
        told = await event_log.append(self._connection, [_event(one, now) for one in charged])
        positions = [cursor.position for cursor in told]
        await ledger.post(
            self._connection,
            [_posting(one, at, hub) for one, at in zip(charged, positions, strict=True)],
            now,
        )
        await self._connection.executemany(
            f"INSERT INTO {fees.fullname} VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            [_fee_row(one, at) for one, at in zip(charged, positions, strict=True)],
        )

    async def charged(self, party: PartyId, limit: int) -> Sequence[Charged]:
        rows = await self._connection.fetch(
            f"SELECT * FROM {fees.fullname} WHERE party = $1"
            " ORDER BY period_id DESC, currency LIMIT $2",
            party,
            limit,
        )
        return [_to_charged(row) for row in rows]


class SqlBooks:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            yield SqlBook(connection)


def _event(fee: Charged, now: datetime) -> NewEvent:
    body = {
        "period_id": str(fee.month),
        "currency": fee.net.currency,
        "net_minor": fee.net.minor,
        "vat_minor": fee.vat.minor,
        "vat_rule": fee.vat_rule,
    }
    return NewEvent("hub-fees", EventType.FEE_CHARGED, fee.party, body, now)


def _posting(fee: Charged, position: int, hub: PartyId) -> Posting:
    entries = [
        entry
        for subject, amount in ((Subject.FEE, fee.net), (Subject.FEE_VAT, fee.vat))
        if amount.minor
        for entry in mirrored(
            subject,
            creditor=hub,
            debtor=fee.party,
            amount=amount,
            clearing_group=CLEARING_GROUP,
        )
    ]
    return Posting(position, Kind.FEE, hub, None, None, fee.month.last_moment, tuple(entries))


def _fee_row(fee: Charged, position: int) -> tuple[Any, ...]:
    return (
        str(fee.month),
        fee.party,
        fee.net.currency,
        position,
        fee.net.minor,
        fee.vat.minor,
        fee.vat_rule,
        fee.vat_category,
        fee.vat_percent,
        list(fee.parts),
    )


def _to_schedule(row: Any) -> Schedule:
    return Schedule(
        payer=Payer(row["payer"]),
        party=None if row["party"] is None else PartyId(row["party"]),
        valid_from=Month.parse(row["valid_from"]),
        currency=row["currency"],
        per_cdr=row["per_cdr"],
        per_kwh=row["per_kwh"],
    )


def _to_charged(row: Any) -> Charged:
    return Charged(
        month=Month.parse(row["period_id"]),
        party=PartyId(row["party"]),
        net=Money(row["net_minor"], row["currency"]),
        vat=Money(row["vat_minor"], row["currency"]),
        vat_rule=row["vat_rule"],
        vat_category=row["vat_category"],
        vat_percent=row["vat_percent"],
        parts=row["parts"],
    )
