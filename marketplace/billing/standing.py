"""How an invoice stands: nothing of it is kept but what was credited, paid and written off.

Law: what is open is what the invoice asks for, less what was credited, paid and written off; no
line is credited for more than it asked, nor all together for more than the invoice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date as Day
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from documents.invoice import Kind, Line
from marketplace.billing.model import Item
from roaming.month import Month
from roaming.refusal import Clash, Malformed

LEVELS = (7, 21, 35)
"""Days after the due day on which who has not paid is reminded."""
LONGEST_REFERENCE = 140
LONGEST_REASON = 1_000


class BadPayment(Malformed):
    """Not a payment that can be recorded."""


class BadCredit(Malformed):
    """Not a credit that can be given."""


class NothingToCredit(Clash):
    """A credit note is not credited, nor what was credited whole."""


class NothingOpen(Clash):
    """Of this document nothing is to be paid."""


class ReferenceTaken(Clash):
    """The reference names another payment of this invoice."""


class State(StrEnum):
    OPEN = "open"
    PART_PAID = "part-paid"
    PAID = "paid"
    OVERDUE = "overdue"
    WRITTEN_OFF = "written-off"
    CREDITED = "credited"


class Way(StrEnum):
    """How an invoice came to be open no more."""

    PAYMENT = "payment"
    WRITTEN_OFF = "written-off"


@dataclass(frozen=True, slots=True)
class Entry:
    """A payment, or what was written off. Below zero: taken back. Of one reference there is one."""

    reference: str
    way: Way
    amount_minor: int
    on: Day
    note: str = ""

    def __post_init__(self) -> None:
        if not 0 < len(self.reference) <= LONGEST_REFERENCE or not self.reference.isprintable():
            raise BadPayment(
                "not a reference",
                field="reference",
                value=self.reference[:100],
                rule=f"1 to {LONGEST_REFERENCE} printable characters, as on the bank statement",
            )
        if not self.amount_minor:
            raise BadPayment("an amount of nothing", field="amount", value="0", rule="an amount")


@dataclass(frozen=True, slots=True)
class Standing:
    """The sums of one document, tax included. Of a credit note nothing is open."""

    kind: Kind
    gross_minor: int
    due_on: Day | None
    credited_minor: int = 0
    paid_minor: int = 0
    written_off_minor: int = 0

    @property
    def open_minor(self) -> int:
        """Below zero: so much is to be paid back."""
        if self.kind is Kind.CREDIT_NOTE:
            return 0
        return self.gross_minor - self.credited_minor - self.paid_minor - self.written_off_minor

    def state(self, today: Day) -> State:
        if self.kind is Kind.CREDIT_NOTE or self.credited_minor >= self.gross_minor:
            return State.CREDITED
        if self.open_minor <= 0:
            return State.WRITTEN_OFF if self.written_off_minor > 0 else State.PAID
        if self.due_on is not None and today > self.due_on:
            return State.OVERDUE
        return State.PART_PAID if self.paid_minor > 0 else State.OPEN

    def level(self, today: Day) -> int:
        """How many times it should have been reminded by now."""
        if self.due_on is None or self.state(today) is not State.OVERDUE:
            return 0
        return sum(today >= self.due_on + timedelta(days=days) for days in LEVELS)


def recovered(standing: Standing, entry: Entry) -> int:
    """What of a payment was written off before it came: so much is taken back of that first."""
    if entry.way is not Way.PAYMENT:
        return 0
    return max(0, min(entry.amount_minor - standing.open_minor, standing.written_off_minor))


def entered(standing: Standing, entry: Entry, figure: str) -> Standing:
    """The standing after an entry. `figure`: what is open, to be read. BadPayment, NothingOpen.

    More than is open is refused: it belongs to another invoice, or goes back.
    """
    if standing.kind is Kind.CREDIT_NOTE:
        raise NothingOpen("a credit note asks for no payment", rule="the invoice that it corrects")
    if entry.way is Way.PAYMENT:
        after = replace(standing, paid_minor=standing.paid_minor + entry.amount_minor)
    else:
        after = replace(standing, written_off_minor=standing.written_off_minor + entry.amount_minor)
    if entry.amount_minor > 0 and entry.amount_minor > standing.open_minor:
        raise BadPayment(
            "more than is open", field="amount", rule=f"at most {figure}, which is open"
        )
    if after.paid_minor < 0 or after.written_off_minor < 0:
        raise BadPayment(
            "more than was paid is taken back", field="amount", rule="at most what was recorded"
        )
    return after


@dataclass(frozen=True, slots=True)
class Billed:
    """A line of an invoice, and what of it was credited by now, also by billing runs."""

    number: int
    month: Month
    item: Item
    line: Line
    credited_minor: int = 0

    @property
    def left_minor(self) -> int:
        return self.item.amount_minor - self.credited_minor


def credit(lines: Sequence[Billed], asked: Mapping[int, int] | None) -> list[tuple[Billed, Item]]:
    """What is credited of an invoice: all that is left of it, or so much of these lines.

    The items are below zero, as the books have them. BadCredit, NothingToCredit.
    """
    known = {line.number: line for line in lines}
    for number, minor in (asked or {}).items():
        line = known.get(number)
        if line is None:
            raise BadCredit("no such line", field="lines", value=number, rule=f"1 to {len(lines)}")
        if not 0 < minor <= line.left_minor:
            raise BadCredit(
                "not what can be credited of this line",
                field="lines",
                value=number,
                rule=f"more than 0 and at most {line.left_minor} minor units",
            )
    # What a line below zero took back of the others was never asked for.
    left = sum(line.left_minor for line in lines)
    given = {line.number: line.left_minor for line in lines} if asked is None else asked
    made = [
        (line, _credited(line, given[line.number]))
        for line in lines
        if given.get(line.number, 0) != 0
    ]
    if left <= 0 or sum(item.amount_minor for _, item in made) >= 0:
        raise NothingToCredit("nothing is left to be credited", rule="an invoice not yet credited")
    if (together := -sum(item.amount_minor for _, item in made)) > left:
        raise BadCredit(
            "more than is left of the invoice",
            field="lines",
            value=together,
            rule=f"at most {left} minor units together",
        )
    return made


def _credited(line: Billed, minor: int) -> Item:
    """What was called is taken back with the whole of a line; a part of it is about the price."""
    whole = minor == line.item.amount_minor
    quantity = -line.item.quantity if whole else Decimal(0)
    return replace(line.item, quantity=quantity, amount_minor=-minor)
