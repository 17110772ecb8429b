"""A month's documents: statements (JSON, CSV, PDF), invoices (EN 16931 as XML, PDF), all as files.

A million CDRs of 500 partners, laid straight into records, postings and entries by SQL. A fifth of
the partners run charge points only, three fifths sell to drivers only, a fifth does both; each
operator has agreements with ten EVSPs. Ours closes the month, which issues the invoices with their
numbers in one transaction, then writes every document of every partner.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.progress import Progress

from bench.processes import cpu_s
from bench.row import Options, Row
from bench.serving import postmaster
from bench.world import party
from clearinghouse.invoicing import flows as invoicing_flows
from clearinghouse.invoicing.store import SqlBooks as Invoices
from clearinghouse.invoicing.store import SqlClosing
from clearinghouse.periods import flows as period_flows
from clearinghouse.periods.model import Month
from clearinghouse.periods.store import SqlBooks as Periods
from clearinghouse.settlement.store import SqlBooks as Statements
from documents.invoice import Business
from gridroam.documents import Desk, write_documents
from kit.clock import utc_now
from kit.database import Database, Hot
from roaming.party import PartyId

NAME = "documents"

HUB = PartyId("EU*GRD")
MONTH = Month(2025, 1)
AIM_S = 60.0
AGREEMENTS = 10
AT_ONCE = 50_000

_CHARGES = f"""
SELECT n, operators[1 + o] AS operator, evsps[1 + (o * 7 + e) % array_length(evsps, 1)] AS evsp,
  200 + (hashint8extended(n, 3) & 4095) AS amount,
  3000 + (hashint8extended(n, 5) & 32767) AS energy_wh,
  $5::timestamptz + (hashint8extended(n, 4) & 16777215) / 16777216.0 * interval '31 days' AS at
FROM (SELECT n, ($3::text[]) AS operators, ($4::text[]) AS evsps,
    (hashint8extended(n, 1) & 1048575)::int % array_length($3::text[], 1) AS o,
    (hashint8extended(n, 2) & 1048575)::int % {AGREEMENTS} AS e
  FROM generate_series($1::bigint, $2::bigint) AS n) AS chance
"""
_RECORDS = f"""
INSERT INTO clearinghouse.cdr (log_position, log_xid, operator, cdr_id, state, reasons, evse_id,
  evsp, contract_id, started_at, ended_at, energy_wh, periods, signed_meter_values, agreement_id,
  time_zone, currency, excl_vat_minor, vat_minor, price_lines, content, recorded_at,
  clearing_group, vat_rule, vat_category, vat_percent)
SELECT n, pg_current_xact_id(), operator, 'C' || n, 'accepted', '[]', operator || '*E1', evsp,
  'DE8AA00000001', at - interval '30 minutes', at, energy_wh, '[]', '[]',
  operator || '-' || evsp, 'UTC', 'EUR', amount, (amount * 19 + 50) / 100, '[]', '', at,
  'multilateral', 'domestic', 'S', 19
FROM ({_CHARGES}) AS c
"""
_POSTINGS = f"""
INSERT INTO clearinghouse.ledger_posting (posting_id, kind, book, book_no, operator, cdr_id,
  value_at, recorded_at, hash)
SELECT n, 'charge', operator, n, operator, 'C' || n, at, at, '' FROM ({_CHARGES}) AS c
"""
_ENTRIES = f"""
INSERT INTO clearinghouse.ledger_entry (posting_id, account, party, counterparty, currency,
  amount_minor, value_at, cdrs, clearing_group)
SELECT c.n, e.account, e.party, e.counterparty, 'EUR', e.minor, c.at,
  (e.account = 'charge-receivable')::int, 'multilateral'
FROM ({_CHARGES}) AS c CROSS JOIN LATERAL (VALUES
  ('charge-receivable', c.operator, c.evsp, c.amount),
  ('charge-payable', c.evsp, c.operator, -c.amount),
  ('vat-receivable', c.operator, c.evsp, (c.amount * 19 + 50) / 100),
  ('vat-payable', c.evsp, c.operator, -((c.amount * 19 + 50) / 100))
) AS e (account, party, counterparty, minor)
"""


class Papers:
    """Everybody has told its business details."""

    def business_at(self, party: PartyId, at: datetime) -> Business | None:
        return Business(
            party=party,
            legal_name=f"{party.code} Mobility GmbH",
            street=f"Hauptstraße {int(party.code, 36) % 200}",
            postcode="10115",
            city="Berlin",
            country="DE",
            vat_id="DE129273398",
            iban="DE89370400440532013000",
        )


async def run(options: Options) -> list[Row]:
    cdrs, partners = (5_000, 50) if options.quick else (1_000_000, 500)
    everyone = [party(10_000 + number) for number in range(partners)]
    operators, evsps = everyone[: partners * 2 // 5], everyone[partners // 5 :]
    database = await Database.open(options.database_url, pool_size=3)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        async with database.hot() as connection:
            await _load(connection, cdrs, operators, evsps)
        async with database.pool.acquire() as connection:
            await connection.execute("VACUUM ANALYZE")
        pid = await postmaster(database)
        before, began = time.process_time() + cpu_s(pid), time.perf_counter()
        await period_flows.close(
            MONTH, hub=HUB, books=Periods(database, [_issue]), clock=lambda: MONTH.ends_at
        )
        issued = time.perf_counter()
        desk = Desk(
            statements=Statements(database),
            invoices=Invoices(database),
            names={one: f"{one.code} Mobility GmbH" for one in everyone},
            hub=HUB,
            out=options.scratch,
        )
        written = await write_documents(MONTH, ["EUR"], desk)
        ended = time.perf_counter()
        cpu = time.process_time() + cpu_s(pid) - before
    params: dict[str, Any] = {
        "cdrs": cdrs,
        "partners": written.partners,
        "statements": written.statements,
        "invoices": written.invoices,
        "steps_s": {
            "close the month and issue": round(issued - began, 2),
            "write all documents": round(ended - issued, 2),
        },
        "ms_a_partner": round((ended - began) / written.partners * 1000, 1),
        "at": utc_now().isoformat(timespec="seconds"),
    }
    return [
        _row(ended - began, "s", params),
        _row(cpu, "CPU s, with PostgreSQL's", params),
    ]


def _row(value: float, unit: str, params: dict[str, Any]) -> Row:
    return Row(
        name=NAME,
        ours=round(value, 2),
        unit=unit,
        limit=f"the aim: {AIM_S:.0f} s",
        limit_value=AIM_S,
        ratio_to_limit=round(value / AIM_S, 2),
        params=params,
    )


async def _issue(connection: Hot, month: Month, now: datetime) -> None:
    await invoicing_flows.issue(
        month, now, hub=HUB, closing=SqlClosing(connection, HUB), businesses=Papers()
    )


async def _load(connection: Hot, cdrs: int, operators: list[PartyId], evsps: list[PartyId]) -> None:
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        booking = progress.add_task("booking a month of CDRs", total=cdrs)
        for first in range(1, cdrs + 1, AT_ONCE):
            last = min(first + AT_ONCE - 1, cdrs)
            for statement in (_RECORDS, _POSTINGS, _ENTRIES):
                await connection.execute(
                    statement, first, last, operators, evsps, MONTH.starts_at, timeout=600
                )
            progress.advance(booking, last - first + 1)
    # The log goes on behind what was laid in.
    await connection.execute("ALTER SEQUENCE kit.event_position_seq RESTART WITH 2000000")
