"""What is called through the gateway is invoiced, corrected and paid; told over HTTP alone."""

from __future__ import annotations

import csv
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO, StringIO
from typing import Any

import facturx
import pyarrow.parquet
import pytest
from pypdf import PdfReader

from kit.clock import utc_now
from tests.documents.norm import broken_rules
from tests.hub import Hub, Partner, Server, answering, server, until

PATH = "/services/load-forecast/points/7"
PROVIDER = {
    "legal_name": "Forecast GmbH",
    "street": "Hauptstraße 1",
    "city": "Berlin",
    "postal_code": "10115",
    "country": "DE",
    "vat_id": "DE129273398",
    "iban": "DE89370400440532013000",
}
REQUESTER = {
    "legal_name": "Point du Jour SAS",
    "street": "12 rue du Port",
    "city": "Lyon",
    "postal_code": "69001",
    "country": "FR",
    "vat_id": "FR40303265045",
}
OPERATOR = PROVIDER | {"legal_name": "Gridroam eG"}
TERMS = {
    "currency": "EUR",
    "plan": {"one_time": "10.00", "per_call": [{"up_to": 2, "price": "0"}, {"price": "0.255"}]},
}


@dataclass(frozen=True, slots=True)
class Market:
    provider: Partner
    requester: Partner
    operator: Partner
    live: Server
    contract_id: str


@pytest.fixture
async def market(hub: Hub) -> AsyncIterator[Market]:
    provider = await hub.partner("DE*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    operator = await hub.operator()
    async with server(answering("7 kW")) as live:
        service = {
            "name": "load-forecast",
            "category": "value-added",
            "description": "What a charge point will draw tomorrow",
            "endpoint": live.url,
        }
        await provider.post("/marketplace/services", service)
        await provider.post("/marketplace/services/load-forecast/v1/publish")
        offering = await provider.post(
            "/marketplace/offerings",
            {
                "service": "load-forecast",
                "terms": TERMS,
                "clauses": {"payment-terms": {"due_days": 14}},
            },
        )
        contract_id = await requester.accepts(offering["offering_id"])
        yield Market(provider, requester, operator, live, contract_id)


async def told(partner: Partner, details: dict[str, Any]) -> None:
    await partner.put(f"/marketplace/partners/{partner.party}/business-details", details)


async def called(market: Market, times: int) -> None:
    for _ in range(times):
        answer = await market.requester.call("GET", PATH)
        assert (answer.status, answer.body) == (200, "7 kW")


async def billed(market: Market) -> Any:
    """The run that bills what there is by now, when it is done."""
    now = utc_now()
    asked = {"month": f"{now:%Y-%m}", "up_to": now.isoformat()}
    begun = await market.operator.post("/marketplace/billing-runs", asked)
    shown: dict[str, Any] = {}

    async def done() -> bool:
        shown.update(await market.operator.get(f"/marketplace/billing-runs/{begun['run_id']}"))
        return bool(shown["state"] == "done")

    await until(done)
    return shown


async def invoices(partner: Partner, query: str = "") -> list[Any]:
    found = await partner.get(f"/marketplace/invoices{query}")
    return list(found["invoices"])


async def file_of(partner: Partner, form: str, query: str = "") -> bytes:
    return await text_of(partner, f"/marketplace/invoices?format={form}{query}")


TOLD_ALIKE = (
    *("number", "kind", "about", "month", "contract_id", "issued_on", "seller", "buyer"),
    *("currency", "net", "vat", "total", "credited", "paid", "written_off", "open", "state"),
)


async def test_a_month_of_calls_becomes_an_invoice_that_is_corrected_and_paid(
    hub: Hub, market: Market
) -> None:
    provider, requester, operator = market.provider, market.requester, market.operator
    await told(provider, PROVIDER)
    await told(requester, REQUESTER)
    await told(operator, OPERATOR)
    month = f"{utc_now():%Y-%m}"
    fee = {"valid_from": month, "percent": "5", "per_invoice": "0.30", "currency": "EUR"}
    await operator.post("/marketplace/fees", fee)
    assert (await provider.get("/marketplace/fees"))["fees"][0]["percent"] == "5"

    # What stands so far, before anybody is billed.
    await called(market, 12)
    [standing] = (await requester.get("/marketplace/invoices/unbilled"))["contracts"]
    assert (standing["total"], standing["unbilled"]) == ("12.55", "12.55")
    assert [item["quantity"] for item in standing["items"]] == ["1", "2", "10"]

    # Billed, on both sides' desks, and by the norm.
    run = await billed(market)
    assert (run["invoices"], run["not_invoiced"]) == (2, 0)
    [sale] = await invoices(requester)
    assert (sale["number"][:7], sale["net"], sale["total"]) == ("DEFCS-S", "12.55", "12.55")
    assert (sale["state"], sale["contract_id"]) == ("open", market.contract_id)
    path = f"/marketplace/invoices/{sale['number']}"
    whole = await requester.get(path)
    assert whole["vat_breakdown"][0]["exemption_code"] == "VATEX-EU-AE"
    assert [line["amount"] for line in whole["lines"]] == ["10.00", "0.00", "2.55"]
    xml = await text_of(requester, f"{path}.xml")
    assert broken_rules(xml) == []
    paper = await text_of(provider, f"{path}.pdf")
    assert facturx.get_facturx_xml_from_pdf(paper, check_xsd=False)[1] == xml
    page = re.sub(r"\s+", " ", " ".join(p.extract_text() for p in PdfReader(BytesIO(paper)).pages))
    for words in ("Forecast GmbH", "load-forecast v1", "Reverse charge", "12.55 EUR"):
        assert words in page, words

    # What the requester pays is what the provider gets and the fee.
    [asked] = [one for one in await invoices(provider) if one["about"] == "fee"]
    assert (asked["seller"], asked["net"], asked["vat"]) == ("EU*GRD", "0.93", "0.18")
    assert (
        broken_rules(await text_of(provider, f"/marketplace/invoices/{asked['number']}.xml")) == []
    )
    assert (await billed(market))["invoices"] == 0

    # A line is credited in part; the requester cannot do that for itself.
    credit = {"reason": "Two wrong forecasts", "lines": [{"line": 3, "amount": "0.51"}]}
    assert (await requester.call("POST", f"{path}/credit-notes", credit)).status == 403
    note = await provider.post(f"{path}/credit-notes", credit)
    assert (note["kind"], note["total"], note["state"]) == ("credit-note", "0.51", "credited")
    assert (
        broken_rules(await text_of(requester, f"/marketplace/invoices/{note['number']}.xml")) == []
    )

    # Paid in two parts, the first of them told twice.
    paid = {
        "reference": "2026/1",
        "amount": "10.00",
        "currency": "EUR",
        "on": f"{utc_now():%Y-%m-%d}",
    }
    assert (await provider.call("POST", f"{path}/payments", paid)).status == 201
    assert (await provider.call("POST", f"{path}/payments", paid)).status == 200
    other = await provider.call("POST", f"{path}/payments", paid | {"amount": "1.00"})
    assert (other.status, other.problem) == (409, "reference-taken")
    assert (await invoices(requester, "?state=part-paid"))[0]["open"] == "2.04"
    too_much = paid | {"reference": "2026/2", "amount": "2.05"}
    refused = await operator.call("POST", f"{path}/payments", too_much)
    assert (refused.status, refused.body["rule"]) == (422, "at most 2.04 EUR, which is open")
    last = await operator.post(f"{path}/payments", too_much | {"amount": "2.04"})
    assert (last["state"], last["open"]) == ("paid", "0.00")
    assert await invoices(requester, "?state=overdue") == []

    # The rest is credited whole: a further run bills it again, since it is asked to.
    await operator.post(f"{path}/credit-notes", {"reason": "Wrong address", "bill_again": True})
    await billed(market)
    # Due as the contract says.
    due, issued = (date.fromisoformat(sale[name]) for name in ("due_on", "issued_on"))
    assert due == issued + timedelta(days=14)
    *_, again = await invoices(requester, "?state=open")
    assert (again["net"], again["number"] > sale["number"]) == ("12.04", True)
    # Each side's documents as a file are those of its list, and a stranger's are none.
    for partner in (provider, requester):
        rows = list(csv.DictReader(StringIO((await file_of(partner, "csv")).decode())))
        own = await invoices(partner)
        assert [{name: row[name] for name in TOLD_ALIKE} for row in rows] == [
            {name: one[name] or "" for name in TOLD_ALIKE} for one in own
        ]
        table = pyarrow.parquet.read_table(BytesIO(await file_of(partner, "parquet")))
        assert table.column_names == list(rows[0])
        assert [f"{value:.2f}" for value in table["open"].to_pylist()] == [
            one["open"] for one in own
        ]
    [row] = csv.DictReader(StringIO((await file_of(requester, "csv", "&state=open")).decode()))
    assert (row["number"], row["due_on"]) == (again["number"], again["due_on"])
    stranger = await hub.partner("NL*FCS", "service-provider")
    assert (await file_of(stranger, "csv")).decode().count("\r\n") == 1

    # What goes back of the fee on the first, 0.93, and the fee on this one are one sum.
    fees = [one for one in await invoices(operator) if one["about"] == "fee"]
    assert [(one["kind"], one["net"]) for one in fees] == [
        ("invoice", "0.93"),
        ("credit-note", "0.03"),
    ]


async def test_what_cannot_be_invoiced_waits_until_the_details_are_told(market: Market) -> None:
    await told(market.provider, PROVIDER)
    await called(market, 4)
    run = await billed(market)
    assert (run["invoices"], run["not_invoiced"]) == (0, 1)
    found = await market.requester.get("/marketplace/invoices")
    [waiting] = found["not_invoiced"]
    assert (found["invoices"], waiting["wanted"]) == ([], ["buyer: business details"])
    await told(market.requester, REQUESTER)
    assert (await billed(market))["invoices"] == 1
    found = await market.provider.get("/marketplace/invoices")
    assert (found["invoices"][0]["net"], found["not_invoiced"]) == ("10.51", [])


async def test_who_does_not_run_the_hub_bills_nobody_and_sets_no_fee(market: Market) -> None:
    for method, path, body in (
        ("POST", "/marketplace/billing-runs", {"month": "2026-01"}),
        ("GET", "/marketplace/billing-runs", None),
        ("POST", "/marketplace/fees", {"valid_from": "2199-01", "percent": "1"}),
    ):
        answer = await market.provider.call(method, path, body)
        assert (answer.status, answer.problem) == (403, "not-for-you")


async def text_of(partner: Partner, path: str) -> bytes:
    answer = await partner.http.get(path, headers={"Authorization": f"Bearer {partner.token}"})
    assert answer.status_code == 200, answer.text
    return answer.content
