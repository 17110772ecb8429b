"""Packs on PostgreSQL: what was bought, row by row, and one row of what is left.

The door takes calls from that row by `take`, for as many as wait for one and not one to spare: a
process that is killed has nothing of a pack in its hands but the calls that were under way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.packs.model import Balance, Bargain, Purchase, Sold
from kit.database import Database, Hot, metadata
from kit.event_log import NewEvent, append
from roaming.events import EventType

balances = Table(
    "pack_balance",
    metadata,
    Column("contract_id", Text, primary_key=True),
    Column("bought", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    # What the last taker got.
    Column("granted", BigInteger, nullable=False),
    schema="gateway",
)
purchases = Table(
    "pack_purchase",
    metadata,
    Column("purchase_id", Text, primary_key=True),
    Column("contract_id", Text, nullable=False),
    Column("packs", Integer, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("price_minor", BigInteger, nullable=False),
    Column("currency", Text),
    Column("bought_at", DateTime(timezone=True), nullable=False),
    # The Idempotency-Key: money is not taken twice, even where its first answer was never kept.
    Column("key", Text),
    UniqueConstraint("contract_id", "key"),
    schema="gateway",
)
Index("ix_pack_purchase_contract_id", purchases.c.contract_id, purchases.c.purchase_id)

_TAKE = """
UPDATE gateway.pack_balance
SET used = used + least($2, bought - used), granted = least($2, bought - used)
WHERE contract_id = $1 RETURNING bought, used, granted
"""
_SOLD = """
SELECT contract_id, sum(packs)::bigint, sum(price_minor)::bigint FROM gateway.pack_purchase
WHERE contract_id = ANY($3) AND bought_at >= $1 AND bought_at < $2 GROUP BY contract_id
"""
_GIVE_BACK = "UPDATE gateway.pack_balance SET used = used - $2 WHERE contract_id = $1"


async def take(connection: Hot, contract_id: str, wanted: int) -> tuple[int, int, int]:
    """Take calls: how many were ever bought, are used now, and were given out."""
    row = await connection.fetchrow(_TAKE, contract_id, wanted)
    return (0, 0, 0) if row is None else (row["bought"], row["used"], row["granted"])


async def give_back(connection: Hot, contract_id: str, calls: int) -> None:
    """Of what was taken some came to nothing."""
    await connection.execute(_GIVE_BACK, contract_id, calls)


class SqlBook:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def buy(self, bought: Purchase, bargain: Bargain, key: str | None) -> Purchase:
        kept = await self._connection.execute(
            insert(purchases)
            .values(**_to_row(bought), key=key)
            .on_conflict_do_nothing(index_elements=["contract_id", "key"])
            .returning(purchases.c.purchase_id)
        )
        if kept.first() is None:
            return await self._bought_with(bought.contract_id, key)
        await self._connection.execute(
            insert(balances)
            .values(contract_id=bought.contract_id, bought=bought.calls, used=0, granted=0)
            .on_conflict_do_update(
                index_elements=["contract_id"], set_={"bought": balances.c.bought + bought.calls}
            )
        )
        await append(self._connection, [_event(bought, bargain)])
        return bought

    async def _bought_with(self, contract_id: str, key: str | None) -> Purchase:
        query = select(purchases).where(
            purchases.c.contract_id == contract_id, purchases.c.key == key
        )
        return _to_purchase((await self._connection.execute(query)).one())

    async def balance(self, contract_id: str) -> Balance:
        query = select(balances).where(balances.c.contract_id == contract_id)
        row = (await self._connection.execute(query)).first()
        return Balance() if row is None else Balance(row.bought, row.used)

    async def purchases(
        self, contract_id: str, *, before: str | None, limit: int
    ) -> Sequence[Purchase]:
        query = select(purchases).where(purchases.c.contract_id == contract_id)
        if before is not None:
            query = query.where(purchases.c.purchase_id < before)
        query = query.order_by(purchases.c.purchase_id.desc()).limit(limit)
        return [_to_purchase(row) for row in await self._connection.execute(query)]


class SqlBooks:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlBook]:
        async with self._database.begin() as connection:
            yield SqlBook(connection)


class SqlSales:
    """What was sold in packs, for who bills it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def between(
        self, begins: datetime, ends: datetime, contract_ids: Sequence[str]
    ) -> Sequence[Sold]:
        """What was bought from a moment until just before another, by contract."""
        async with self._database.hot() as connection:
            rows = await connection.fetch(_SOLD, begins, ends, list(contract_ids))
        return [Sold(*row) for row in rows]


def _to_row(bought: Purchase) -> dict[str, Any]:
    return {
        "purchase_id": bought.purchase_id,
        "contract_id": bought.contract_id,
        "packs": bought.packs,
        "calls": bought.calls,
        "price_minor": bought.price_minor,
        "currency": bought.currency,
        "bought_at": bought.bought_at,
    }


def _to_purchase(row: Any) -> Purchase:
    return Purchase(
        purchase_id=row.purchase_id,
        contract_id=row.contract_id,
        packs=row.packs,
        calls=row.calls,
        price_minor=row.price_minor,
        currency=row.currency,
        bought_at=row.bought_at,
    )


def _event(bought: Purchase, bargain: Bargain) -> NewEvent:
    body = {
        "contract": bought.contract_id,
        "purchase_id": bought.purchase_id,
        "requester": bargain.requester,
        "provider": bargain.provider,
        "packs": bought.packs,
        "calls": bought.calls,
        "price_minor": bought.price_minor,
        "currency": bought.currency,
    }
    stream = f"packs:{bought.contract_id}"
    return NewEvent(stream, EventType.PACK_BOUGHT, bargain.requester, body, bought.bought_at)
