"""HTTP for payments: a file for the payer's bank, and the invoices that its payments settle."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from starlette.responses import Response

from clearinghouse.invoicing.ports import Books as Invoices
from clearinghouse.invoicing.routes import InvoiceHead, head
from clearinghouse.payments import flows
from clearinghouse.payments.flows import SetOffDocument
from clearinghouse.payments.model import Level, Reminder
from clearinghouse.payments.paper import print_reminder, print_set_off
from clearinghouse.payments.ports import Books, Businesses
from clearinghouse.periods.model import Month
from clearinghouse.settling.flows import House
from clearinghouse.settling.routes import PaymentShown, payment_shown
from documents.printed import printer
from kit.http import Caller, caller_of, json_response
from roaming.money import Money


class Directory(Protocol):
    async def names(self) -> Mapping[str, str]:
        """What partners are called, by party."""


class Format(StrEnum):
    JSON = "json"
    PDF = "pdf"


class NotInvoiced(BaseModel):
    creditor: str
    debtor: str
    currency: str
    total: str


class GroupShown(BaseModel):
    """One clearing group and currency. Law: the invoices less credit notes, and what could not be
    invoiced, are `owed` and `owing`, and `net` is what the payments move."""

    clearing_group: str
    currency: str
    strategy: str
    owed: str
    owing: str
    net: str
    invoices: list[InvoiceHead]
    not_invoiced: list[NotInvoiced]
    payments: list[PaymentShown]


class SettledInvoices(BaseModel):
    party: str
    period_id: str
    groups: list[GroupShown]


class ReminderShown(BaseModel):
    """`open`: what was open when it was sent. `next_on`: when the next level is; null: none."""

    reference: str
    level: Level
    payer: str
    payee: str
    currency: str
    open: str
    due_on: date
    sent_on: date
    next_on: date | None


class ReminderList(BaseModel):
    reminders: list[ReminderShown]


def router(
    books: Books,
    *,
    house: House,
    businesses: Businesses,
    invoices: Invoices,
    directory: Directory,
) -> APIRouter:
    """Payments of a settled month; each party its own."""
    routes = APIRouter(tags=["clearing-house: payments"])

    @routes.get("/payment-files/{period_id}", operation_id="get-payment-file")
    async def payment_file(
        period_id: str,
        caller: Annotated[Caller, Depends(caller_of)],
        currency: Annotated[str, Query()] = "EUR",
    ) -> Response:
        """All that the caller has still to pay of a settled month: pain.001.001.09 for its bank."""
        month = Month.parse(period_id)
        file = await flows.file_for_bank(
            month, caller.party, currency, house=house, businesses=businesses
        )
        name = f"payments-{caller.party.compact}-{month}.xml"
        return Response(
            file,
            media_type="application/xml",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @routes.get(
        "/set-off-statements/{period_id}/invoices",
        response_model=SettledInvoices,
        operation_id="list-settled-invoices",
    )
    async def settled_invoices(
        period_id: str,
        caller: Annotated[Caller, Depends(caller_of)],
        format: Annotated[Format, Query()] = Format.JSON,
    ) -> Response:
        """The invoices and credit notes that the caller's part of a settlement settles."""
        month = Month.parse(period_id)
        found = await flows.set_off_documents(month, caller.party, house=house, invoices=invoices)
        if format is Format.PDF:
            names = await directory.names()
            paper = await asyncio.to_thread(
                print_set_off,
                caller.party,
                str(month),
                found,
                printer(),
                day=month.ends_at.date(),
                name_of=lambda party: names.get(party, party),
            )
            name = f"set-off-{caller.party.compact}-{month}.pdf"
            headers = {"Content-Disposition": f'inline; filename="{name}"'}
            return Response(paper, media_type="application/pdf", headers=headers)
        shown = SettledInvoices(
            party=caller.party, period_id=str(month), groups=[_group(one) for one in found]
        )
        return json_response(shown.model_dump(mode="json"))

    @routes.get("/reminders", operation_id="list-reminders")
    async def list_reminders(
        caller: Annotated[Caller, Depends(caller_of)],
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> ReminderList:
        """The latest reminders to the caller, or of what it is owed; the hub sees all."""
        found = await flows.reminders(caller.party, hub=house.hub, limit=limit, books=books)
        return ReminderList(reminders=[_reminder(one) for one in found])

    @routes.get("/reminders/{reference}/{level}", operation_id="print-reminder")
    async def show_reminder(
        reference: str, level: Level, caller: Annotated[Caller, Depends(caller_of)]
    ) -> Response:
        """A reminder as PDF."""
        found = await flows.show_reminder(
            reference, level, party=caller.party, hub=house.hub, books=books
        )
        paper = await asyncio.to_thread(print_reminder, found, printer())
        headers = {"Content-Disposition": f'inline; filename="reminder-{level}.pdf"'}
        return Response(paper, media_type="application/pdf", headers=headers)

    return routes


def _reminder(one: Reminder) -> ReminderShown:
    due = one.due
    return ReminderShown(
        reference=due.reference,
        level=one.level,
        payer=due.payer,
        payee=due.payee,
        currency=due.currency,
        open=Money(due.open_minor, due.currency).figure,
        due_on=due.due_on,
        sent_on=one.sent_on,
        next_on=one.next_on,
    )


def _group(one: SetOffDocument) -> GroupShown:
    set_off = one.set_off

    def amount(minor: int) -> str:
        return Money(minor, set_off.currency).figure

    return GroupShown(
        clearing_group=set_off.clearing_group,
        currency=set_off.currency,
        strategy=set_off.strategy.value,
        owed=amount(set_off.owed_minor),
        owing=amount(set_off.owing_minor),
        net=amount(set_off.net_minor),
        invoices=[head(found) for found in one.invoices],
        not_invoiced=[
            NotInvoiced(
                creditor=pair.creditor,
                debtor=pair.debtor,
                currency=pair.currency,
                total=Money(pair.total_minor, pair.currency).figure,
            )
            for pair in one.without_invoice
        ],
        payments=[payment_shown(payment) for payment in set_off.payments],
    )
