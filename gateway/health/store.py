"""What each process has seen of the endpoints that it calls, for all of them to read."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from sqlalchemy import BigInteger, Boolean, Column, DateTime, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from gateway.health.model import Failed, Place, Report, State
from kit.database import Database, Hot, metadata
from kit.event_log import NewEvent, append
from roaming.events import EventType
from roaming.party import PartyId

endpoint_health = Table(
    "endpoint_health",
    metadata,
    Column("service", Text, primary_key=True),
    Column("major", SmallInteger, primary_key=True),
    Column("sandbox", Boolean, primary_key=True),
    Column("url", Text, primary_key=True),
    Column("process", Text, primary_key=True),
    Column("number", SmallInteger, nullable=False),
    Column("provider", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("well", Boolean, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("failure", Text),
    Column("failed_at", DateTime(timezone=True)),
    Column("spread", JSONB, nullable=False),
    Column("written_at", DateTime(timezone=True), nullable=False),
    schema="gateway",
)
# A row for each endpoint that is down: whoever puts it there, or takes it away, tells of it.
endpoint_outage = Table(
    "endpoint_outage",
    metadata,
    Column("service", Text, primary_key=True),
    Column("major", SmallInteger, primary_key=True),
    Column("sandbox", Boolean, primary_key=True),
    Column("url", Text, primary_key=True),
    Column("began_at", DateTime(timezone=True), nullable=False),
    schema="gateway",
)

# A process that has written nothing for so long is no more.
LIVES = timedelta(seconds=60)
# What has not changed is written again before that, to show that its process lives.
_AGAIN = LIVES / 3

_KEEP = """
INSERT INTO gateway.endpoint_health AS h (service, major, sandbox, url, process, number, provider,
  state, well, calls, failures, failure, failed_at, spread, written_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
ON CONFLICT (service, major, sandbox, url, process) DO UPDATE SET
  number = excluded.number, provider = excluded.provider, state = excluded.state,
  well = excluded.well, calls = excluded.calls, failures = excluded.failures,
  failure = excluded.failure, failed_at = excluded.failed_at, spread = excluded.spread,
  written_at = excluded.written_at
"""
_FORGET = "DELETE FROM gateway.endpoint_health WHERE written_at < $1"
_WENT_DOWN = """
INSERT INTO gateway.endpoint_outage (service, major, sandbox, url, began_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING began_at
"""
# It is back when no process lets it alone, and this one has been answered by it.
_CAME_BACK = """
DELETE FROM gateway.endpoint_outage AS o
WHERE service = $1 AND major = $2 AND sandbox = $3 AND url = $4 AND NOT EXISTS (
  SELECT FROM gateway.endpoint_health AS h
  WHERE (h.service, h.major, h.sandbox, h.url) = (o.service, o.major, o.sandbox, o.url)
    AND h.state = 'open')
RETURNING began_at
"""
_READ = """
SELECT service, major, sandbox, url, number, provider, state, well, calls, failures, failure,
  failed_at, spread
FROM gateway.endpoint_health WHERE service = $1 AND major = $2 AND written_at >= $3
"""


_READ_ALL = """
SELECT service, major, sandbox, url, number, provider, state, well, calls, failures, failure,
  failed_at, spread
FROM gateway.endpoint_health WHERE written_at >= $1
"""


class SqlReports:
    """`process` names this one among all that serve."""

    def __init__(self, database: Database, process: str) -> None:
        self._database = database
        self._process = process
        self._kept: dict[Place, tuple[Report, datetime]] = {}

    async def keep(self, reports: Sequence[Report], now: datetime) -> None:
        changed = [report for report in reports if self._is_news(report, now)]
        if not changed:
            return
        async with self._database.hot() as connection:
            # In one order in every process, so that none waits for another that waits for it.
            changed.sort(key=lambda report: _key(report.place))
            await connection.executemany(_KEEP, [self._row(report, now) for report in changed])
            await connection.execute(_FORGET, now - LIVES)
            events = [await self._change(connection, report, now) for report in changed]
            await append(connection, [event for event in events if event is not None])
        self._kept |= {report.place: (report, now) for report in changed}
        there = {report.place for report in reports}
        for place in [place for place in self._kept if place not in there]:
            del self._kept[place]

    async def read(
        self, name: str, major: int, now: datetime
    ) -> Mapping[tuple[bool, str], Sequence[Report]]:
        async with self._database.hot() as connection:
            rows = await connection.fetch(_READ, name, major, now - LIVES)
        found: dict[tuple[bool, str], list[Report]] = defaultdict(list)
        for row in rows:
            report = _report(row)
            found[report.place.address].append(report)
        return found

    async def everything(self, now: datetime) -> Sequence[Report]:
        """What the processes have seen that still live, of all services."""
        async with self._database.hot() as connection:
            return [_report(row) for row in await connection.fetch(_READ_ALL, now - LIVES)]

    def _is_news(self, report: Report, now: datetime) -> bool:
        kept = self._kept.get(report.place)
        return kept is None or kept[0] != report or now - kept[1] >= _AGAIN

    def _row(self, report: Report, now: datetime) -> tuple[Any, ...]:
        failed = report.failed
        return (
            *_key(report.place),
            self._process,
            report.place.number,
            str(report.provider),
            report.state.value,
            report.well,
            report.calls,
            report.failures,
            None if failed is None else failed.kind,
            None if failed is None else failed.at,
            json.dumps(report.spread),
            now,
        )

    async def _change(self, connection: Hot, report: Report, now: datetime) -> NewEvent | None:
        """The event of an endpoint that went down or came back, where no process told it yet."""
        key = _key(report.place)
        if report.state is State.OPEN:
            began_at = await connection.fetchval(_WENT_DOWN, *key, now)
            kind = EventType.ENDPOINT_WENT_DOWN
        elif report.state is State.CLOSED and report.well:
            began_at = await connection.fetchval(_CAME_BACK, *key)
            kind = EventType.ENDPOINT_CAME_BACK
        else:
            return None
        return None if began_at is None else _told(kind, report, began_at, now)


def _told(kind: EventType, report: Report, began_at: datetime, now: datetime) -> NewEvent:
    """Without the address, which may hold a secret: its place in the catalogue says which it is."""
    place, failed = report.place, report.failed
    body: dict[str, Any] = {
        "service": place.service,
        "major": place.major,
        "environment": "sandbox" if place.sandbox else "live",
        "number": place.number,
        "failure": None if failed is None else failed.kind,
    }
    if kind is EventType.ENDPOINT_CAME_BACK:
        body["down_s"] = round((now - began_at).total_seconds(), 1)
    stream = f"endpoints:{place.service}:{place.major}"
    return NewEvent(stream, kind, str(report.provider), body, now)


def _key(place: Place) -> tuple[str, int, bool, str]:
    return place.service, place.major, place.sandbox, place.url


def _report(row: asyncpg.Record) -> Report:
    return Report(
        place=Place(row["service"], row["major"], row["sandbox"], row["number"], row["url"]),
        provider=PartyId(row["provider"]),
        state=State(row["state"]),
        well=row["well"],
        calls=row["calls"],
        failures=row["failures"],
        failed=None if row["failure"] is None else Failed(row["failure"], row["failed_at"]),
        spread={int(step): count for step, count in json.loads(row["spread"]).items()},
    )
