"""Figures out of the usage records as they are, so they are never older than the records."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

import gateway.usage.store  # noqa: F401  whose table it is
from gateway.monitoring.model import STEP, By, Figures, Page, Question, TooMuchToReckon
from gateway.usage.model import BadCursor
from kit.database import Database
from roaming.party import PartyId

PATIENCE_S = 10
_CANCELLED = "57014"

_FIGURES = text(
    """
SELECT * FROM (
  SELECT begins_at, service, major, contract_id, operation, count(*) AS calls,
    count(*) FILTER (WHERE status BETWEEN 400 AND 499) AS caller_errors,
    count(*) FILTER (WHERE status >= 500) AS provider_errors,
    percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_us) AS times
  FROM (
    SELECT service, major, status, duration_us,
      CASE WHEN CAST(:step AS interval) IS NULL THEN CAST(:since AS timestamptz)
        ELSE date_bin(CAST(:step AS interval), at, CAST(:since AS timestamptz)) END AS begins_at,
      CASE WHEN :by_contract THEN coalesce(contract_id, '') ELSE '' END AS contract_id,
      CASE WHEN :by_operation THEN operation ELSE '' END AS operation
    FROM gateway.usage
    WHERE at >= :since AND at < :until AND sandbox = :sandbox
      AND (CAST(:party AS text) IS NULL OR requester = :party OR provider = :party)
      AND (CAST(:service AS text) IS NULL OR service = :service)
      AND (CAST(:contract_id AS text) IS NULL OR contract_id = :contract_id)
      AND (CAST(:operation AS text) IS NULL OR operation = :operation)
  ) AS own
  GROUP BY begins_at, service, major, contract_id, operation
) AS figures
WHERE CAST(:after_at AS timestamptz) IS NULL
  OR (begins_at, service, major, contract_id, operation)
    > (CAST(:after_at AS timestamptz), CAST(:after_service AS text), CAST(:after_major AS int),
       CAST(:after_contract AS text), CAST(:after_operation AS text))
ORDER BY begins_at, service, major, contract_id, operation
LIMIT :limit
"""
)

_Place = tuple[datetime, str, int, str, str]
_PLACE: msgspec.json.Decoder[_Place] = msgspec.json.Decoder(_Place)


class SqlRecords:
    """Percentiles are exact: they are taken from the calls, not from sums of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def figures(
        self, party: PartyId | None, question: Question, *, limit: int, cursor: str | None
    ) -> Page:
        after: _Place | tuple[None, ...] = (None,) * 5 if cursor is None else _place(cursor)
        step = STEP.get(question.every)
        asked = {
            "party": None if party is None else str(party),
            "since": question.since,
            "until": question.until,
            "step": step,
            "by_contract": question.by is not By.SERVICE,
            "by_operation": question.by is By.OPERATION,
            "service": question.service,
            "contract_id": question.contract_id,
            "operation": question.operation,
            "sandbox": question.sandbox,
            "after_at": after[0],
            "after_service": after[1],
            "after_major": after[2],
            "after_contract": after[3],
            "after_operation": after[4],
            "limit": limit + 1,
        }
        rows = await self._read(asked)
        shown = [_figures(row, step, question) for row in rows[:limit]]
        return Page(shown, None if len(rows) <= limit else _cursor(rows[limit - 1]))

    async def _read(self, asked: dict[str, Any]) -> list[Any]:
        try:
            async with self._database.begin() as connection:
                await connection.execute(text(f"SET LOCAL statement_timeout = '{PATIENCE_S}s'"))
                return list(await connection.execute(_FIGURES, asked))
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _CANCELLED:
                raise
            raise TooMuchToReckon(
                f"these are more calls than can be reckoned in {PATIENCE_S} seconds",
                field="since",
                value=asked["since"].isoformat(),
                rule="a shorter time, or one service or contract",
            ) from None


def _figures(row: Any, step: timedelta | None, question: Question) -> Figures:
    begins = row.begins_at
    # The last step may be cut short by `until`.
    length = question.until - begins if step is None else min(step, question.until - begins)
    p50_us, p95_us, p99_us = row.times
    return Figures(
        begins_at=None if step is None else begins,
        service=row.service,
        major=row.major,
        contract_id=row.contract_id or None,
        operation=row.operation or None,
        calls=row.calls,
        caller_errors=row.caller_errors,
        provider_errors=row.provider_errors,
        p50_us=p50_us,
        p95_us=p95_us,
        p99_us=p99_us,
        seconds=length.total_seconds(),
    )


def _cursor(row: Any) -> str:
    place = (row.begins_at, row.service, row.major, row.contract_id, row.operation)
    return urlsafe_b64encode(msgspec.json.encode(place)).decode()


def _place(cursor: str) -> _Place:
    try:
        return _PLACE.decode(urlsafe_b64decode(cursor.encode()))
    except (ValueError, msgspec.MsgspecError):
        raise BadCursor(
            "no page of monitoring has this cursor",
            field="cursor",
            value=cursor[:200],
            rule="the cursor of a Link header, as it was given",
        ) from None
