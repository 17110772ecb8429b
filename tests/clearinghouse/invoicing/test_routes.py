"""Invoices over HTTP: a partner's own, for programs and for people."""

from __future__ import annotations

from io import BytesIO

import facturx
import pytest
from fastapi import FastAPI
from pypdf import PdfReader

from clearinghouse.invoicing import routes
from clearinghouse.invoicing.store import SqlBooks
from kit import problem
from kit.database import Database
from tests.clearinghouse.cdrs.fakes import EVSP, OPERATOR, OTHER_CONTRACT, OTHER_EVSP, House, many
from tests.clearinghouse.invoicing.fakes import HUB, JANUARY, Months, papers

NUMBER = "FRPD1-2025-000001"


@pytest.fixture
async def house(database: Database) -> House:
    months = Months(database, known=papers(OTHER_EVSP))
    await months.book(
        [
            *many(2, energy_wh=260),
            *many(
                1,
                prefix="O",
                first=JANUARY.starts_at.replace(day=9),
                contract_id=str(OTHER_CONTRACT),
            ),
        ]
    )
    await months.close()
    app = FastAPI()
    problem.install(app)
    app.include_router(routes.router(SqlBooks(database), hub=HUB))
    return House(app)


async def test_a_partner_lists_its_invoices_and_what_could_not_be_one(house: House) -> None:
    status, page = await house.get("/invoices", party=OPERATOR)
    assert status == 200
    (one,) = page["invoices"]
    assert one["number"] == NUMBER
    assert (one["kind"], one["period_id"]) == ("invoice", "2025-01")
    assert (one["net"], one["vat"], one["total"]) == ("0.26", "0.05", "0.31")
    (wanting,) = page["not_invoiced"]
    assert (wanting["buyer"], wanting["net"]) == (OTHER_EVSP, "5.00")
    assert wanting["wanted"] == ["buyer: business details"]
    assert page["next_cursor"] is None


async def test_pages_and_months(house: House) -> None:
    _, page = await house.get("/invoices", party=EVSP, query="limit=1")
    query = f"limit=1&cursor={page['next_cursor']}"
    _, rest = await house.get("/invoices", party=EVSP, query=query)
    assert (rest["invoices"], rest["not_invoiced"]) == ([], [])
    _, other = await house.get("/invoices", party=EVSP, query="period=2025-02")
    assert other["invoices"] == []


async def test_an_invoice_is_shown_with_its_lines_and_its_rounding(house: House) -> None:
    _, shown = await house.get(f"/invoices/{NUMBER}", party=EVSP)
    assert shown["lines"] == [
        {
            "description": "Charging, 2025-01",
            "agreement_id": "agreement-1",
            "charges": 2,
            "energy_wh": 520,
            "amount": "0.26",
            "vat_category": "S",
            "vat_percent": "20",
            "vat_rule": "agreed-rate",
        }
    ]
    assert shown["vat_rounding"] == "-0.01"
    assert "in the name and on behalf of the seller" in shown["notes"][0]


async def test_programs_get_the_xml_and_people_a_pdf_with_the_same_in_it(house: House) -> None:
    xml = await house.call("GET", f"/invoices/{NUMBER}", b"", party=EVSP, query="format=xml")
    assert xml.headers["content-type"] == "application/xml"
    _, shown = await house.get(f"/invoices/{NUMBER}", party=EVSP)
    assert xml.headers["etag"] == f'"{shown["xml_sha256"]}"'
    pdf = await house.call("GET", f"/invoices/{NUMBER}", b"", party=EVSP, query="format=pdf")
    assert pdf.headers["content-type"] == "application/pdf"
    assert facturx.get_facturx_xml_from_pdf(pdf.body)[1] == xml.body
    assert NUMBER in PdfReader(BytesIO(pdf.body)).pages[0].extract_text()


async def test_another_partner_s_invoice_is_not_there(house: House) -> None:
    status, told = await house.get(f"/invoices/{NUMBER}", party=OTHER_EVSP)
    assert (status, told["field"]) == (404, "number")
    _, page = await house.get("/invoices", party=OTHER_EVSP)
    assert page["invoices"] == []


@pytest.mark.parametrize("query", ["cursor=x", "period=2025", "limit=0", "cursor=-1"])
async def test_a_bad_question_is_told_so(house: House, query: str) -> None:
    status, _ = await house.get("/invoices", party=OPERATOR, query=query)
    assert status == 422
