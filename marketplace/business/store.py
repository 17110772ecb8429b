"""Business details on PostgreSQL: rows are added and never changed. The rows stay in this file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Table,
    Text,
    and_,
    exists,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

import kit.event_log  # noqa: F401  its kit.forbid_change must be made before our trigger
from kit.database import Database, attach_ddl, metadata
from kit.event_log import NewEvent, append
from marketplace.business.model import BusinessDetails
from marketplace.business.ports import CHANNEL
from marketplace.contracts.rows import contracts
from marketplace.partners.store import partners
from roaming.events import EventType
from roaming.party import PartyId

details_table = Table(
    "business_details",
    metadata,
    Column("details_id", BigInteger, Identity(always=True), primary_key=True),
    # No reference to the partners: the hub is none, and has details.
    Column("party", Text, nullable=False),
    Column("legal_name", Text, nullable=False),
    Column("street", Text, nullable=False),
    Column("city", Text, nullable=False),
    Column("postal_code", Text, nullable=False),
    Column("country", Text, nullable=False),
    Column("vat_id", Text),
    Column("tax_id", Text),
    Column("taxable_dealer", Boolean, nullable=False),
    Column("iban", Text),
    Column("bic", Text),
    Column("invoice_email", Text),
    Column("valid_from", DateTime(timezone=True), nullable=False),
    Column("told_by", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)
Index("ix_business_details_party_valid_from", details_table.c.party, details_table.c.valid_from)
attach_ddl(
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON marketplace.business_details
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
"""
)

_COLUMNS = [details_table.c[field.name] for field in fields(BusinessDetails)]
_SELECT = select(*_COLUMNS)


class SqlFile:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def is_registered(self, party: PartyId) -> bool:
        query = select(exists().where(partners.c.party == party))
        return bool((await self._connection.execute(query)).scalar())

    async def have_a_contract(self, one: PartyId, other: PartyId) -> bool:
        sides = contracts.c.provider, contracts.c.requester
        pairs = [
            and_(left == one, right == other) for left, right in (sides, tuple(reversed(sides)))
        ]
        query = select(exists().where(or_(*pairs)))
        return bool((await self._connection.execute(query)).scalar())

    async def lock(self, party: PartyId) -> None:
        await self._connection.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended(f"business:{party}", 0)))
        )

    async def find(self, party: PartyId, at: datetime) -> BusinessDetails | None:
        row = (
            await self._connection.execute(
                _SELECT.where(details_table.c.party == party, details_table.c.valid_from <= at)
                .order_by(details_table.c.valid_from.desc(), details_table.c.details_id.desc())
                .limit(1)
            )
        ).first()
        return None if row is None else _to_details(row)

    async def history(self, party: PartyId) -> Sequence[BusinessDetails]:
        rows = await self._connection.execute(
            _SELECT.where(details_table.c.party == party).order_by(details_table.c.details_id)
        )
        return [_to_details(row) for row in rows]

    async def add(self, details: BusinessDetails, by: PartyId, now: datetime) -> None:
        values = {field.name: getattr(details, field.name) for field in fields(details)}
        await self._connection.execute(
            details_table.insert().values(**values, told_by=by, recorded_at=now)
        )
        # Bank account and mail address are for those who pay, not for a log that keeps for ever.
        body = {
            "party": details.party,
            "legal_name": details.legal_name,
            "country": details.country,
            "vat_id": details.vat_id,
            "taxable_dealer": details.taxable_dealer,
            "valid_from": details.valid_from.isoformat(),
            "by": by,
        }
        await append(
            self._connection,
            [
                NewEvent(
                    f"partner:{details.party}",
                    EventType.PARTNER_DETAILS_CHANGED,
                    details.party,
                    body,
                    now,
                )
            ],
        )
        await self._connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


class SqlFiles:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlFile]:
        async with self._database.begin() as connection:
            yield SqlFile(connection)


class SqlSource:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self) -> int:
        async with self._database.begin() as connection:
            query = select(func.count()).select_from(details_table)
            return int((await connection.execute(query)).scalar_one())

    async def all(self) -> Sequence[BusinessDetails]:
        async with self._database.begin() as connection:
            rows = await connection.execute(_SELECT.order_by(details_table.c.details_id))
            return [_to_details(row) for row in rows]


def _to_details(row: Any) -> BusinessDetails:
    values = dict(row._mapping)
    return BusinessDetails(**values | {"party": PartyId(values["party"])})
