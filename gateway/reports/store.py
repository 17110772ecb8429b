"""Days of calls on PostgreSQL: rolled up when they are over, read from the records until then.

A day whose records came late is read from the records, too, until it is rolled up anew: so no
figure is older than the records.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

import gateway.packs.store
import gateway.usage.store  # noqa: F401  whose tables they are
from gateway.monitoring.model import TooMuchToReckon
from gateway.reports.model import (
    DAY,
    GROWTH,
    By,
    Counts,
    Every,
    Key,
    Question,
    Spending,
    UsedOn,
    days,
)
from gateway.usage.model import UsageRecord
from kit.database import Database, metadata
from marketplace.offerings.rating import Quarter
from roaming.party import PartyId

rolled_days = Table(
    "usage_day",
    metadata,
    Column("day", Date, primary_key=True),
    # "": what went through without a contract.
    Column("contract_id", Text, primary_key=True),
    Column("service", Text, primary_key=True),
    Column("major", Integer, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("requester", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("billable_calls", BigInteger, nullable=False),
    Column("caller_errors", BigInteger, nullable=False),
    Column("provider_errors", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("units", BigInteger, nullable=False),
    # How long calls took: classes of times, and how many fell into each.
    Column("times", ARRAY(Integer), nullable=False),
    Column("counts", ARRAY(BigInteger), nullable=False),
    schema="gateway",
)
Index("ix_usage_day_provider", rolled_days.c.provider, rolled_days.c.day)
Index("ix_usage_day_requester", rolled_days.c.requester, rolled_days.c.day)
state = Table(
    "usage_rolled",
    metadata,
    # There is one row.
    Column("one", Integer, primary_key=True, autoincrement=False),
    # Days before this one are rolled up, with all that was written before `seen_at`.
    Column("behind", Date, nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    schema="gateway",
)

PATIENCE_S = 10
CALLS_AT_ONCE = 5_000
_CANCELLED = "57014"
# A transaction that writes records takes no longer (COMMIT_WITHIN_S), so none is overlooked.
OVERLAP = timedelta(minutes=1)
# A day is rolled up when most of what belongs to it has come.
SETTLED = timedelta(hours=1)

_EVER = date(1970, 1, 1)
# One plan for all times asked would be that for the longest: a day would cost as much as a year.
_PLANNED_ANEW = text("SET LOCAL plan_cache_mode = force_custom_plan")

# What a day of the records comes to, as it is rolled up: live and rolled days are the same figures.
_LIVE = f"""
own AS (
  SELECT d.day, coalesce(u.contract_id, '') AS contract_id, u.service, u.major, u.provider,
    u.requester, u.status, u.billable, u.bytes_in + u.bytes_out AS bytes, u.units,
    ceil(ln(greatest(u.duration_us, 1)) / ln({GROWTH}))::int AS took
  FROM unnest(CAST(:live AS date[])) AS d(day)
  JOIN gateway.usage AS u ON u.at >= (d.day::timestamp AT TIME ZONE 'UTC')
    AND u.at < ((d.day + 1)::timestamp AT TIME ZONE 'UTC')
  WHERE NOT u.sandbox
    AND (CAST(:party AS text) IS NULL OR u.requester = :party OR u.provider = :party)
    AND (CAST(:partner AS text) IS NULL OR u.requester = :partner OR u.provider = :partner)
    AND (CAST(:service AS text) IS NULL OR u.service = :service)
    AND (CAST(:contract_id AS text) IS NULL OR u.contract_id = :contract_id)
), by_time AS (
  SELECT day, contract_id, service, major, provider, requester, took, count(*) AS calls,
    count(*) FILTER (WHERE billable) AS billable_calls,
    count(*) FILTER (WHERE status BETWEEN 400 AND 499) AS caller_errors,
    count(*) FILTER (WHERE status >= 500) AS provider_errors,
    coalesce(sum(bytes) FILTER (WHERE billable), 0) AS bytes,
    coalesce(sum(units) FILTER (WHERE billable), 0) AS units
  FROM own GROUP BY day, contract_id, service, major, provider, requester, took
), live AS (
  SELECT day, contract_id, service, major, provider, requester, sum(calls)::bigint AS calls,
    sum(billable_calls)::bigint AS billable_calls, sum(caller_errors)::bigint AS caller_errors,
    sum(provider_errors)::bigint AS provider_errors, sum(bytes)::bigint AS bytes,
    sum(units)::bigint AS units, array_agg(took) AS times, array_agg(calls) AS counts
  FROM by_time GROUP BY day, contract_id, service, major, provider, requester
)"""
_COLUMNS = ", ".join(column.name for column in rolled_days.columns)
_DAYS = f"""
WITH {_LIVE}, days AS (
  SELECT {_COLUMNS} FROM live
  UNION ALL
  SELECT {_COLUMNS} FROM gateway.usage_day
  WHERE day >= :first AND day <= :last AND day <> ALL(CAST(:live AS date[]))
    AND (CAST(:party AS text) IS NULL OR requester = :party OR provider = :party)
    AND (CAST(:partner AS text) IS NULL OR requester = :partner OR provider = :partner)
    AND (CAST(:service AS text) IS NULL OR service = :service)
    AND (CAST(:contract_id AS text) IS NULL OR contract_id = :contract_id)
)"""
# What a row of a report is about, for each way of telling calls apart.
_KEYS = {
    By.CONTRACT: "service, major, contract_id, provider, requester",
    By.SERVICE: "service, major, '' AS contract_id, provider, '' AS requester",
    By.PARTNER: "'' AS service, 0 AS major, '' AS contract_id, provider, requester",
    By.TOTAL: "'' AS service, 0 AS major, '' AS contract_id, '' AS provider, '' AS requester",
}
_STEPS = {
    Every.DAY: "day",
    Every.MONTH: "greatest(date_trunc('month', day)::date, CAST(:first AS date))",
    Every.WHOLE: "CAST(:first AS date)",
}
_KEY = "step, service, major, contract_id, provider, requester"
_SUMS = ", ".join(
    f"sum({name})::bigint AS {name}"
    for name in (
        *("calls", "billable_calls", "caller_errors", "provider_errors", "bytes", "units"),
    )
)


def _counted(by: By, every: Every) -> Any:
    return text(
        f"""{_DAYS}, keyed AS (
  SELECT {_STEPS[every]} AS step, {_KEYS[by]}, calls, billable_calls, caller_errors,
    provider_errors, bytes, units, times, counts
  FROM days
), summed AS (
  SELECT {_KEY}, {_SUMS} FROM keyed GROUP BY {_KEY}
), spread AS (
  SELECT {_KEY}, t.took, sum(t.n) AS n
  FROM keyed, unnest(times, counts) AS t(took, n) GROUP BY {_KEY}, t.took
), ranked AS (
  SELECT {_KEY}, took, sum(n) OVER (PARTITION BY {_KEY} ORDER BY took) AS upto,
    sum(n) OVER (PARTITION BY {_KEY}) AS all_calls
  FROM spread
), percentiles AS (
  SELECT {_KEY}, min(took) FILTER (WHERE upto >= all_calls * 0.5) AS p50,
    min(took) FILTER (WHERE upto >= all_calls * 0.95) AS p95,
    min(took) FILTER (WHERE upto >= all_calls * 0.99) AS p99
  FROM ranked GROUP BY {_KEY}
)
SELECT * FROM summed JOIN percentiles USING ({_KEY})
"""
    )


_COUNTED = {(by, every): _counted(by, every) for by in By for every in Every}
# One row for each day where days are told apart, else for each month, before and in the time asked.
_USED = {
    daily: text(
        f"""{_DAYS}
SELECT contract_id, min(day) AS day, sum(billable_calls)::bigint AS calls,
  sum(bytes)::bigint AS bytes, sum(units)::bigint AS units
FROM days WHERE billable_calls > 0
GROUP BY contract_id, {"day" if daily else "date_trunc('month', day), day >= :begins"}
ORDER BY contract_id, day
"""
    )
    for daily in (True, False)
}
_QUARTERS = text(
    """
SELECT contract_id, date_bin('15 minutes', at, '2000-01-01T00:00:00Z') AS begins_at,
  count(*) AS calls, sum(bytes_in + bytes_out)::bigint AS bytes, sum(units)::bigint AS units
FROM gateway.usage
WHERE at >= :since AND at < :until AND billable AND NOT sandbox AND contract_id = ANY(:contracts)
  AND (CAST(:party AS text) IS NULL OR requester = :party OR provider = :party)
GROUP BY contract_id, begins_at ORDER BY contract_id, begins_at
"""
)
_PACKS = text(
    """
SELECT contract_id, (bought_at AT TIME ZONE 'UTC')::date AS day, price_minor
FROM gateway.pack_purchase
WHERE contract_id = ANY(:contracts) AND bought_at >= :since AND bought_at < :until
"""
)
_LATE = text(
    """
SELECT DISTINCT (at AT TIME ZONE 'UTC')::date AS day FROM gateway.usage
WHERE written_at >= :since AND at >= :first AND at < :behind
"""
)
# Each half goes along an index of its own, from the last call that was told of.
_HALF = """(
  SELECT {columns} FROM gateway.usage
  WHERE {whose} AND at < :until
    AND (at, request_id) > (CAST(:since AS timestamptz), CAST(:after AS text))
    AND (CAST(:partner AS text) IS NULL OR requester = :partner OR provider = :partner)
    AND (CAST(:service AS text) IS NULL OR service = :service)
    AND (CAST(:contract_id AS text) IS NULL OR contract_id = :contract_id)
  ORDER BY at, request_id LIMIT :limit
)"""
_CALL = ", ".join(UsageRecord._fields)
_CALLS = text(
    _HALF.format(columns=_CALL, whose="requester = :party")
    + " UNION ALL "
    + _HALF.format(columns=_CALL, whose="provider = :party AND requester <> :party")
    + " ORDER BY at, request_id LIMIT :limit"
)
_STATE = text("SELECT behind, seen_at FROM gateway.usage_rolled")


class SqlDays:
    """The figures of days, and of what costs money in them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def counted(self, question: Question) -> Sequence[tuple[Key, Counts]]:
        rows = await self._read(
            _COUNTED[question.by, question.every], question, question.first, question.last
        )
        return [(_key(row), _counts(row)) for row in rows]

    async def spent(
        self, question: Question, *, by_quarter: Collection[str], packs: Collection[str]
    ) -> Mapping[str, Spending]:
        begins = question.first.replace(day=1)
        used: dict[str, list[UsedOn]] = {}
        daily = question.every is Every.DAY
        more = {} if daily else {"begins": question.first}
        for row in await self._read(_USED[daily], question, begins, question.last, more):
            one = UsedOn(row.day, row.calls, row.bytes, row.units)
            used.setdefault(row.contract_id, []).append(one)
        quarters: dict[str, list[Quarter]] = {}
        bought: dict[str, list[tuple[date, int]]] = {}
        time_asked = {"since": midnight(begins), "until": midnight(question.behind)}
        async with self._database.begin() as connection:
            if by_quarter:
                asked = time_asked | {"contracts": list(by_quarter), "party": question.party}
                for row in await connection.execute(_QUARTERS, asked):
                    quarter = Quarter(row.begins_at, row.calls, row.bytes, row.units)
                    quarters.setdefault(row.contract_id, []).append(quarter)
            if packs:
                asked = time_asked | {"contracts": list(packs)}
                for row in await connection.execute(_PACKS, asked):
                    bought.setdefault(row.contract_id, []).append((row.day, row.price_minor))
        return {
            one: Spending(used.get(one, ()), quarters.get(one, ()), bought.get(one, ()))
            for one in used.keys() | bought.keys() | quarters.keys()
        }

    async def calls(self, question: Question) -> AsyncIterator[Sequence[UsageRecord]]:
        assert question.party is not None, "records are told to their parties"
        since, after = midnight(question.first), ""
        while True:
            asked = {
                "party": question.party,
                "partner": question.partner,
                "service": question.service,
                "contract_id": question.contract_id,
                "since": since,
                "after": after,
                "until": midnight(question.behind),
                "limit": CALLS_AT_ONCE,
            }
            async with self._database.begin() as connection:
                rows = [UsageRecord(*row) for row in await connection.execute(_CALLS, asked)]
            yield rows
            if len(rows) < CALLS_AT_ONCE:
                return
            since, after = rows[-1].at, rows[-1].request_id

    async def _read(
        self,
        query: Any,
        question: Question,
        first: date,
        last: date,
        more: Mapping[str, Any] | None = None,
    ) -> Sequence[Any]:
        try:
            async with self._database.begin() as connection:
                await connection.execute(text(f"SET LOCAL statement_timeout = '{PATIENCE_S}s'"))
                await connection.execute(_PLANNED_ANEW)
                asked = {
                    "first": first,
                    "last": last,
                    "live": await live_days(connection, first, last),
                    "party": question.party,
                    "partner": question.partner,
                    "service": question.service,
                    "contract_id": question.contract_id,
                    **(more or {}),
                }
                return list(await connection.execute(query, asked))
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _CANCELLED:
                raise
            raise TooMuchToReckon(
                f"these are more calls than can be reckoned in {PATIENCE_S} seconds",
                field="first",
                value=first.isoformat(),
                rule="a shorter time, or one service or contract",
            ) from None


async def live_days(connection: AsyncConnection, first: date, last: date) -> list[date]:
    """The days that are read from the records: not rolled up yet, or late records came for them."""
    rolled = (await connection.execute(_STATE)).first()
    if rolled is None:
        return list(days(first, last))
    late = await _late(connection, rolled.seen_at, first, min(rolled.behind, last + DAY))
    return sorted({*late, *days(max(first, rolled.behind), last)})


async def _late(
    connection: AsyncConnection, seen_at: datetime, first: date, behind: date
) -> list[date]:
    if behind <= first:
        return []
    asked = {"since": seen_at - OVERLAP, "first": midnight(first), "behind": midnight(behind)}
    return [row.day for row in await connection.execute(_LATE, asked)]


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


class SqlRoller:
    """Rolls days up, one after another. One process at a time does; the others do nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self, now: datetime) -> bool:
        """The next day that is over, or else those that late records came for. False: no more."""
        target = (now - SETTLED).astimezone(UTC).date()
        async with self._database.begin() as connection:
            await connection.execute(_PLANNED_ANEW)
            locked = await connection.scalar(
                text("SELECT pg_try_advisory_xact_lock(hashtextextended('usage-days', 0))")
            )
            if not locked:
                return False
            rolled = (await connection.execute(_STATE)).first()
            # The clock of the records, which is the database's own.
            seen_at = await connection.scalar(text("SELECT now()"))
            if rolled is None:
                begins = await connection.scalar(
                    text("SELECT (min(at) AT TIME ZONE 'UTC')::date FROM gateway.usage")
                )
                behind = target if begins is None else min(begins, target)
                await connection.execute(
                    text("INSERT INTO gateway.usage_rolled VALUES (1, :behind, :seen_at)"),
                    {"behind": behind, "seen_at": seen_at},
                )
                return behind < target
            behind = rolled.behind
            if behind < target:
                await _roll(connection, behind)
                behind += DAY
                # What was late before stays so until all days are there.
                seen_at = rolled.seen_at
            else:
                for day in await _late(connection, rolled.seen_at, _EVER, behind):
                    await _roll(connection, day)
            await connection.execute(
                text("UPDATE gateway.usage_rolled SET behind = :behind, seen_at = :seen_at"),
                {"behind": behind, "seen_at": seen_at},
            )
            return bool(behind < target)


async def _roll(connection: AsyncConnection, day: date) -> None:
    nobody = dict.fromkeys(("party", "partner", "service", "contract_id"))
    await connection.execute(rolled_days.delete().where(rolled_days.c.day == day))
    await connection.execute(
        text(
            f"WITH {_LIVE} INSERT INTO gateway.usage_day ({_COLUMNS}) SELECT {_COLUMNS} FROM live"
        ),
        {"live": [day], **nobody},
    )


def _key(row: Any) -> Key:
    return Key(
        row.step,
        row.service or None,
        row.major,
        row.contract_id or None,
        PartyId(row.provider) if row.provider else None,
        PartyId(row.requester) if row.requester else None,
    )


def _counts(row: Any) -> Counts:
    return Counts(
        calls=row.calls,
        billable_calls=row.billable_calls,
        caller_errors=row.caller_errors,
        provider_errors=row.provider_errors,
        bytes=row.bytes,
        units=row.units,
        p50_us=_time_us(row.p50),
        p95_us=_time_us(row.p95),
        p99_us=_time_us(row.p99),
    )


def _time_us(took: int) -> int:
    """The middle of a class of times, as far from its ends by its share."""
    return round(2 * GROWTH**took / (1 + GROWTH))
