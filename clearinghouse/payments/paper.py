"""On paper: what was set off, invoice by invoice, and reminders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date as Day

from clearinghouse.invoicing.ports import Found
from clearinghouse.payments.flows import SetOffDocument
from clearinghouse.payments.model import Level, Reminder
from documents import printed
from documents.invoice import Kind
from documents.paper import TITLES as INVOICE_TITLES
from documents.printed import Page
from kit.printing import Printer
from roaming.party import PartyId

TEMPLATE = "clearinghouse/payments/reminder.typ"
TITLES = {
    Level.FIRST: "Reminder",
    Level.SECOND: "Second reminder",
    Level.FINAL: "Final reminder",
}


def print_reminder(reminder: Reminder, printer: Printer) -> bytes:
    """PDF/A-3, dated by the day on which it is sent."""
    return printer.pdf(TEMPLATE, page_of(reminder), day=reminder.sent_on)


def page_of(reminder: Reminder) -> Page:
    due = reminder.due
    payer, payee = due.payer_account, due.payee_account
    payer_name = str(due.payer) if payer is None else payer.name
    payee_name = str(due.payee) if payee is None else payee.name
    late = (reminder.sent_on - due.due_on).days
    pay = [("To", payee_name)]
    if payee is not None and payee.iban is not None:
        pay.append(("IBAN", printed.iban(payee.iban)))
    if payee is not None and payee.bic is not None:
        pay.append(("BIC", payee.bic))
    pay.append(("Reference", due.reference))
    return {
        "title": TITLES[reminder.level],
        "number": due.reference,
        "subject": f"{TITLES[reminder.level]}: {due.reference}",
        "foot": f"Reminder to {payer_name}",
        "to": {"name": payer_name, "lines": [], "ids": [("Party", str(due.payer))]},
        "facts": [
            ("Date", printed.day(reminder.sent_on)),
            ("Due", printed.day(due.due_on)),
            ("Days late", printed.count(late)),
        ],
        "opening": (
            f"The payment {due.reference} to {payee_name}"
            f"{f' ({due.about})' if due.about else ''} was due on {printed.day(due.due_on)},"
            " and has not come in full."
        ),
        "figures": [
            ("Amount", printed.money(due.amount_minor, due.currency)),
            ("Paid so far", printed.money(due.paid_minor, due.currency)),
            ("Still to be paid", printed.money(due.open_minor, due.currency)),
        ],
        "pay": pay,
        "closing": _closing(reminder),
    }


def _closing(reminder: Reminder) -> str:
    crossed = "If you have paid meanwhile, this letter has crossed your payment."
    if reminder.next_on is None:
        return (
            f"This is the last reminder. What follows is between you, {reminder.due.payee} and the"
            f" rules of the clearing house on partners that do not pay. {crossed}"
        )
    return f"The next reminder is sent on {printed.day(reminder.next_on)}. {crossed}"


SET_OFF_TEMPLATE = "clearinghouse/payments/setoff.typ"
NameOf = Callable[[PartyId], str]


def print_set_off(
    party: PartyId,
    period_id: str,
    documents: Sequence[SetOffDocument],
    printer: Printer,
    *,
    day: Day,
    name_of: NameOf,
) -> bytes:
    """PDF/A-3, dated `day`."""
    page = set_off_page(party, period_id, documents, name_of)
    return printer.pdf(SET_OFF_TEMPLATE, page, day=day)


def set_off_page(
    party: PartyId, period_id: str, documents: Sequence[SetOffDocument], name_of: NameOf
) -> Page:
    return {
        "number": f"{party} · {period_id}",
        "subject": f"Set-off statement of {party}, {period_id}",
        "foot": f"Set-off statement for {name_of(party)}",
        "party": {"name": name_of(party), "lines": [], "ids": [("Party", str(party))]},
        "facts": [
            ("Period", period_id),
            ("Invoices", printed.count(sum(len(one.invoices) for one in documents))),
            ("Payments", printed.count(sum(len(one.set_off.payments) for one in documents))),
        ],
        "groups": [_group(one, party, name_of) for one in documents],
        "notes": [
            "Each document is settled by this set-off and the payments above, whole.",
            "Amounts include VAT. What could not be invoiced is listed by the sum of the pair.",
        ],
    }


def _group(one: SetOffDocument, party: PartyId, name_of: NameOf) -> Page:
    set_off = one.set_off
    currency = set_off.currency

    def amount(minor: int) -> str:
        return printed.amount(minor, currency)

    net = set_off.net_minor
    rows = [_row(found, party, name_of) for found in one.invoices]
    for pair in one.without_invoice:
        other, owed = (pair.debtor, True) if pair.creditor == party else (pair.creditor, False)
        told = printed.amount(pair.total_minor, pair.currency)
        rows.append(["Not invoiced", "", name_of(other), *((told, "") if owed else ("", told))])
    return {
        "title": f"{set_off.clearing_group or 'gross'}, {currency}",
        "figures": [
            ("Owed to you", amount(set_off.owed_minor)),
            ("You owed", amount(set_off.owing_minor)),
            ("You get" if net >= 0 else "You pay", amount(abs(net))),
        ],
        "rows": rows,
        "owed": amount(set_off.owed_minor),
        "owing": amount(set_off.owing_minor),
        "payments": [
            [
                name_of(payment.payer),
                name_of(payment.payee),
                payment.reference,
                printed.day(payment.due_on),
                printed.money(payment.amount_minor, payment.currency),
            ]
            for payment in set_off.payments
        ],
    }


def _row(found: Found, party: PartyId, name_of: NameOf) -> list[str]:
    invoice = found.invoice
    sign = -1 if invoice.kind is Kind.CREDIT_NOTE else 1
    told = printed.amount(sign * invoice.gross_minor, invoice.currency)
    sold = invoice.seller.party == party
    other = invoice.buyer.party if sold else invoice.seller.party
    return [
        INVOICE_TITLES[invoice.kind],
        invoice.number,
        name_of(other),
        *((told, "") if sold else ("", told)),
    ]
