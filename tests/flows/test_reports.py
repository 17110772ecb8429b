"""Reports by the API alone: what both sides and the hub's operator are told of the same calls.

The map is docs/flows/report.md.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product
from typing import Any

import pyarrow.parquet
import pytest
from aiohttp import web

from kit.clock import utc_now
from marketplace.partners import flows as partner_flows
from tests.hub import Hub, Partner, server, until

REPORTS = "/marketplace/reports"
PATH = "/services/load-forecast/points/7"
PLAN = {
    "recurring": {"price": "31", "every": "month"},
    "per_call": [{"up_to": 5, "price": "0"}, {"price": "0.25"}],
    "per_unit": {"unit": "told", "price": "0.10"},
}
LEVEL = {"availability_percent": 95, "latency_p95_ms": 60_000, "error_share_percent": 20}


@dataclass(frozen=True, slots=True)
class Market:
    hub: Hub
    provider: Partner
    requester: Partner
    stranger: Partner
    contract_id: str
    since: date

    async def report(self, partner: Partner, what: str = "figures", query: str = "") -> Any:
        return await partner.get(f"{REPORTS}/{what}?{query}")

    async def file(self, partner: Partner, what: str, query: str = "") -> bytes:
        sent = {"Authorization": f"Bearer {partner.token}"}
        answer = await partner.http.get(f"{REPORTS}/{what}?{query}", headers=sent)
        assert answer.status_code == 200, answer.text
        return answer.content

    async def operator(self) -> Partner:
        parts = self.hub.parts
        added = await partner_flows.register_hub(
            parts.partners, parts.hub, "reports", hasher=parts.checker, now=utc_now()
        )
        found = Partner(parts.hub, added.client_id, added.client_secret, self.hub.http)
        await found.log_in()
        return found


@pytest.fixture
async def market(hub: Hub) -> AsyncIterator[Market]:
    """Eight calls, each of which tells three units: six good ones, and two that failed."""
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    stranger = await hub.partner("DE*XYZ", "evsp")
    came = 0

    async def forecast(_: web.BaseRequest) -> web.StreamResponse:
        nonlocal came
        came += 1
        status = 200 if came % 4 else 500
        return web.json_response({}, status=status, headers={"Gridroam-Units": "3"})

    async with server(forecast) as theirs:
        await provider.post(
            "/marketplace/services",
            {
                "name": "load-forecast",
                "category": "core",
                "description": "What is drawn tomorrow",
                "endpoint": theirs.url,
            },
        )
        await provider.post("/marketplace/services/load-forecast/v1/publish")
        offered = await provider.post(
            "/marketplace/offerings",
            {
                "service": "load-forecast",
                "terms": {"plan": PLAN, "currency": "EUR"},
                "clauses": {"service-level": LEVEL},
            },
        )
        contract_id = await requester.accepts(offered["offering_id"])
        found = Market(hub, provider, requester, stranger, contract_id, utc_now().date())

        async def called() -> bool:
            return (await requester.call("GET", PATH)).status != 403

        await until(called)
        for _ in range(7):
            await requester.call("POST", PATH, {})

        async def told() -> bool:
            [row] = (await found.report(requester, query="service=load-forecast"))["rows"]
            return bool(row["calls"] == 8)

        await until(told)
        yield found


def expected_minor(since: date) -> int:
    """Six good calls, one of them above the free five; eighteen units; and the days so far."""
    month = (since.replace(day=1) + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    fixed = round(3100 / month.day)
    return 25 + 180 + fixed


async def test_both_sides_are_told_the_same_calls_and_the_same_money(market: Market) -> None:
    told = {}
    for partner in (market.provider, market.requester):
        report = await market.report(partner, query="service=load-forecast")
        [row] = report["rows"]
        told[str(partner.party)] = row
        assert (row["contract_id"], row["begins_on"]) == (
            *(market.contract_id, market.since.isoformat()),
        )
        assert (row["calls"], row["billable_calls"], row["provider_errors"], row["units"]) == (
            *(8, 6, 2, 18),
        )
        assert row["error_share"] == 0.25
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    money = expected_minor(market.since)
    owed = {"currency": "EUR", "revenue_minor": money, "cost_minor": 0}
    owes = {"currency": "EUR", "revenue_minor": 0, "cost_minor": money}
    assert told["NL*FCS"].pop("amounts") == [owed]
    assert told["FR*PD1"].pop("amounts") == [owes]
    assert told["NL*FCS"] == told["FR*PD1"]


async def test_a_stranger_is_told_nothing_and_may_not_ask_for_others(market: Market) -> None:
    report = await market.report(market.stranger, query="service=load-forecast&every=whole")
    assert report["rows"] == []
    for what in ("figures", "levels", "calls", "contracts"):
        answer = await market.stranger.call("GET", f"{REPORTS}/{what}?party=FR*PD1")
        assert (answer.status, answer.problem) == (403, "not-your-report")
        assert answer.body["field"] == "party"


async def test_the_hubs_operator_is_told_of_all(market: Market) -> None:
    operator = await market.operator()
    report = await market.report(operator, query="service=load-forecast&by=partner&every=month")
    [row] = report["rows"]
    assert (row["provider"], row["requester"], row["calls"]) == ("NL*FCS", "FR*PD1", 8)
    money = expected_minor(market.since)
    assert row["amounts"] == [{"currency": "EUR", "revenue_minor": money, "cost_minor": money}]
    own = await market.report(operator, query="service=load-forecast&party=DE*XYZ")
    assert own["rows"] == []


async def test_however_calls_are_told_apart_they_add_up(market: Market) -> None:
    for by, every in product(
        ("contract", "service", "partner", "total"), ("day", "month", "whole")
    ):
        query = f"service=load-forecast&by={by}&every={every}"
        rows = (await market.report(market.provider, query=query))["rows"]
        assert sum(row["calls"] for row in rows) == 8
        revenue_minor = sum(one["revenue_minor"] for row in rows for one in row["amounts"])
        assert revenue_minor == expected_minor(market.since), query


async def test_what_was_agreed_of_the_service_stands_beside_what_came_of_it(
    market: Market,
) -> None:
    [month] = (await market.report(market.requester, "levels"))["months"]
    assert (month["contract_id"], month["calls"], month["kept"]) == (market.contract_id, 8, False)
    promises = {one["measure"]: one for one in month["promises"]}
    assert promises["availability-percent"] == {
        "measure": "availability-percent",
        "agreed": 95,
        "measured": 75,
        "by": -20,
        "kept": False,
    }
    assert promises["p95-ms"]["kept"] is True
    assert (promises["error-share-percent"]["by"], promises["error-share-percent"]["kept"]) == (
        *(-5, False),
    )
    assert (await market.report(market.stranger, "levels"))["months"] == []


async def test_files_are_read_back_by_the_readers_of_others(market: Market) -> None:
    query = "service=load-forecast&format="
    lines = (await market.file(market.requester, "calls", query + "csv")).decode()
    calls = list(csv.DictReader(io.StringIO(lines)))
    assert [(one["billable"], one["units"]) for one in calls] == [
        ("false", "1") if one["status"] == "500" else ("true", "3") for one in calls
    ]
    assert (len(calls), {one["contract_id"] for one in calls}) == (8, {market.contract_id})

    content = await market.file(market.provider, "figures", query + "parquet")
    table = pyarrow.parquet.read_table(io.BytesIO(content))
    [row] = table.to_pylist()
    assert (row["calls"], row["begins_on"], row["currency"]) == (8, market.since, "EUR")
    assert (int(row["revenue"] * 100), row["cost"]) == (expected_minor(market.since), 0)
    assert str(table.schema.field("revenue").type) == "decimal128(38, 4)"

    content = await market.file(market.provider, "contracts", query + "parquet")
    [contract] = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
    assert (contract["contract_id"], contract["status"]) == (market.contract_id, "agreed")
    assert '"per_unit"' in contract["prices"]

    lines = (await market.file(market.provider, "levels", query + "csv")).decode()
    promises = list(csv.DictReader(io.StringIO(lines)))
    assert [(one["measure"], one["kept"]) for one in promises] == [
        ("availability-percent", "false"),
        ("p95-ms", "true"),
        ("error-share-percent", "false"),
    ]


async def test_a_file_is_had_by_accept_too_and_tells_calls_apart_by_contract(
    market: Market,
) -> None:
    sent = {"Authorization": f"Bearer {market.provider.token}", "Accept": "text/csv"}
    answer = await market.provider.http.get(f"{REPORTS}/figures", headers=sent)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="figures.csv"'
    refused = await market.provider.call("GET", f"{REPORTS}/figures?format=csv&by=service")
    assert (refused.status, refused.body["field"]) == (422, "by")


async def test_a_long_report_comes_in_pages_that_hold_every_row_once(market: Market) -> None:
    first = market.since - timedelta(days=70)
    path = f"{REPORTS}/figures?first={first}&limit=1"
    seen: list[tuple[str, str | None]] = []
    pages = 0
    while path:
        answer = await market.requester.call("GET", path)
        seen += [(one["begins_on"], one["contract_id"]) for one in answer.body["rows"]]
        path = answer.headers.get("link", "").partition("<")[2].partition(">")[0]
        pages += 1
    whole = await market.report(market.requester, query=f"first={first}&limit=10000")
    assert seen == [(one["begins_on"], one["contract_id"]) for one in whole["rows"]]
    assert len(set(seen)) == len(seen) > 0
    assert pages <= 4


async def test_of_the_first_day_of_the_calendar_there_is_a_report_of_nothing(
    market: Market,
) -> None:
    for what, where in (("figures", "rows"), ("levels", "months")):
        told = await market.report(market.requester, what, "last=0001-01-01")
        assert told[where] == []


async def test_what_no_report_is_made_of_is_refused_by_its_field(market: Market) -> None:
    for query, field in (
        ("first=2999-01-01", "last"),
        ("first=2001-01-01", "first"),
        ("last=0001-01-01&first=0001-01-02", "last"),
        ("by=caller", "query.by"),
        ("partner=nobody", "party"),
        ("format=xlsx", "query.format"),
    ):
        answer = await market.requester.call("GET", f"{REPORTS}/figures?{query}")
        assert (answer.status, answer.body["field"]) == (422, field)
