"""The columns of the files that invoices can be had as."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date as Day
from decimal import Decimal

from documents.invoice import Invoice
from kit.sheet import Column, Kind, Sheet
from marketplace.billing.ports import Found
from marketplace.billing.shapes import KINDS
from marketplace.billing.standing import Standing
from roaming.money import Money


def invoices(today: Day) -> Sheet[Found]:
    """A document a row, as it stands today; amounts as the list of invoices has them."""
    return (
        Column("number", Kind.TEXT, lambda one: one.invoice.number),
        Column("kind", Kind.TEXT, lambda one: KINDS[one.invoice.kind]),
        Column("about", Kind.TEXT, lambda one: one.about.value),
        Column("month", Kind.TEXT, lambda one: str(one.month)),
        Column("contract_id", Kind.TEXT, lambda one: one.contract_id),
        Column("issued_on", Kind.DAY, lambda one: one.invoice.issued_on),
        Column("due_on", Kind.DAY, lambda one: one.invoice.due_on),
        Column("seller", Kind.TEXT, lambda one: one.invoice.seller.party),
        Column("buyer", Kind.TEXT, lambda one: one.invoice.buyer.party),
        Column("currency", Kind.TEXT, lambda one: one.invoice.currency),
        _asked("net", lambda made: made.net_minor),
        _asked("vat", lambda made: made.vat_minor),
        _asked("total", lambda made: made.gross_minor),
        _stands("credited", lambda standing: standing.credited_minor),
        _stands("paid", lambda standing: standing.paid_minor),
        _stands("written_off", lambda standing: standing.written_off_minor),
        _stands("open", lambda standing: standing.open_minor),
        Column("state", Kind.TEXT, lambda one: one.standing.state(today).value),
        Column("corrects", Kind.TEXT, _corrects),
        Column("reason", Kind.TEXT, lambda one: one.reason),
        Column("xml_sha256", Kind.TEXT, lambda one: one.xml_sha256.hex()),
    )


def _asked(name: str, minor: Callable[[Invoice], int]) -> Column[Found]:
    return Column(name, Kind.AMOUNT, lambda one: _decimal(one, minor(one.invoice)))


def _stands(name: str, minor: Callable[[Standing], int]) -> Column[Found]:
    return Column(name, Kind.AMOUNT, lambda one: _decimal(one, minor(one.standing)))


def _decimal(one: Found, minor: int) -> Decimal:
    return Money(minor, one.invoice.currency).decimal


def _corrects(one: Found) -> str | None:
    return " ".join(before.number for before in one.invoice.preceding) or None
