"""Records on PostgreSQL. What may be booked once is unique there, not only here.

A record's `log_position` is that of the event that told of it: its number in this table, and the
id of its posting in the ledger.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, cast

from sqlalchemy import BigInteger, Column, DateTime, Index, LargeBinary, Numeric, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from clearinghouse.cdrs.life import State
from clearinghouse.cdrs.model import Cdr, Key
from clearinghouse.cdrs.ports import CHANNEL
from clearinghouse.cdrs.rows import COLUMNS, WRITTEN, row_of, to_cdr
from clearinghouse.exposure import store as exposure
from clearinghouse.ledger import store as ledger
from clearinghouse.ledger.model import Kind, Posting, charge_entries, credit_entries
from clearinghouse.periods import store as periods
from kit import event_log
from kit.database import Database, Hot, metadata
from kit.event_log import Cursor, NewEvent, Xid8
from roaming.contract_id import ContractId
from roaming.money import Money
from roaming.party import PartyId

# Identifiers compare byte by byte: an index on them is smaller work than one of a language.
_Identifier = Text(collation="C")

cdrs = Table(
    "cdr",
    metadata,
    Column("log_position", BigInteger, primary_key=True, autoincrement=False),
    Column("log_xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("operator", _Identifier, nullable=False),
    Column("cdr_id", _Identifier, nullable=False),
    Column("state", Text, nullable=False),
    Column("reasons", JSONB, nullable=False),
    Column("evse_id", _Identifier, nullable=False),
    Column("authorisation_id", Text),
    Column("told_contract_id", Text),
    Column("token_uid", Text),
    Column("evsp", _Identifier),
    Column("contract_id", Text),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True), nullable=False),
    Column("told_time_zone", Text),
    Column("energy_wh", BigInteger, nullable=False),
    Column("periods", JSONB, nullable=False),
    Column("signed_meter_values", JSONB, nullable=False),
    Column("agreement_id", Text),
    Column("time_zone", Text),
    Column("currency", Text),
    Column("excl_vat_minor", BigInteger),
    Column("vat_minor", BigInteger),
    Column("price_lines", JSONB, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("fingerprint", LargeBinary),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("notices", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("total_cost", JSONB),
    Column("credit_reference_id", Text),
    Column("replaces", Text),
    Column("moved_to", DateTime(timezone=True)),
    Column("clearing_group", Text),
    Column("vat_rule", Text),
    Column("vat_category", Text),
    Column("vat_percent", Numeric),
    Column("meter_check", JSONB),
    schema="clearinghouse",
)
_BOOKED = "state <> 'rejected'"
Index(
    "uq_cdr_booked_once",
    cdrs.c.operator,
    cdrs.c.cdr_id,
    unique=True,
    postgresql_where=text(_BOOKED),
)
Index(
    "uq_cdr_content_once",
    cdrs.c.fingerprint,
    unique=True,
    postgresql_where=text(_BOOKED),
)
Index(
    "ix_cdr_rejected",
    cdrs.c.operator,
    cdrs.c.cdr_id,
    cdrs.c.log_position,
    postgresql_where=text("state = 'rejected'"),
)
Index(
    "ix_cdr_of_evsp",
    cdrs.c.evsp,
    cdrs.c.log_xid,
    cdrs.c.log_position,
    postgresql_where=text(_BOOKED),
)
Index(
    "ix_cdr_on_evse",
    cdrs.c.evse_id,
    cdrs.c.ended_at,
    cdrs.c.started_at,
    postgresql_where=text(_BOOKED),
)
# What a customer has spent in a month.
Index(
    "ix_cdr_of_contract",
    cdrs.c.contract_id,
    cdrs.c.started_at,
    postgresql_where=text(_BOOKED),
)
Index("ix_cdr_of_operator", cdrs.c.operator, cdrs.c.log_xid, cdrs.c.log_position)
_KEYS = "unnest($1::text[], $2::text[]) AS k (operator, cdr_id)"
# "lateral" with a limit makes each key one probe of its index, whatever the planner believes of
# a table that grows by thousands of rows a second.
_FIND_BOOKED = (
    f"SELECT {COLUMNS} FROM {_KEYS} CROSS JOIN LATERAL (SELECT * FROM clearinghouse.cdr AS b"
    f" WHERE b.operator = k.operator AND b.cdr_id = k.cdr_id AND b.{_BOOKED} LIMIT 1) AS c"
)
_FIND_REJECTED = (
    f"SELECT {COLUMNS} FROM {_KEYS} CROSS JOIN LATERAL (SELECT * FROM clearinghouse.cdr AS r"
    " WHERE r.operator = k.operator AND r.cdr_id = k.cdr_id AND r.state = 'rejected'"
    " ORDER BY r.log_position DESC LIMIT 1) AS c"
)
_FIND_FINGERPRINTS = (
    "SELECT f.fingerprint, c.cdr_id FROM unnest($1::bytea[]) AS f (fingerprint)"
    " CROSS JOIN LATERAL (SELECT b.cdr_id FROM clearinghouse.cdr AS b"
    f" WHERE b.fingerprint = f.fingerprint AND b.{_BOOKED} LIMIT 1) AS c"
)
# In the order of their end, charges of before are not even looked at; nor those of long after.
_FIND_OVERLAPPING = (
    "SELECT k.operator, k.cdr_id, other.cdr_id AS other FROM unnest($1::text[], $2::text[],"
    " $3::text[], $4::timestamptz[], $5::timestamptz[])"
    " AS k (operator, cdr_id, evse_id, started_at, ended_at)"
    " CROSS JOIN LATERAL (SELECT b.cdr_id FROM clearinghouse.cdr AS b"
    f" WHERE b.evse_id = k.evse_id AND b.{_BOOKED}"
    " AND b.ended_at > k.started_at AND b.ended_at < k.ended_at + interval '24 hours'"
    " AND b.started_at < k.ended_at AND b.state NOT IN ('credited', 'revised')"
    " AND b.credit_reference_id IS NULL"
    " AND (b.operator, b.cdr_id) <> (k.operator, k.cdr_id)"
    " ORDER BY b.ended_at LIMIT 1) AS other"
)
_HOLD = (
    f"SELECT c.operator, c.cdr_id, c.state FROM {_KEYS} JOIN clearinghouse.cdr AS c"
    f" ON c.operator = k.operator AND c.cdr_id = k.cdr_id AND c.{_BOOKED}"
    " WHERE c.evsp = $3 ORDER BY c.operator, c.cdr_id FOR UPDATE OF c"
)
_MOVE = (
    "UPDATE clearinghouse.cdr AS c SET state = k.state"
    " FROM unnest($1::text[], $2::text[], $3::text[]) AS k (operator, cdr_id, state)"
    f" WHERE c.operator = k.operator AND c.cdr_id = k.cdr_id AND c.{_BOOKED}"
)
_SPENT = f"""
SELECT k.contract_id, k.day, c.currency, sum(c.excl_vat_minor)::bigint AS month_minor,
  coalesce(sum(c.excl_vat_minor) FILTER (WHERE c.started_at >= k.day
    AND c.started_at < k.day + interval '1 day'), 0)::bigint AS day_minor
FROM (SELECT *, date_trunc('month', day, 'UTC') AS month
    FROM unnest($1::text[], $2::timestamptz[]) AS u (contract_id, day)) AS k
JOIN clearinghouse.cdr AS c ON c.contract_id = k.contract_id AND c.started_at >= k.month
  AND c.started_at < date_trunc('month', k.month + interval '32 days', 'UTC') AND c.{_BOOKED}
GROUP BY 1, 2, 3
"""
# Sorted, so that two writers never wait for each other in a circle.
_LOCK = (
    "SELECT pg_advisory_xact_lock(hash) FROM (SELECT DISTINCT hashtextextended('cdrs:' || o, 0)"
    " AS hash FROM unnest($1::text[]) AS o ORDER BY hash) AS sorted"
)
_CHANGE = """
UPDATE clearinghouse.cdr AS c SET state = n.state, fingerprint = n.fingerprint
FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[])
  AS n (operator, cdr_id, state, fingerprint)
WHERE c.operator = n.operator AND c.cdr_id = n.cdr_id AND c.state <> 'rejected'
"""
# A reader that stops at the oldest running transaction never skips the record of a slow writer.
_FENCE = "c.log_xid < pg_snapshot_xmin(pg_current_snapshot())"
_BEHIND = "(c.log_xid, c.log_position) > ($2::bigint::text::xid8, $3::bigint)"
_WANTED = (
    "($4::timestamptz IS NULL OR c.recorded_at >= $4) AND ($5::text IS NULL OR c.state = $5)"
    " ORDER BY c.log_xid, c.log_position LIMIT $6"
)
# Two walks along two indexes, each with the limit: cheaper than one "or" over all.
_PAGE = f"""
SELECT * FROM (
  (SELECT {COLUMNS} FROM clearinghouse.cdr AS c
    WHERE c.operator = $1 AND {_BEHIND} AND {_FENCE} AND {_WANTED})
  UNION ALL
  (SELECT {COLUMNS} FROM clearinghouse.cdr AS c
    WHERE c.evsp = $1 AND c.operator <> $1 AND c.{_BOOKED} AND {_BEHIND} AND {_FENCE} AND {_WANTED})
) AS both_roles ORDER BY log_xid, log_position LIMIT $6
"""
_NEXT_FOR_EVSP = (
    f"SELECT {COLUMNS} FROM clearinghouse.cdr AS c"
    f" WHERE c.evsp = $1 AND c.{_BOOKED} AND {_BEHIND} AND {_FENCE}"
    " AND c.log_xid < coalesce($5::bigint, 9223372036854775807)::text::xid8"
    " ORDER BY c.log_xid, c.log_position LIMIT $4"
)
_UP_TO = (
    f"SELECT {COLUMNS} FROM clearinghouse.cdr AS c WHERE c.evsp = $1 AND c.{_BOOKED} AND {_BEHIND}"
    " AND (c.log_xid, c.log_position) <= ($4::bigint::text::xid8, $5::bigint)"
    " ORDER BY c.log_xid, c.log_position"
)


class SqlBook:
    """Records in one open transaction."""

    def __init__(self, connection: Hot) -> None:
        self._connection = connection

    async def booked(self, keys: Collection[Key]) -> Mapping[Key, Cdr]:
        return await self._by_key(_FIND_BOOKED, keys)

    async def rejected(self, keys: Collection[Key]) -> Mapping[Key, Cdr]:
        return await self._by_key(_FIND_REJECTED, keys)

    async def _by_key(self, query: str, keys: Collection[Key]) -> Mapping[Key, Cdr]:
        if not keys:
            return {}
        rows = await self._connection.fetch(
            query, [one for one, _ in keys], [one for _, one in keys]
        )
        return {cdr.key: cdr for cdr in map(to_cdr, rows)}

    async def fingerprints(self, fingerprints: Collection[bytes]) -> Mapping[bytes, str]:
        if not fingerprints:
            return {}
        rows = await self._connection.fetch(_FIND_FINGERPRINTS, list(fingerprints))
        return {bytes(row["fingerprint"]): row["cdr_id"] for row in rows}

    async def overlapping(self, cdrs: Sequence[Cdr]) -> Mapping[Key, str]:
        if not cdrs:
            return {}
        told = [cdr.submission for cdr in cdrs]
        rows = await self._connection.fetch(
            _FIND_OVERLAPPING,
            [one.operator for one in told],
            [one.cdr_id for one in told],
            [one.evse_id for one in told],
            [one.start for one in told],
            [one.end for one in told],
        )
        return {(PartyId(row["operator"]), row["cdr_id"]): row["other"] for row in rows}

    async def held(self, evsp: PartyId, keys: Collection[Key]) -> Mapping[Key, State]:
        rows = await self._connection.fetch(
            _HOLD, [one for one, _ in keys], [one for _, one in keys], evsp
        )
        return {(PartyId(row["operator"]), row["cdr_id"]): State(row["state"]) for row in rows}

    async def move(self, states: Mapping[Key, State], events: Sequence[NewEvent]) -> None:
        await event_log.append(self._connection, events)
        await self._connection.execute(
            _MOVE,
            [operator for operator, _ in states],
            [cdr_id for _, cdr_id in states],
            [state.value for state in states.values()],
        )

    async def value_dates(self, instants: Sequence[datetime]) -> Sequence[datetime]:
        return await periods.value_dates(self._connection, instants)

    async def record(
        self,
        cdrs: Sequence[Cdr],
        events: Sequence[NewEvent],
        changed: Sequence[Cdr] = (),
        *,
        disputed: bool = False,
    ) -> None:
        """`disputed`: what is credited waits among the disputed."""
        if changed:
            # First: what takes the place of a record may have its content.
            await change(self._connection, changed)
        told = await event_log.append(self._connection, events)
        positions = [cursor.position for cursor in told]
        # COPY: half the work of an INSERT from arrays, on either side.
        await self._connection.copy_records_to_table(
            "cdr",
            schema_name="clearinghouse",
            columns=WRITTEN,
            records=map(row_of, cdrs, positions),
        )
        await ledger.post(
            self._connection,
            [
                _posting(cdr, position, disputed=disputed)
                for cdr, position in zip(cdrs, positions, strict=True)
                if cdr.booked
            ],
            cdrs[0].recorded_at,
        )
        await _release(self._connection, cdrs)
        evsps = sorted({cdr.evsp for cdr in cdrs if cdr.booked and cdr.evsp is not None})
        if evsps:
            await self._connection.execute("SELECT pg_notify($1, $2)", CHANNEL, notice_of(evsps))


async def _release(connection: Hot, cdrs: Sequence[Cdr]) -> None:
    """What was held for these charges is owed now, or part of it: in one commit."""
    told = [
        cdr.submission for cdr in cdrs if cdr.booked and cdr.submission.credit_reference_id is None
    ]
    if not told:
        return
    await exposure.release(
        connection,
        [(one.operator, one.authorisation_id) for one in told if one.authorisation_id is not None],
        [
            (cdr.contract_id, cdr.submission.evse_id, cdr.submission.end)
            for cdr in cdrs
            if cdr.booked
            and cdr.contract_id is not None
            and cdr.submission.authorisation_id is None
            and cdr.submission.credit_reference_id is None
        ],
        cdrs[0].recorded_at,
    )


async def change(connection: Hot, cdrs: Sequence[Cdr]) -> None:
    """Keep the new state of booked records; the caller holds their operators' lock."""
    await connection.execute(
        _CHANGE,
        [one.submission.operator for one in cdrs],
        [one.submission.cdr_id for one in cdrs],
        [one.state.value for one in cdrs],
        [one.fingerprint for one in cdrs],
    )


# PostgreSQL refuses payloads of 8,000 bytes and more.
_MOST_NAMED = 500


def notice_of(evsps: Sequence[PartyId]) -> str:
    """The payload of a notice on CHANNEL: whom it concerns, or nothing for "look at all"."""
    return json.dumps(evsps) if len(evsps) <= _MOST_NAMED else ""


async def hold(connection: Hot, operators: Collection[PartyId]) -> None:
    """Until the commit nobody else writes records of these operators, and no month is closed."""
    await connection.execute(_LOCK, list(operators))
    await periods.hold_open(connection)


class SqlBooks:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlBook]:
        async with self._database.pool.acquire() as connection:
            yield SqlBook(cast(Hot, connection))

    @asynccontextmanager
    async def write(self, operators: Collection[PartyId]) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            await hold(connection, operators)
            yield SqlBook(connection)

    async def page(
        self,
        party: PartyId,
        *,
        after: Cursor,
        since: datetime | None,
        state: State | None,
        limit: int,
    ) -> Sequence[tuple[Cursor, Cdr]]:
        async with self._database.hot() as connection:
            rows = await connection.fetch(
                _PAGE, party, *after, since, None if state is None else state.value, limit
            )
        return [(cursor_of(row), to_cdr(row)) for row in rows]

    async def find(self, party: PartyId, operator: PartyId, cdr_id: str) -> Cdr | None:
        async with self._database.hot() as connection:
            book = SqlBook(connection)
            key = (operator, cdr_id)
            found = (await book.booked([key])).get(key) or (await book.rejected([key])).get(key)
        if found is None or (party != operator and not (found.booked and found.evsp == party)):
            return None
        return found


async def next_for_evsp(
    connection: Hot, evsp: PartyId, after: Cursor, limit: int, before_xid: int | None = None
) -> list[tuple[Cursor, Cdr]]:
    """The next booked records of an EVSP behind a cursor; none skipped, none unfinished.

    With `before_xid`, only those of earlier transactions.
    """
    rows = await connection.fetch(_NEXT_FOR_EVSP, evsp, *after, limit, before_xid)
    return [(cursor_of(row), to_cdr(row)) for row in rows]


async def between(
    connection: Hot, evsp: PartyId, after: Cursor, up_to: Cursor
) -> list[tuple[Cursor, Cdr]]:
    """The booked records of an EVSP behind one cursor, up to another."""
    rows = await connection.fetch(_UP_TO, evsp, *after, *up_to)
    return [(cursor_of(row), to_cdr(row)) for row in rows]


async def spent(
    connection: Hot, asked: Collection[tuple[ContractId, datetime]]
) -> Mapping[tuple[ContractId, datetime], tuple[list[Money], list[Money]]]:
    """What customers have been charged without VAT, on a day and in its month, by currency.

    A charge counts to the day on which it began; what was credited is taken off again.
    """
    keys = list(asked)
    rows = await connection.fetch(_SPENT, [one for one, _ in keys], [one for _, one in keys])
    found: dict[tuple[ContractId, datetime], tuple[list[Money], list[Money]]] = {}
    for row in rows:
        day, month = found.setdefault((ContractId(row["contract_id"]), row["day"]), ([], []))
        day.append(Money(row["day_minor"], row["currency"]))
        month.append(Money(row["month_minor"], row["currency"]))
    return found


async def count_by_state(connection: Hot) -> tuple[dict[str, int], int]:
    """How many records there are in each state, and the energy of the booked ones in Wh."""
    rows = await connection.fetch(
        "SELECT state, count(*), coalesce(sum(CASE WHEN credit_reference_id IS NULL"
        " THEN energy_wh ELSE -energy_wh END), 0)::bigint AS energy_wh"
        f" FROM {cdrs.fullname} GROUP BY state"
    )
    booked_wh = sum(row["energy_wh"] for row in rows if row["state"] != State.REJECTED.value)
    return {row["state"]: row["count"] for row in rows}, booked_wh


def cursor_of(row: Any) -> Cursor:
    return Cursor(row["log_xid"], row["log_position"])


def _posting(cdr: Cdr, position: int, *, disputed: bool) -> Posting:
    assert cdr.evsp is not None
    assert cdr.rated is not None
    told, rated = cdr.submission, cdr.rated
    parties = (cdr.evsp, told.operator)
    if told.credit_reference_id is None:
        kind = Kind.CHARGE
        entries = charge_entries(*parties, rated.excl_vat, rated.vat, rated.clearing_group)
    else:
        kind = Kind.CREDIT
        entries = credit_entries(
            *parties, -rated.excl_vat, -rated.vat, rated.clearing_group, disputed=disputed
        )
    return Posting(
        posting_id=position,
        kind=kind,
        book=told.operator,
        operator=told.operator,
        cdr_id=told.cdr_id,
        value_at=cdr.value_at,
        entries=entries,
    )
