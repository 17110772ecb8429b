"""A statement on paper, and as JSON and CSV before it: the same figures for another reader."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date as Day
from datetime import timedelta

from clearinghouse.netting.model import Clearing, Method, Strategy
from clearinghouse.settlement.model import Side, Statement
from documents import printed
from documents.printed import Page
from kit.printing import Printer
from roaming.party import PartyId

TEMPLATE = "clearinghouse/settlement/statement.typ"
MOST_LINES = 12
"""Payments of a strategy that are listed on paper; the JSON has all of them."""

_DOES = {
    Strategy.GROSS: "every debt is paid as it stands",
    Strategy.BILATERAL: "each pair sets off its two debts",
    Strategy.MULTILATERAL: "all set off together, by the fewest payments",
    Strategy.CYCLES: "what goes round in circles is cancelled; no debt gets a new counterparty",
}


def print_statement(
    statement: Statement, printer: Printer, *, day: Day, name_of: Callable[[PartyId], str]
) -> bytes:
    """PDF/A-3, dated `day`; the same statement gives the same bytes."""
    return printer.pdf(TEMPLATE, page_of(statement, name_of), day=day)


def page_of(statement: Statement, name_of: Callable[[PartyId], str]) -> Page:
    currency = statement.currency
    first = statement.period.start.date()
    last = (statement.period.end - timedelta(microseconds=1)).date()
    period = printed.days(first, last)
    owed, owing = statement.owed, statement.owing
    net = _gross(owed) - _gross(owing)

    def amount(minor: int) -> str:
        return printed.amount(minor, currency)

    def side(one: Side) -> list[str]:
        if not one.cdrs and not one.amount_minor and not one.vat_minor:
            return ["", "", ""]
        return [printed.count(one.cdrs), amount(one.amount_minor), amount(one.vat_minor)]

    return {
        "number": f"{statement.party} · {period}",
        "subject": f"Statement of {statement.party}, {period}, {currency}",
        "foot": f"Statement for {name_of(statement.party)}",
        "party": {
            "name": name_of(statement.party),
            "lines": [],
            "ids": [("Party", str(statement.party))],
        },
        "facts": [
            ("Period", period),
            ("Currency", currency),
            ("Counterparties", printed.count(len(statement.accounts))),
            ("Charges", printed.count(owed.cdrs + owing.cdrs)),
        ],
        "figures": [
            ("Owed to you, with VAT", amount(_gross(owed))),
            ("You owe, with VAT", amount(_gross(owing))),
            ("Balance in your favour" if net >= 0 else "Balance against you", amount(abs(net))),
        ],
        "accounts": [
            {
                "name": name_of(one.counterparty),
                "party": str(one.counterparty),
                "owed": side(one.owed),
                "owing": side(one.owing),
                "net": amount(_gross(one.owed) - _gross(one.owing)),
            }
            for one in statement.accounts
        ],
        "owed": side(owed),
        "owing": side(owing),
        "net": amount(net),
        "strategies": [
            _strategy(clearing, statement.party, currency)
            for clearing in statement.clearings.values()
        ],
        "notes": [
            "Amounts exclude VAT unless they say otherwise; the balance of a counterparty includes"
            " it. Clearing as shown is of amounts without VAT.",
            "The charges one by one are at /statements/{period}/items, as JSON or CSV.",
        ],
    }


def _gross(side: Side) -> int:
    return side.amount_minor + side.vat_minor


def _strategy(clearing: Clearing, party: PartyId, currency: str) -> Page:
    net = sum(
        one.amount_minor if one.payee == party else -one.amount_minor for one in clearing.payments
    )
    does = _DOES[clearing.strategy]
    if clearing.method is Method.EXACT:
        does += " (proven)"
    few = len(clearing.payments) <= MOST_LINES
    listed = clearing.payments if few and clearing.strategy is Strategy.MULTILATERAL else ()
    return {
        "name": clearing.strategy.value,
        "does": does,
        "payments": printed.count(len(clearing.payments)),
        "net": printed.amount(net, currency),
        "lines": [
            [str(one.payer), str(one.payee), printed.amount(one.amount_minor, currency)]
            for one in listed
        ],
    }
