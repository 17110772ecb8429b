"""HTTP for billing: invoices as JSON, XML and PDF; what is paid of them; runs and fees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from documents.paper import print_invoice
from documents.printed import printer
from kit.database import Database
from kit.http import Caller, Instant, caller_of, json_response, page_link
from kit.idempotency import once
from kit.sheet import FILES, Form, file_response
from kit.sheet import wanted as form_of
from marketplace.billing import corrections, flows, looking, sheets
from marketplace.billing.fees import BadFee, Fee
from marketplace.billing.looking import Wanted
from marketplace.billing.ports import Found, House
from marketplace.billing.shapes import (
    FeeSchedule,
    FeeShown,
    InvoiceHead,
    InvoicePage,
    InvoiceShown,
    RunPage,
    RunShown,
    UnbilledPage,
    UnbilledShown,
    UninvoicedShown,
)
from marketplace.billing.standing import BadCredit, BadPayment, Entry, State, Way
from roaming.money import Money
from roaming.month import Month
from roaming.party import PartyId
from roaming.refusal import Malformed

Calling = Annotated[Caller, Depends(caller_of)]
_AMOUNT = "a decimal text with no more places than the currency has, as 12.50"


class BadCursor(Malformed):
    """A cursor that no earlier page has given."""


class LineToCredit(BaseModel):
    line: Annotated[int, Field(ge=1)]
    amount: Annotated[str, Field(description="before VAT", examples=["12.50"])]


class CreditAsked(BaseModel):
    """`lines` absent: all that is left of the invoice. `bill_again`: a further run bills it."""

    reason: str
    lines: Annotated[list[LineToCredit], Field(min_length=1)] | None = None
    bill_again: bool = False


class PaymentAsked(BaseModel):
    """`reference`: what names the payment, once for each invoice. Below zero: taken back."""

    reference: str
    amount: Annotated[str, Field(examples=["12.50"])]
    currency: str
    on: date
    note: Annotated[str, Field(max_length=200)] = ""


class WriteOffAsked(BaseModel):
    reason: Annotated[str, Field(min_length=1, max_length=200)]


class RunAsked(BaseModel):
    """`up_to` absent: the whole month, which is over then."""

    month: Annotated[str, Field(examples=["2026-10"])]
    up_to: Instant | None = None


class FeeAsked(BaseModel):
    valid_from: Annotated[str, Field(description="a month", examples=["2026-12"])]
    percent: Annotated[str, Field(examples=["2.5"])]
    per_invoice: Annotated[str, Field(examples=["0.30"])] = "0"
    currency: str | None = None
    provider: str | None = None
    category: Annotated[str | None, Field(max_length=100)] = None


def router(house: House, database: Database, wake: Callable[[], None] = lambda: None) -> APIRouter:
    """Each party sees what it sells and buys, the operator all. `wake`: a run was begun."""
    routes = APIRouter(prefix="/marketplace", tags=["billing"])
    _add_reading(routes, house)
    _add_corrections(routes, house, database)
    _add_runs(routes, house, database, wake)
    _add_fees(routes, house, database)
    return routes


def _add_reading(routes: APIRouter, house: House) -> None:
    @routes.get(
        "/invoices",
        summary="Invoices and credit notes for services, own ones; as CSV or Parquet, all of them",
        response_model=InvoicePage,
        responses=FILES,
    )
    async def list_service_invoices(
        request: Request,
        response: Response,
        caller: Calling,
        month: Annotated[str | None, Query(examples=["2026-10"])] = None,
        contract_id: Annotated[str | None, Query(max_length=40)] = None,
        party: Annotated[str | None, Query(description="the other side")] = None,
        state: State | None = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        cursor: Annotated[str | None, Query()] = None,
        format: Annotated[Form | None, Query(description="else as `Accept` says")] = None,
    ) -> InvoicePage | Response:
        wanted = Wanted(
            month=None if month is None else Month.parse(month, "month"),
            contract_id=contract_id,
            counterparty=None if party is None else PartyId(party),
            state=state,
        )
        today = house.clock().date()
        form = form_of(format, request.headers.get("accept", ""))
        if form is not Form.JSON:
            rows = looking.every(caller.party, wanted, house=house)
            return await file_response(form, sheets.invoices(today), rows, "invoices")
        found = await looking.page(
            caller.party, wanted, after=_after(cursor), limit=limit, house=house
        )
        waiting = [] if cursor else await looking.uninvoiced(caller.party, house=house)
        more = str(found[-1].position) if len(found) == limit else None
        response.headers.update(page_link(request, more))
        return InvoicePage(
            invoices=[InvoiceHead.of(one, today) for one in found],
            not_invoiced=[UninvoicedShown.of(one) for one in waiting],
            next_cursor=more,
        )

    @routes.get(
        "/invoices/unbilled", summary="What a month has come to by now, under own contracts"
    )
    async def show_unbilled(
        caller: Calling, month: Annotated[str | None, Query(description="else this month")] = None
    ) -> UnbilledPage:
        asked = Month.of(house.clock()) if month is None else Month.parse(month, "month")
        found = await looking.unbilled(caller.party, asked, house=house)
        return UnbilledPage(month=str(asked), contracts=[UnbilledShown.of(one) for one in found])

    @routes.get(
        "/invoices/{number}.xml",
        summary="The invoice itself: XML by EN 16931",
        response_class=Response,
        responses={200: {"content": {"application/xml": {}}}},
    )
    async def service_invoice_xml(number: str, caller: Calling) -> Response:
        found = await looking.find(number, caller.party, house=house)
        return _file(found, found.xml, "application/xml", "xml")

    @routes.get(
        "/invoices/{number}.pdf",
        summary="The invoice on paper, with the XML in it",
        response_class=Response,
        responses={200: {"content": {"application/pdf": {}}}},
    )
    async def service_invoice_pdf(number: str, caller: Calling) -> Response:
        found = await looking.find(number, caller.party, house=house)
        paper = await asyncio.to_thread(print_invoice, found.invoice, found.xml, printer())
        return _file(found, paper, "application/pdf", "pdf")

    @routes.get("/invoices/{number}", summary="An invoice, its lines, and how it stands")
    async def show_service_invoice(number: str, caller: Calling) -> InvoiceShown:
        whole = await looking.show(number, caller.party, house=house)
        return InvoiceShown.whole(whole, house.clock().date())


def _file(found: Found, content: bytes, media_type: str, ending: str) -> Response:
    name = f"{found.invoice.number}.{ending}"
    headers = {
        "ETag": f'"{found.xml_sha256.hex()}"',
        "Content-Disposition": f'inline; filename="{name}"',
    }
    return Response(content, media_type=media_type, headers=headers)


def _add_corrections(routes: APIRouter, house: House, database: Database) -> None:
    @routes.post(
        "/invoices/{number}/credit-notes",
        summary="Credit an invoice, whole or in part: its seller, or the operator",
        status_code=201,
        response_model=InvoiceHead,
    )
    async def credit_invoice(
        request: Request, number: str, asked: CreditAsked, caller: Calling
    ) -> Response:
        async def run() -> Response:
            found = await looking.find(number, caller.party, house=house)
            currency = found.invoice.currency
            lines = None if asked.lines is None else read_lines(asked.lines, currency)
            note = await corrections.credit(
                *(number, caller.party),
                reason=asked.reason,
                lines=lines,
                bill_again=asked.bill_again,
                house=house,
            )
            return _shown(note, house, 201)

        return await once(request, run, database=database, party=caller.party, clock=house.clock)

    @routes.post(
        "/invoices/{number}/payments",
        summary="Record a payment, once for its reference: the seller, or the operator",
        status_code=201,
        response_model=InvoiceHead,
    )
    async def record_payment(
        request: Request, number: str, asked: PaymentAsked, caller: Calling
    ) -> Response:
        async def run() -> Response:
            found = await looking.find(number, caller.party, house=house)
            currency = found.invoice.currency
            if asked.currency != currency:
                raise BadPayment(
                    "another currency", field="currency", value=asked.currency[:10], rule=currency
                )
            entry = Entry(
                reference=asked.reference,
                way=Way.PAYMENT,
                amount_minor=_minor(asked.amount, currency, "amount", BadPayment),
                on=asked.on,
                note=asked.note,
            )
            paid, new = await corrections.record(number, caller.party, entry, house=house)
            return _shown(paid, house, 201 if new else 200)

        return await once(request, run, database=database, party=caller.party, clock=house.clock)

    @routes.post(
        "/invoices/{number}/write-off",
        summary="Write off what is open: the seller, or the operator",
        response_model=InvoiceHead,
    )
    async def write_off_invoice(
        request: Request, number: str, asked: WriteOffAsked, caller: Calling
    ) -> Response:
        async def run() -> Response:
            found, _ = await corrections.write_off(number, caller.party, asked.reason, house=house)
            return _shown(found, house, 200)

        return await once(request, run, database=database, party=caller.party, clock=house.clock)


def read_lines(asked: Sequence[LineToCredit], currency: str) -> dict[int, int]:
    """How much of which lines is credited, in minor units. BadCredit."""
    lines: dict[int, int] = {}
    for one in asked:
        if one.line in lines:
            raise BadCredit(
                "a line is named twice", field="lines", value=one.line, rule="each line once"
            )
        lines[one.line] = _minor(one.amount, currency, "lines", BadCredit)
    return lines


def _shown(found: Found, house: House, status: int) -> Response:
    head = InvoiceHead.of(found, house.clock().date())
    return json_response(head.model_dump(mode="json"), status)


def _add_runs(
    routes: APIRouter, house: House, database: Database, wake: Callable[[], None]
) -> None:
    @routes.post(
        "/billing-runs",
        summary="Bill a month, or what there is of it by now (the hub's operator)",
        status_code=202,
        response_model=RunShown,
    )
    async def begin_billing(request: Request, asked: RunAsked, caller: Calling) -> Response:
        async def run() -> Response:
            looking.operator_only(caller.party, house)
            begun = await flows.begin(
                Month.parse(asked.month, "month"), asked.up_to, caller.party, house=house
            )
            wake()
            shown = RunShown.of(begun).model_dump(mode="json")
            where = {"Location": f"/marketplace/billing-runs/{begun.run_id}"}
            return json_response(shown, 202, where)

        return await once(request, run, database=database, party=caller.party, clock=house.clock)

    @routes.get("/billing-runs", summary="Billing runs, the latest first (the hub's operator)")
    async def list_billing_runs(
        request: Request,
        response: Response,
        caller: Calling,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        cursor: Annotated[str | None, Query(pattern="^[0-9a-f-]{1,36}$")] = None,
    ) -> RunPage:
        found = await looking.runs(caller.party, cursor, limit, house=house)
        more = found[-1].run_id if len(found) == limit else None
        response.headers.update(page_link(request, more))
        return RunPage(runs=[RunShown.of(one) for one in found], next_cursor=more)

    @routes.get("/billing-runs/{run_id}", summary="How far a run has come (the hub's operator)")
    async def show_billing_run(run_id: str, caller: Calling) -> RunShown:
        looking.operator_only(caller.party, house)
        return RunShown.of(await flows.show(run_id, house=house))


def _add_fees(routes: APIRouter, house: House, database: Database) -> None:
    @routes.get("/fees", summary="What the marketplace asks of what is sold on it")
    async def show_fees(caller: Calling) -> FeeSchedule:
        found = await looking.fee_schedule(caller.party, house=house)
        return FeeSchedule(fees=[FeeShown.of(one) for one in found])

    @routes.post(
        "/fees",
        summary="Set a fee from a month on (the hub's operator)",
        status_code=201,
        response_model=FeeShown,
    )
    async def set_fee(request: Request, asked: FeeAsked, caller: Calling) -> Response:
        async def run() -> Response:
            looking.operator_only(caller.party, house)
            fee = await looking.set_fee(read_fee(asked), caller.party, house=house)
            return json_response(FeeShown.of(fee).model_dump(mode="json"), 201)

        return await once(request, run, database=database, party=caller.party, clock=house.clock)


def read_fee(asked: FeeAsked) -> Fee:
    """A fee out of its texts. Raises BadFee, BadMoney, BadPeriodId."""
    try:
        percent = Decimal(asked.percent)
    except InvalidOperation:
        raise BadFee(
            "not a percentage", field="percent", value=asked.percent[:40], rule="as 2.5"
        ) from None
    each = 0
    if asked.currency is not None:
        each = _minor(asked.per_invoice, asked.currency, "per_invoice", BadFee)
    elif asked.per_invoice != "0":
        raise BadFee("a fee for each invoice has a currency", field="currency", rule="as EUR")
    return Fee(
        valid_from=Month.parse(asked.valid_from, "valid_from"),
        percent=percent,
        per_invoice_minor=each,
        currency=asked.currency,
        provider=None if asked.provider is None else PartyId(asked.provider),
        category=asked.category,
    )


def _minor(text: str, currency: str, field: str, refusal: type[Malformed]) -> int:
    try:
        money = Money.parse(f"{text} {currency}")
    except Malformed:
        raise refusal("not an amount", field=field, value=text[:40], rule=_AMOUNT) from None
    return money.minor


def _after(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise BadCursor(
            "not a cursor", field="cursor", value=cursor, rule="next_cursor of an earlier page"
        )
    return int(cursor)
