"""A month cleared each of four ways, and a statement for everyone, beside bare SQL.

A million booked CDRs of 500 partners, four ledger entries each, laid straight into the ledger by
SQL through its own checks. Ours reads the ledger, clears it, keeps each run with all its lines and
its event, and draws up the statements. The limit is the four GROUP BYs alone that come to the same
sums: by debtor and creditor, by pair, by party, and by party and counterparty.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
from rich.console import Console
from rich.progress import Progress

from bench.processes import cpu_s
from bench.row import Options, Row
from bench.serving import postmaster
from bench.world import party
from clearinghouse.ledger.store import entries
from clearinghouse.netting.flows import run_clearings
from clearinghouse.netting.model import Period, Strategy
from clearinghouse.netting.store import SqlBooks as Clearings
from clearinghouse.settlement.flows import statements
from clearinghouse.settlement.store import SqlBooks as Statements
from kit import garbage
from kit.clock import utc_now
from kit.database import Database, Hot
from roaming.party import PartyId

NAME = "clearing-run"

HUB = PartyId("EU*GRD")
CURRENCY = "EUR"
MONTH = Period.month("2025-01", ZoneInfo("Europe/Paris"))
LIMIT = "four bare GROUP BYs: debtor and creditor, pair, party, party and counterparty"
AT_ONCE = 50_000

# The first two fifths of the partners are operators, the last four fifths EVSPs: one in five is
# both, and owes as well as it is owed. A few have most of the charges.
_BOOK = """
INSERT INTO clearinghouse.ledger_entry (posting_id, account, party, counterparty, currency,
  amount_minor, value_at, cdrs, clearing_group)
SELECT c.n, e.account, e.party, e.counterparty, 'EUR', e.amount_minor, c.ended_at,
  (e.account = 'charge-receivable')::int, 'multilateral'
FROM (
  SELECT n, ($3::text[])[1 + floor(array_length($3, 1) * 0.4 * power(u1, 2))::int] AS operator,
    ($3::text[])[array_length($3, 1) - floor(array_length($3, 1) * 0.8 * power(u2, 2))::int]
      AS evsp,
    200 + floor(4800 * u3)::bigint AS amount,
    $4::timestamptz + u4 * ($5::timestamptz - $4::timestamptz) AS ended_at
  FROM generate_series($1::bigint, $2::bigint) AS n
  CROSS JOIN LATERAL (SELECT
    (hashint8extended(n, 1) & 16777215) / 16777216.0 AS u1,
    (hashint8extended(n, 2) & 16777215) / 16777216.0 AS u2,
    (hashint8extended(n, 3) & 16777215) / 16777216.0 AS u3,
    (hashint8extended(n, 4) & 16777215) / 16777216.0 AS u4) AS chance
) AS c CROSS JOIN LATERAL (VALUES
  ('charge-receivable', c.operator, c.evsp, c.amount),
  ('charge-payable', c.evsp, c.operator, -c.amount),
  ('vat-receivable', c.operator, c.evsp, (c.amount * 19 + 50) / 100),
  ('vat-payable', c.evsp, c.operator, -((c.amount * 19 + 50) / 100))
) AS e (account, party, counterparty, amount_minor)
"""
_FROM = """
  FROM clearinghouse.ledger_entry WHERE account IN ('charge-receivable', 'vat-receivable')
  AND clearing_group <> '' AND currency = $1 AND value_at >= $2 AND value_at < $3 GROUP BY
"""
_SUMS = (
    "sum(amount_minor) FILTER (WHERE account = 'charge-receivable'),"
    " sum(amount_minor) FILTER (WHERE account = 'vat-receivable')"
)
BARE = {
    "gross": f"SELECT counterparty, party, {_SUMS} {_FROM} counterparty, party",
    "bilateral": (
        f"SELECT least(party, counterparty), greatest(party, counterparty), {_SUMS} {_FROM} 1, 2"
    ),
    "multilateral": f"SELECT party, {_SUMS} {_FROM} party",
    "statements": f"SELECT party, counterparty, {_SUMS}, count(*) {_FROM} party, counterparty",
}


@dataclass(slots=True)
class _Measured:
    """The quickest of the rounds, whole and step by step."""

    seconds: float = float("inf")
    cpu_s: float = float("inf")
    steps: dict[str, float] = field(default_factory=dict)

    def take(self, steps: dict[str, float], cpu: float) -> None:
        self.cpu_s = min(self.cpu_s, cpu)
        if sum(steps.values()) < self.seconds:
            self.seconds, self.steps = sum(steps.values()), steps


async def run(options: Options) -> list[Row]:
    cdrs, partners = (5_000, 50) if options.quick else (1_000_000, 500)
    rounds = 1 if options.quick else 3
    database = await Database.open(options.database_url, pool_size=2)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        alone = await asyncpg.connect(options.database_url)
        stack.push_async_callback(alone.close)
        await _book(database, alone, cdrs, partners)
        database_pid = await postmaster(database)
        # As the hub does it when it is ready.
        garbage.spare_what_is_held()
        ours, bare = _Measured(), _Measured()
        counted: dict[str, int] = {}
        for _ in range(rounds):
            before = time.process_time() + cpu_s(database_pid)
            steps, counted = await _clear(database)
            ours.take(steps, time.process_time() + cpu_s(database_pid) - before)
            before = time.process_time() + cpu_s(database_pid)
            steps = await _bare(alone)
            bare.take(steps, time.process_time() + cpu_s(database_pid) - before)
    params: dict[str, Any] = {"cdrs": cdrs, "ledger_entries": 4 * cdrs, **counted}
    return [
        _row(
            *(ours.seconds, "s", bare.seconds),
            {
                **params,
                "steps_s": {name: round(took, 2) for name, took in ours.steps.items()},
                "limit_steps_s": {name: round(took, 2) for name, took in bare.steps.items()},
            },
        ),
        _row(ours.cpu_s, "CPU s, with PostgreSQL's", bare.cpu_s, params),
    ]


def _row(value: float, unit: str, limit: float, params: dict[str, Any]) -> Row:
    return Row(
        name=NAME,
        ours=round(value, 4),
        unit=unit,
        limit=LIMIT,
        limit_value=round(limit, 4),
        ratio_to_limit=round(value / limit, 2) if limit else None,
        params=params,
    )


async def _book(database: Database, connection: Hot, cdrs: int, partners: int) -> None:
    """Through the ledger's own checks; its indexes are made anew after it, which takes less."""
    names = [str(party(10_000 + n)) for n in range(partners)]
    async with database.begin() as making:
        for index in entries.indexes:
            await making.run_sync(index.drop)
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        booking = progress.add_task("booking a month of CDRs", total=cdrs)
        for first in range(1, cdrs + 1, AT_ONCE):
            last = min(first + AT_ONCE - 1, cdrs)
            await connection.execute(_BOOK, first, last, names, MONTH.start, MONTH.end)
            progress.advance(booking, last - first + 1)
    async with database.begin() as making:
        for index in entries.indexes:
            await making.run_sync(index.create)
    # As autovacuum does it on a hub that runs for a month.
    await connection.execute("VACUUM ANALYZE clearinghouse.ledger_entry")


async def _clear(database: Database) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds of each step, and what it came to."""
    began = time.perf_counter()
    made = await run_clearings(
        *(MONTH, CURRENCY, list(Strategy)),
        caller=HUB,
        hub=HUB,
        books=Clearings(database),
        clock=utc_now,
    )
    cleared = time.perf_counter()
    drawn_up = await statements(MONTH, CURRENCY, books=Statements(database))
    took = {"four runs": cleared - began, "statements": time.perf_counter() - cleared}
    counted = {"partners": len(drawn_up), "debts": len(made[0].clearing.obligations)} | {
        f"{run.clearing.strategy}_payments": len(run.clearing.payments) for run in made
    }
    return took, counted


async def _bare(connection: Hot) -> dict[str, float]:
    took = {}
    for name, query in BARE.items():
        began = time.perf_counter()
        await connection.fetch(query, CURRENCY, MONTH.start, MONTH.end)
        took[name] = time.perf_counter() - began
    return took
