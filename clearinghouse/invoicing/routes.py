"""HTTP for invoices: XML and JSON for programs, PDF for people; what could not be invoiced."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from clearinghouse.invoicing import flows
from clearinghouse.invoicing.model import Uninvoiced
from clearinghouse.invoicing.ports import Books, Found
from clearinghouse.periods.model import Month
from documents.invoice import Business, Category, Invoice, Kind, Line, VatTotal
from documents.paper import print_invoice
from documents.printed import printer
from kit.http import Caller, caller_of, json_response, page_link
from roaming.money import Money
from roaming.party import PartyId
from roaming.refusal import Malformed


class BadCursor(Malformed):
    """A cursor that no earlier page has given."""


class Format(StrEnum):
    JSON = "json"
    XML = "xml"
    PDF = "pdf"


KINDS = {Kind.INVOICE: "invoice", Kind.CREDIT_NOTE: "credit-note"}


class InvoiceHead(BaseModel):
    """Amounts as decimal texts; those of a credit note are what is given back."""

    number: str
    kind: str = Field(description="invoice or credit-note")
    period_id: str
    clearing_group: str
    issued_on: date
    seller: str
    buyer: str
    currency: str
    net: str
    vat: str
    total: str
    xml_sha256: str


class LineShown(BaseModel):
    description: str
    agreement_id: str
    charges: int
    energy_wh: int
    amount: str
    vat_category: Category
    vat_percent: Decimal
    vat_rule: str


class VatShown(BaseModel):
    category: Category
    percent: Decimal
    taxable: str
    tax: str
    exemption_reason: str | None
    exemption_code: str | None


class BusinessShown(BaseModel):
    party: str
    legal_name: str
    street: str
    postcode: str
    city: str
    country: str
    vat_id: str | None
    tax_id: str | None


class InvoiceShown(InvoiceHead):
    """`vat_rounding`: what VAT on the sums is more than the sum of the charges' own VAT."""

    lines: list[LineShown]
    vat_breakdown: list[VatShown]
    vat_rounding: str
    seller_details: BusinessShown
    buyer_details: BusinessShown
    preceding: list[str]
    terms: str | None
    notes: list[str]


class UninvoicedShown(BaseModel):
    """Owed all the same; `wanted` says what an invoice would need. Below zero: given back."""

    period_id: str
    kind: str
    seller: str
    buyer: str
    currency: str
    clearing_group: str
    net: str
    vat: str
    wanted: list[str]


class InvoicePage(BaseModel):
    """`not_invoiced`: whatever the period; on the first page only."""

    invoices: list[InvoiceHead]
    not_invoiced: list[UninvoicedShown]
    next_cursor: str | None


def router(books: Books, *, hub: PartyId) -> APIRouter:
    """Invoices; each party reads those that it is the seller or the buyer of, the hub all."""
    routes = APIRouter(tags=["clearing-house: invoices"])

    @routes.get("/invoices", response_model=InvoicePage, operation_id="list-invoices")
    async def list_invoices(
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
        period: Annotated[str | None, Query(examples=["2025-01"])] = None,
        cursor: Annotated[str | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> Response:
        """Invoices and credit notes that the caller sent or got, in the order of their issue."""
        month = None if period is None else str(Month.parse(period))
        found = await flows.page(
            party=caller.party,
            hub=hub,
            period_id=month,
            after=_after(cursor),
            limit=limit,
            books=books,
        )
        wanting: Sequence[Uninvoiced] = ()
        if cursor is None:
            wanting = await flows.uninvoiced(
                party=caller.party, hub=hub, period_id=month, books=books
            )
        next_cursor = str(found[-1].position) if len(found) == limit else None
        page = InvoicePage(
            invoices=[head(one) for one in found],
            not_invoiced=[_uninvoiced(one) for one in wanting],
            next_cursor=next_cursor,
        )
        return json_response(page.model_dump(mode="json"), headers=page_link(request, next_cursor))

    @routes.get("/invoices/{number}", response_model=InvoiceShown, operation_id="show-invoice")
    async def show_invoice(
        number: str,
        caller: Annotated[Caller, Depends(caller_of)],
        format: Annotated[Format, Query()] = Format.JSON,
    ) -> Response:
        """An invoice: JSON; XML (EN 16931, which is the invoice itself); PDF with the XML in it."""
        found = await flows.show(number, party=caller.party, hub=hub, books=books)
        name = found.invoice.number
        tag = {"ETag": f'"{found.xml_sha256.hex()}"'}
        if format is Format.XML:
            headers = tag | {"Content-Disposition": f'inline; filename="{name}.xml"'}
            return Response(found.xml, media_type="application/xml", headers=headers)
        if format is Format.PDF:
            paper = await asyncio.to_thread(print_invoice, found.invoice, found.xml, printer())
            headers = {"Content-Disposition": f'inline; filename="{name}.pdf"'}
            return Response(paper, media_type="application/pdf", headers=headers)
        return json_response(shown(found).model_dump(mode="json"))

    return routes


def _after(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise BadCursor(
            "not a cursor", field="cursor", value=cursor, rule="next_cursor of an earlier page"
        )
    return int(cursor)


def head(found: Found) -> InvoiceHead:
    made = found.invoice
    return InvoiceHead(
        number=made.number,
        kind=KINDS[made.kind],
        period_id=found.period_id,
        clearing_group=found.clearing_group,
        issued_on=made.issued_on,
        seller=made.seller.party,
        buyer=made.buyer.party,
        currency=made.currency,
        net=Money(made.net_minor, made.currency).figure,
        vat=Money(made.vat_minor, made.currency).figure,
        total=Money(made.gross_minor, made.currency).figure,
        xml_sha256=found.xml_sha256.hex(),
    )


def shown(found: Found) -> InvoiceShown:
    made = found.invoice
    return InvoiceShown(
        **head(found).model_dump(),
        lines=[_line(line, made) for line in made.lines],
        vat_breakdown=[_vat(total, made) for total in made.vat_totals],
        vat_rounding=Money(made.vat_rounding_minor, made.currency).figure,
        seller_details=_business(made.seller),
        buyer_details=_business(made.buyer),
        preceding=[one.number for one in made.preceding],
        terms=made.set_off,
        notes=list(made.notes),
    )


def _line(line: Line, invoice: Invoice) -> LineShown:
    return LineShown(
        description=line.description,
        agreement_id=line.agreement_id,
        charges=line.charges,
        energy_wh=line.energy_wh,
        amount=Money(line.amount_minor, invoice.currency).figure,
        vat_category=line.vat.category,
        vat_percent=line.vat.percent,
        vat_rule=line.vat.rule,
    )


def _vat(total: VatTotal, invoice: Invoice) -> VatShown:
    words, code = total.vat.told
    return VatShown(
        category=total.vat.category,
        percent=total.vat.percent,
        taxable=Money(total.taxable_minor, invoice.currency).figure,
        tax=Money(total.tax_minor, invoice.currency).figure,
        exemption_reason=words,
        exemption_code=code,
    )


def _business(business: Business) -> BusinessShown:
    return BusinessShown(
        party=business.party,
        legal_name=business.legal_name,
        street=business.street,
        postcode=business.postcode,
        city=business.city,
        country=business.country,
        vat_id=business.vat_id,
        tax_id=business.tax_id,
    )


def _uninvoiced(one: Uninvoiced) -> UninvoicedShown:
    dealing = one.dealing
    return UninvoicedShown(
        period_id=one.period_id,
        kind=KINDS[one.kind],
        seller=dealing.seller,
        buyer=dealing.buyer,
        currency=dealing.currency,
        clearing_group=dealing.clearing_group,
        net=Money(one.net_minor, dealing.currency).figure,
        vat=Money(one.vat_minor, dealing.currency).figure,
        wanted=list(one.wanted),
    )
