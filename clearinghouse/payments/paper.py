"""A reminder on paper."""

from __future__ import annotations

from clearinghouse import printed
from clearinghouse.payments.model import Level, Reminder
from clearinghouse.printed import Page
from kit.printing import Printer

TEMPLATE = "payments/reminder.typ"
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
