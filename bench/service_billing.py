"""A month of usage becomes invoices: 10 million calls of 10,000 contracts that cost money.

The records are laid straight into the usage table by SQL, in the order of time, with contracts that
are called seldom and often; a tenth of them has prices by the time of day, a fifth steps. Ours adds
the usage up, rates each contract, writes an EN 16931 invoice for each with its number, and asks the
marketplace's fee. The limit is one bare GROUP BY of the same records by contract.
"""

from __future__ import annotations

import json
import resource
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.progress import Progress

from bench.documents import Papers
from bench.processes import cpu_s
from bench.row import Options, Row
from bench.serving import postmaster
from bench.world import party
from documents.invoice import Category, Vat
from gateway.packs.store import SqlSales
from gateway.usage.sums import SqlSums
from gridroam.billing import PacksForBilling, UsageForBilling
from kit.clock import utc_now
from kit.database import Database, Hot
from marketplace.billing import flows, looking
from marketplace.billing.fees import Fee
from marketplace.billing.model import Run
from marketplace.billing.ports import House
from marketplace.billing.store import SqlBooks
from marketplace.offerings.model import ServiceTerms
from roaming.month import Month
from roaming.party import PartyId

NAME = "service-billing"

HUB = PartyId("EU*GRD")
MONTH = Month(2026, 10)
NOW = datetime(2026, 11, 3, tzinfo=UTC)
AIM_S = 300.0
PROVIDERS = 200
AT_ONCE = 100_000
LIMIT = "a bare GROUP BY of the same records by contract"

PLANS: tuple[dict[str, Any], ...] = (
    {"per_call": "0.005"},
    {"per_call": "0.005", "recurring": {"price": "49", "every": "month"}, "minimum": "60"},
    {"per_call": [{"up_to": 500, "price": "0"}, {"price": "0.0042"}]},
    {"per_unit": {"unit": "kilobyte", "price": "0.0001"}, "per_call": "0.001"},
    {
        "time_of_use": {
            "time_zone": "Europe/Paris",
            "rules": [{"from": "22:00", "until": "06:00", "price": "0.001"}],
            "otherwise": "0.004",
        }
    },
)
# Of ten contracts so many have each plan.
SPREAD = (0, 0, 0, 0, 1, 1, 2, 2, 3, 4)

_OFFERING = """
INSERT INTO marketplace.offering (offering_id, provider, service, major, terms_digest, audience,
  audience_names, status, published_at, content)
VALUES ('o', 'EU*GRD', 's', 1, $1, 'public', '{}', 'published', $2, '')
"""
_CONTRACTS = """
INSERT INTO marketplace.contract (contract_id, offering_id, provider, requester, service, major,
  terms_digest, valid_from, history, suspended_by, version)
SELECT 'c' || lpad(n::text, 8, '0'), 'o', ($2::text[])[1 + n % array_length($2::text[], 1)],
  ($3::text[])[1 + n % array_length($3::text[], 1)], 'service-' || n % 50, 1,
  ($4::bytea[])[1 + n % array_length($4::bytea[], 1)], '2026-01-01Z',
  '[["agreed", "2026-01-01T00:00:00+00:00", "EU*GRD", "2026-01-01T00:00:00+00:00", null]]', '{}', 1
FROM generate_series(0, $1::int - 1) AS n
"""
# The few that call most have most of the calls.
_USAGE = """
INSERT INTO gateway.usage (request_id, at, contract_id, requester, provider, service, major,
  operation, method, status, duration_us, bytes_in, bytes_out, billable, sandbox)
SELECT 'r' || n, $4::timestamptz + (n::float8 / $5) * interval '31 days',
  'c' || lpad(c::text, 8, '0'), ($6::text[])[1 + c % array_length($6::text[], 1)],
  ($7::text[])[1 + c % array_length($7::text[], 1)], 'service-' || c % 50, 1, 'GET /', 'GET', 200,
  900, 120, 800 + (n % 900), true, false
FROM (
  SELECT n, floor($3 * power((hashint8extended(n, 1) & 16777215) / 16777216.0, 3))::int AS c
  FROM generate_series($1::bigint, $2::bigint) AS n
) AS called
"""
_BARE = """
SELECT contract_id, count(*), sum(bytes_in + bytes_out) FROM gateway.usage
WHERE billable AND NOT sandbox AND at >= $1 AND at < $2 GROUP BY contract_id
"""


class Taxes:
    def vat_of(self, seller: PartyId, buyer: PartyId, at: datetime) -> Vat | None:
        return Vat(Category.STANDARD, Decimal(19), "domestic-service")


async def run(options: Options) -> list[Row]:
    calls, contracts = (20_000, 200) if options.quick else (10_000_000, 10_000)
    database = await Database.open(options.database_url, pool_size=4)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        async with database.pool.acquire() as connection:
            await _load(connection, calls, contracts)  # type: ignore[arg-type]
            await connection.execute("VACUUM ANALYZE", timeout=600)
        pid = await postmaster(database)
        house = _house(database)
        in_time = replace(house, clock=lambda: MONTH.starts_at)
        await looking.set_fee(Fee(MONTH, Decimal("2.5")), HUB, house=in_time)
        rss_before = _most_rss_mb()
        pages: list[tuple[float, int]] = []
        before, began = time.process_time() + cpu_s(pid), time.perf_counter()
        begun = await flows.begin(MONTH, None, HUB, house=house)

        def told(one: Run) -> None:
            pages.append((time.perf_counter(), _most_rss_mb()))

        done = await flows.work(begun.run_id, NAME, house=house, told=told)
        ended = time.perf_counter()
        cpu = time.process_time() + cpu_s(pid) - before
        again = await flows.begin(MONTH, None, HUB, house=house)
        again = await flows.work(again.run_id, NAME, house=house)
        assert again.tally.invoices == 0, "billed twice"
        second = time.perf_counter() - ended
        async with database.pool.acquire() as connection:
            bare_began = time.perf_counter()
            await connection.fetch(_BARE, MONTH.starts_at, MONTH.ends_at, timeout=600)
            bare = time.perf_counter() - bare_began
    params: dict[str, Any] = {
        "usage_records": calls,
        "contracts": contracts,
        "invoices": done.tally.invoices,
        "steps_s": {
            "add up": round(pages[0][0] - began, 2),
            "rate, invoice, keep": round(ended - pages[0][0], 2),
            "a second run": round(second, 2),
        },
        "max_rss_mb": {
            "before": rss_before,
            "after the first page": pages[1][1],
            "at the end": _most_rss_mb(),
        },
        # Ours and PostgreSQL's.
        "cpu_s": round(cpu, 2),
        "aim_s": AIM_S,
        "at": utc_now().isoformat(timespec="seconds"),
    }
    return [
        Row(
            name=NAME,
            ours=round(ended - began, 2),
            unit="s",
            limit=LIMIT,
            limit_value=round(bare, 4),
            ratio_to_limit=round((ended - began) / bare, 2),
            params=params,
        )
    ]


def _house(database: Database) -> House:
    return House(
        hub=HUB,
        books=SqlBooks(database),
        usage=UsageForBilling(SqlSums(database)),
        packs=PacksForBilling(SqlSales(database)),
        businesses=Papers(),
        taxes=Taxes(),
        clock=lambda: NOW,
    )


def _most_rss_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


async def _load(connection: Hot, calls: int, contracts: int) -> None:
    digests = []
    for plan in PLANS:
        terms = ServiceTerms.parse({"currency": "EUR", "plan": plan}).to_json()
        digest = json.dumps(plan, sort_keys=True).encode()[:32].ljust(32)
        await connection.execute("INSERT INTO marketplace.terms VALUES ($1, $2)", digest, terms)
        digests.append(digest)
    await connection.execute(_OFFERING, digests[0], MONTH.starts_at)
    providers = [party(10_000 + number) for number in range(PROVIDERS)]
    requesters = [party(20_000 + number) for number in range(997)]
    spread = [digests[place] for place in SPREAD]
    await connection.execute(_CONTRACTS, contracts, providers, requesters, spread)
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        calling = progress.add_task("recording a month of calls", total=calls)
        for first in range(0, calls, AT_ONCE):
            last = min(first + AT_ONCE, calls) - 1
            await connection.execute(
                _USAGE,
                *(first, last, contracts, MONTH.starts_at, float(calls), requesters, providers),
                timeout=600,
            )
            progress.advance(calling, last - first + 1)
