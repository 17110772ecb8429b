"""The usage records: written in batches, each once, and added up by contract and day."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import asyncpg
import msgspec
import structlog
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    SmallInteger,
    Table,
    Text,
    text,
)

from gateway.usage.model import BadCursor, DayOfUse, NotRecorded, UsagePage, UsageRecord
from kit.batching import Batcher
from kit.database import Database, metadata
from kit.server_away import AWAY
from kit.worker import Worker
from roaming.party import PartyId

log = structlog.get_logger(__name__)

usage = Table(
    "usage",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("contract_id", Text),
    Column("requester", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("major", SmallInteger, nullable=False),
    Column("operation", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("billable", Boolean, nullable=False),
    Column("sandbox", Boolean, nullable=False, server_default="false"),
    Column("units", BigInteger, nullable=False, server_default="1"),
    Column("written_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    schema="gateway",
)
Index("ix_usage_requester_at", usage.c.requester, usage.c.at)
Index("ix_usage_provider_at", usage.c.provider, usage.c.at)
# Records come nearly in the order of both times, and so a few bytes for every 32 pages find them.
Index(
    "ix_usage_times",
    usage.c.at,
    usage.c.written_at,
    postgresql_using="brin",
    postgresql_with={"pages_per_range": 32, "autosummarize": "on"},
)

_COLUMNS = UsageRecord._fields
_INSERT = (
    f"INSERT INTO gateway.usage ({', '.join(_COLUMNS)})"
    f" VALUES ({', '.join(f'${place}' for place in range(1, len(_COLUMNS) + 1))})"
    # Whose answer was never given away, since nobody knew whether this was written, costs nothing.
    # One that was too long to be held back is told of once more when all of it has been given.
    " ON CONFLICT (request_id) DO UPDATE SET billable = excluded.billable,"
    " status = excluded.status, bytes_out = greatest(usage.bytes_out, excluded.bytes_out),"
    " written_at = now()"
    " WHERE usage.billable AND (NOT excluded.billable OR excluded.bytes_out > usage.bytes_out)"
)

FLUSH_S = 0.1
MOST_IN_ONE_COPY = 5_000
BACK_OFF_MOST_S = 1.0
# A database that hangs is one that is away.
COMMIT_WITHIN_S = 5.0
# So many records may wait in memory for a database that is away; then no call is let through.
MOST_WAITING = 50_000


class SqlMeter:
    """Free calls are written within FLUSH_S, priced ones before `commit` returns."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[UsageRecord] = []
        self._priced: Batcher[UsageRecord, None] = Batcher(self._write)
        self._worker = Worker("usage", self._flush, idle_s=FLUSH_S, back_off_most_s=BACK_OFF_MOST_S)
        self._worker.start()

    @property
    def full(self) -> bool:
        return len(self._waiting) >= MOST_WAITING

    def note(self, record: UsageRecord) -> None:
        self._waiting.append(record)

    async def commit(self, record: UsageRecord) -> None:
        try:
            async with asyncio.timeout(COMMIT_WITHIN_S):
                await self._priced.put(record)
        except AWAY as error:
            log.warning("usage not recorded", request_id=record.request_id, error=repr(error))
            raise NotRecorded("the call cannot be recorded now", rule="try again shortly") from None

    async def close(self) -> None:
        """Write all that is left."""
        await self._worker.close()
        await self._priced.close()
        while await self._flush():
            pass

    async def _flush(self) -> bool:
        batch = self._waiting[:MOST_IN_ONE_COPY]
        if batch:
            await self._write(batch)
            # Only now: a batch whose write fails stays, and is tried again.
            del self._waiting[: len(batch)]
        return bool(self._waiting) and len(batch) == MOST_IN_ONE_COPY

    async def _write(self, records: Sequence[UsageRecord]) -> Sequence[None]:
        """COPY. A batch that may have been written before (its commit was never confirmed) goes
        row by row instead, and leaves what is there as it is; but for a price that is not due.
        """
        try:
            async with self._database.hot() as connection:
                await connection.copy_records_to_table(
                    "usage", schema_name="gateway", columns=_COLUMNS, records=records
                )
        except asyncpg.UniqueViolationError:
            async with self._database.hot() as connection:
                await connection.executemany(_INSERT, records)
        return [None] * len(records)


_BY_DAY = text(
    """
SELECT day, contract_id, requester, provider, service, major, sandbox, count(*) AS calls,
  count(*) FILTER (WHERE billable) AS billable_calls,
  count(*) FILTER (WHERE status >= 400) AS failed_calls,
  sum(bytes_in)::bigint AS bytes_in, sum(bytes_out)::bigint AS bytes_out
FROM (
  SELECT *, (at AT TIME ZONE 'UTC')::date AS day FROM gateway.usage
  WHERE at >= :first AND at < :behind AND (requester = :party OR provider = :party)
    AND (CAST(:contract_id AS text) IS NULL OR contract_id = :contract_id)
) AS own
WHERE CAST(:after_day AS date) IS NULL
  OR (day, coalesce(contract_id, ''), requester, service, major, sandbox)
    > (CAST(:after_day AS date), CAST(:after_contract AS text), CAST(:after_requester AS text),
       CAST(:after_service AS text), CAST(:after_major AS int), CAST(:after_sandbox AS boolean))
GROUP BY day, contract_id, requester, provider, service, major, sandbox
ORDER BY day, coalesce(contract_id, ''), requester, service, major, sandbox
LIMIT :limit
"""
)

_Place = tuple[date, str, str, str, int, bool]
_PLACE: msgspec.json.Decoder[_Place] = msgspec.json.Decoder(_Place)


class SqlUsage:
    """The same records, read by those who called and those who were called."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_day(
        self,
        party: PartyId,
        *,
        first: date,
        last: date,
        contract_id: str | None,
        limit: int,
        cursor: str | None,
    ) -> UsagePage:
        after: _Place | tuple[None, ...] = (None,) * 6 if cursor is None else _place(cursor)
        async with self._database.begin() as connection:
            rows = await connection.execute(
                _BY_DAY,
                {
                    "party": str(party),
                    "first": datetime.combine(first, time(), UTC),
                    "behind": datetime.combine(last, time(), UTC) + timedelta(days=1),
                    "contract_id": contract_id,
                    "after_day": after[0],
                    "after_contract": after[1],
                    "after_requester": after[2],
                    "after_service": after[3],
                    "after_major": after[4],
                    "after_sandbox": after[5],
                    "limit": limit + 1,
                },
            )
            days = [
                DayOfUse(
                    day=row.day,
                    contract_id=row.contract_id,
                    requester=PartyId(row.requester),
                    provider=PartyId(row.provider),
                    service=row.service,
                    major=row.major,
                    calls=row.calls,
                    billable_calls=row.billable_calls,
                    failed_calls=row.failed_calls,
                    bytes_in=row.bytes_in,
                    bytes_out=row.bytes_out,
                    sandbox=row.sandbox,
                )
                for row in rows
            ]
        if len(days) <= limit:
            return UsagePage(days, None)
        return UsagePage(days[:limit], _cursor(days[limit - 1]))


def _cursor(day: DayOfUse) -> str:
    place = (day.day, day.contract_id or "", str(day.requester), day.service, day.major)
    return urlsafe_b64encode(msgspec.json.encode((*place, day.sandbox))).decode()


def _place(cursor: str) -> _Place:
    try:
        return _PLACE.decode(urlsafe_b64decode(cursor.encode()))
    except (ValueError, msgspec.MsgspecError):
        raise BadCursor(
            "no page of usage has this cursor",
            field="cursor",
            value=cursor,
            rule="the cursor of a Link header, as it was given",
        ) from None
