"""How far billing runs have come, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from kit import event_log
from kit.database import Hot
from kit.event_log import NewEvent
from marketplace.billing import tables
from marketplace.billing.model import Run, State
from marketplace.billing.rows import to_run
from roaming.events import EventType
from roaming.month import Month

_RUNS = tables.runs.fullname


class SqlRuns:
    """The part of the books of billing that is about runs, in their transaction."""

    def __init__(self, connection: Hot) -> None:
        self._connection = connection

    async def lock(self) -> None:
        await self._connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('marketplace.billing', 0))"
        )

    async def open_run(self) -> Run | None:
        row = await self._connection.fetchrow(
            f"SELECT * FROM {_RUNS} WHERE state <> $1 ORDER BY run_id LIMIT 1", State.DONE.value
        )
        return None if row is None else to_run(row)

    async def billed_up_to(self, months: Collection[Month]) -> Mapping[Month, datetime]:
        asked = [str(month) for month in months]
        rows = await self._connection.fetch(
            f"SELECT month, max(up_to) AS up_to FROM {_RUNS}"
            " WHERE month = ANY($1) AND state = $2 GROUP BY month",
            *(asked, State.DONE.value),
        )
        found = {Month.parse(row["month"]): row["up_to"] for row in rows}
        # In what was looked at for late use, nothing is left until its end.
        rows = await self._connection.fetch(
            f"SELECT DISTINCT unnest(earlier) AS month FROM {_RUNS}"
            " WHERE earlier && $1 AND state = $2",
            *(asked, State.DONE.value),
        )
        whole = [Month.parse(row["month"]) for row in rows]
        return found | {month: month.ends_at for month in whole if month in months}

    async def run(self, run_id: str) -> Run | None:
        row = await self._connection.fetchrow(f"SELECT * FROM {_RUNS} WHERE run_id = $1", run_id)
        return None if row is None else to_run(row)

    async def runs(self, before: str | None, limit: int) -> Sequence[Run]:
        rows = await self._connection.fetch(
            f"SELECT * FROM {_RUNS} WHERE $1::text IS NULL OR run_id < $1"
            " ORDER BY run_id DESC LIMIT $2",
            before,
            limit,
        )
        return [to_run(row) for row in rows]

    async def begin(self, run: Run) -> None:
        await self._connection.execute(
            f"INSERT INTO {_RUNS} (run_id, month, up_to, earlier, begun_by, begun_at, state,"
            " summed, after, contracts, invoices, credit_notes, not_invoiced)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, false, '', 0, 0, 0, 0)",
            *(run.run_id, str(run.month), run.up_to, [str(month) for month in run.earlier]),
            *(run.by, run.begun_at, run.state.value),
        )
        await self._tell_of_run(EventType.BILLING_RUN_BEGUN, run, run.begun_at)

    async def advance(self, run: Run, now: datetime) -> None:
        tally = run.tally
        await self._connection.execute(
            f"UPDATE {_RUNS} SET state = $2, summed = $3, after = $4, contracts = $5,"
            " invoices = $6, credit_notes = $7, not_invoiced = $8, finished_at = $9"
            " WHERE run_id = $1",
            *(run.run_id, run.state.value, run.summed, run.after),
            *(tally.contracts, tally.invoices, tally.credit_notes, tally.not_invoiced),
            run.finished_at,
        )
        if run.state is State.DONE:
            await self._tell_of_run(EventType.BILLING_RUN_FINISHED, run, now)

    async def _tell_of_run(self, kind: EventType, run: Run, now: datetime) -> None:
        body = {
            "run_id": run.run_id,
            "month": str(run.month),
            "up_to": run.up_to.isoformat(),
            **({} if kind is EventType.BILLING_RUN_BEGUN else asdict(run.tally)),
        }
        await event_log.append(
            self._connection, [NewEvent("billing-runs", kind, run.by, body, now)]
        )

    async def lease(self, run_id: str, holder: str, until: datetime, now: datetime) -> bool:
        held = await self._connection.fetchval(
            f"UPDATE {_RUNS} SET holder = $2, held_until = $3 WHERE run_id = $1 AND state <> $5"
            " AND (holder IS NULL OR holder = $2 OR held_until < $4) RETURNING true",
            *(run_id, holder, until, now, State.DONE.value),
        )
        return bool(held)

    async def has_billed(self, month: Month) -> bool:
        return bool(
            await self._connection.fetchval(
                f"SELECT EXISTS (SELECT FROM {_RUNS} WHERE month = $1)", str(month)
            )
        )
