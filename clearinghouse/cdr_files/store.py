"""Files and their lines on PostgreSQL. A line's content is kept until it is booked, no longer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from clearinghouse.cdr_files.model import Fault, File, LineOutcome, Reckoning, State
from kit import event_log
from kit.database import Database, Hot, metadata
from kit.encoding import encode_json
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.party import PartyId

files = Table(
    "cdr_file",
    metadata,
    Column("upload_id", Text, primary_key=True),
    Column("operator", Text, nullable=False),
    Column("file_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("begun_at", DateTime(timezone=True), nullable=False),
    Column("touched_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    Column("digest", LargeBinary),
    Column("records", Integer, nullable=False, server_default=text("0")),
    Column("energy_wh", BigInteger, nullable=False, server_default=text("0")),
    Column("totals", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("faults", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("accepted", Integer, nullable=False, server_default=text("0")),
    Column("flagged", Integer, nullable=False, server_default=text("0")),
    Column("rejected", Integer, nullable=False, server_default=text("0")),
    schema="clearinghouse",
)
_TAKEN = "state IN ('booking', 'booked')"
Index(
    "uq_cdr_file_taken_once",
    files.c.operator,
    files.c.file_id,
    unique=True,
    postgresql_where=text(_TAKEN),
)
Index("ix_cdr_file_of_operator", files.c.operator, files.c.file_id, files.c.begun_at)
Index(
    "ix_cdr_file_at_work",
    files.c.touched_at,
    postgresql_where=text("state IN ('receiving', 'booking')"),
)
lines = Table(
    "cdr_file_line",
    metadata,
    Column("upload_id", Text, primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("content", LargeBinary),
    Column("cdr_id", Text),
    Column("state", Text),
    Column("reasons", JSONB),
    ForeignKeyConstraint(["upload_id"], ["clearinghouse.cdr_file.upload_id"], ondelete="CASCADE"),
    schema="clearinghouse",
)
Index(
    "ix_cdr_file_line_waiting",
    lines.c.upload_id,
    lines.c.line,
    postgresql_where=text("content IS NOT NULL"),
)

_COLUMNS = (
    "upload_id, operator, file_id, state, begun_at, finished_at, digest, records, energy_wh,"
    " totals, faults, accepted, flagged, rejected"
)
# The one that was touched longest ago: a file that cannot be booked now holds up no other.
_NEXT = (
    "UPDATE clearinghouse.cdr_file SET touched_at = $1 WHERE upload_id = (SELECT upload_id"
    " FROM clearinghouse.cdr_file WHERE state = 'booking' ORDER BY touched_at LIMIT 1)"
    f" RETURNING {_COLUMNS}"
)
_SETTLE = """
WITH settled AS (
  UPDATE clearinghouse.cdr_file_line AS l
  SET content = NULL, cdr_id = n.cdr_id, state = n.state, reasons = n.reasons::jsonb
  FROM unnest($2::int[], $3::text[], $4::text[], $5::text[]) AS n (line, cdr_id, state, reasons)
  WHERE l.upload_id = $1 AND l.line = n.line AND l.content IS NOT NULL
  RETURNING l.state
)
UPDATE clearinghouse.cdr_file AS f SET
  accepted = f.accepted + (SELECT count(*) FROM settled WHERE state NOT IN ('flagged', 'rejected')),
  flagged = f.flagged + (SELECT count(*) FROM settled WHERE state = 'flagged'),
  rejected = f.rejected + (SELECT count(*) FROM settled WHERE state = 'rejected')
WHERE f.upload_id = $1
"""


class SqlFiles:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, operator: PartyId, file_id: str, now: datetime) -> str:
        upload_id = uuid4().hex
        await self._database.pool.execute(
            "INSERT INTO clearinghouse.cdr_file (upload_id, operator, file_id, state, begun_at,"
            " touched_at) VALUES ($1, $2, $3, 'receiving', $4, $4)",
            upload_id,
            operator,
            file_id,
            now,
        )
        return upload_id

    async def stage(
        self, upload_id: str, lines: Sequence[tuple[int, bytes]], now: datetime
    ) -> None:
        async with self._database.hot() as connection:
            await connection.copy_records_to_table(
                "cdr_file_line",
                schema_name="clearinghouse",
                columns=["upload_id", "line", "content"],
                records=[(upload_id, number, line) for number, line in lines],
            )
            await connection.execute(
                "UPDATE clearinghouse.cdr_file SET touched_at = $2 WHERE upload_id = $1",
                upload_id,
                now,
            )

    async def close(self, upload_id: str, reckoned: Reckoning, now: datetime) -> File:
        operator, file_id = reckoned.caller, reckoned.file_id
        async with self._database.hot() as connection:
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
                f"cdr-file:{operator}:{file_id}",
            )
            taken = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM clearinghouse.cdr_file"
                f" WHERE operator = $1 AND file_id = $2 AND {_TAKEN}",
                operator,
                file_id,
            )
            if taken is not None and not reckoned.faults:
                if bytes(taken["digest"]) == reckoned.digest:
                    await _forget(connection, upload_id)
                    return _to_file(taken)
                reckoned.fault("file-id-taken", f"another file {file_id} was taken")
            state = State.REFUSED if reckoned.faults else State.BOOKING
            row = await connection.fetchrow(
                "UPDATE clearinghouse.cdr_file SET state = $2, touched_at = $3, digest = $4,"
                " records = $5, energy_wh = $6, totals = $7, faults = $8,"
                " finished_at = CASE WHEN $2 = 'refused' THEN $3::timestamptz END"
                f" WHERE upload_id = $1 RETURNING {_COLUMNS}",
                upload_id,
                state.value,
                now,
                reckoned.digest,
                reckoned.records,
                # Beyond what the column holds only where the file lies; it is refused, too.
                max(-(2**63), min(2**63 - 1, reckoned.energy_wh)),
                reckoned.totals,
                [(one.name, one.says, one.line) for one in reckoned.faults],
            )
            assert row is not None
            file = _to_file(row)
            if state is State.REFUSED:
                await connection.execute(
                    "DELETE FROM clearinghouse.cdr_file_line WHERE upload_id = $1", upload_id
                )
                await event_log.append(connection, [_event(file, EventType.CDR_FILE_REFUSED, now)])
        return file

    async def forget(self, upload_id: str) -> None:
        async with self._database.hot() as connection:
            await _forget(connection, upload_id)

    async def forget_broken(self, before: datetime) -> None:
        await self._database.pool.execute(
            "DELETE FROM clearinghouse.cdr_file WHERE state = 'receiving' AND touched_at < $1",
            before,
        )

    async def next_to_book(self, now: datetime) -> File | None:
        row = await self._database.pool.fetchrow(_NEXT, now)
        return None if row is None else _to_file(row)

    async def to_book(self, upload_id: str, most: int) -> Sequence[tuple[int, bytes]]:
        rows = await self._database.pool.fetch(
            "SELECT line, content FROM clearinghouse.cdr_file_line"
            " WHERE upload_id = $1 AND content IS NOT NULL ORDER BY line LIMIT $2",
            upload_id,
            most,
        )
        return [(row["line"], bytes(row["content"])) for row in rows]

    async def settle(self, upload_id: str, outcomes: Sequence[LineOutcome]) -> None:
        await self._database.pool.execute(
            _SETTLE,
            upload_id,
            [one.line for one in outcomes],
            [one.cdr_id for one in outcomes],
            [one.state for one in outcomes],
            [encode_json(one.reasons).decode() for one in outcomes],
        )

    async def finish(self, file: File, now: datetime) -> None:
        async with self._database.hot() as connection:
            row = await connection.fetchrow(
                "UPDATE clearinghouse.cdr_file SET state = 'booked', finished_at = $2"
                " WHERE upload_id = $1 AND state = 'booking'"
                f" RETURNING {_COLUMNS}",
                file.upload_id,
                now,
            )
            if row is not None:
                await event_log.append(
                    connection, [_event(_to_file(row), EventType.CDR_FILE_BOOKED, now)]
                )

    async def find(self, operator: PartyId, file_id: str) -> File | None:
        row = await self._database.pool.fetchrow(
            f"SELECT {_COLUMNS} FROM clearinghouse.cdr_file WHERE operator = $1 AND file_id = $2"
            f" ORDER BY ({_TAKEN}) DESC, begun_at DESC LIMIT 1",
            operator,
            file_id,
        )
        return None if row is None else _to_file(row)

    async def lines(
        self, upload_id: str, *, after: int, state: str | None, limit: int
    ) -> Sequence[LineOutcome]:
        rows = await self._database.pool.fetch(
            "SELECT line, cdr_id, state, reasons FROM clearinghouse.cdr_file_line"
            " WHERE upload_id = $1 AND line > $2 AND ($3::text IS NULL OR state = $3)"
            " ORDER BY line LIMIT $4",
            upload_id,
            after,
            state,
            limit,
        )
        return [
            LineOutcome(
                row["line"],
                row["cdr_id"],
                row["state"],
                [(name, says) for name, says in row["reasons"] or ()],
            )
            for row in rows
        ]


async def _forget(connection: Hot, upload_id: str) -> None:
    await connection.execute("DELETE FROM clearinghouse.cdr_file WHERE upload_id = $1", upload_id)


def _event(file: File, type_: EventType, now: datetime) -> NewEvent:
    return NewEvent(
        stream=f"cdr-files:{file.operator}",
        type=type_,
        party=file.operator,
        body={
            "file_id": file.file_id,
            "records": file.records,
            "accepted": file.accepted,
            "flagged": file.flagged,
            "rejected": file.rejected,
            "faults": [one.name for one in file.faults],
        },
        occurred_at=now,
    )


def _to_file(row: Any) -> File:
    return File(
        upload_id=row["upload_id"],
        operator=PartyId(row["operator"]),
        file_id=row["file_id"],
        state=State(row["state"]),
        begun_at=row["begun_at"],
        finished_at=row["finished_at"],
        digest=None if row["digest"] is None else bytes(row["digest"]),
        records=row["records"],
        energy_wh=row["energy_wh"],
        totals=row["totals"],
        faults=[Fault(*one) for one in row["faults"]],
        accepted=row["accepted"],
        flagged=row["flagged"],
        rejected=row["rejected"],
    )
