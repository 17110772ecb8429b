"""What stands on an invoice for a service, and what is kept of each of its lines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date as Day
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from documents.invoice import (
    Business,
    Category,
    Counted,
    Invoice,
    Kind,
    Line,
    Preceding,
    Vat,
    VatTotal,
)
from marketplace.billing.fees import FeeLine, Share
from marketplace.billing.model import DAYS_TO_PAY, Draft, Item, Run, unit_of
from roaming.money import Money
from roaming.month import Month
from roaming.party import PartyId
from roaming.rounding import half_up

SERIES = "S"
"""Numbers of services: FRPD1-S2026-000042, beside those that the clearing house gives out."""


class About(StrEnum):
    SERVICE = "service"
    FEE = "fee"


@dataclass(frozen=True, slots=True)
class KeptLine:
    """A line as the books have it: below zero where it is credited.

    `taken`: whether it counts against what the month comes to. What a seller gives away does not:
    a further run would bill it again. `corrects`: the number and the line that it credits.
    """

    month: Month
    item: Item
    taken: bool = True
    corrects: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """An invoice or a credit note, and what stands beside it. `corrects`: the invoice that a credit
    note counts against. `share`: how a sale is parted."""

    invoice: Invoice
    about: About
    month: Month
    lines: tuple[KeptLine, ...]
    contract_id: str | None = None
    run_id: str | None = None
    corrects: str | None = None
    share: Share | None = None
    reason: str | None = None

    @property
    def net_minor(self) -> int:
        """As the books have it."""
        sign = -1 if self.invoice.kind is Kind.CREDIT_NOTE else 1
        return sign * self.invoice.net_minor


@dataclass(frozen=True, slots=True)
class Ready:
    """Lines that make one document, before it has its number.

    `corrects`: invoices that a credit note is about; it counts against the first of them.
    """

    kind: Kind
    seller: Business
    buyer: Business
    currency: str
    about: About
    lines: tuple[tuple[Line, KeptLine], ...]
    contract_id: str | None = None
    days_to_pay: int = DAYS_TO_PAY
    corrects: tuple[Preceding, ...] = ()

    @property
    def net_minor(self) -> int:
        return sum(kept.item.amount_minor for _, kept in self.lines)


def ready(
    draft: Draft, run: Run, seller: Business, buyer: Business, vats: Mapping[Month, Vat]
) -> list[Ready]:
    """The documents that a draft becomes: EN 16931 lets nothing stand beside what is outside the
    scope of VAT; what comes to less than nothing is a credit note."""
    contract = draft.contract
    dealt: dict[bool, list[tuple[Line, KeptLine]]] = {}
    for month, item in draft.items:
        late = f", {month}" if month == run.month else f", late use of {month}"
        text = f"{item.text}: {contract.service} v{contract.major}{late}"
        line = _line(text, contract.contract_id, vats[month], item)
        outside = vats[month].category is Category.OUTSIDE_SCOPE
        dealt.setdefault(outside, []).append((line, KeptLine(month, item)))
    made = [
        Ready(
            *(Kind.INVOICE, seller, buyer, contract.currency, About.SERVICE, tuple(some)),
            contract_id=contract.contract_id,
            days_to_pay=contract.days_to_pay,
        )
        for some in dealt.values()
    ]
    return [signed(one) for one in made if one.net_minor]


def ready_fee(
    fees: Sequence[FeeLine], run: Run, seller: Business, buyer: Business, currency: str, vat: Vat
) -> Ready:
    """The marketplace's own invoice to a provider."""
    lines = []
    for number, fee in enumerate(fees):
        sold = f"{fee.percent.normalize():f} % of {Money(fee.net_minor, currency)}"
        each = ""
        if fee.per_invoice_minor:
            each = f" and {Money(fee.per_invoice_minor, currency)} each"
        text = f"Fee of the marketplace: {sold}{each}, sold until {run.month}"
        item = Item(f"fee.{number}", text, Decimal(fee.documents), "document", fee.fee_minor)
        line = _line(text, "marketplace fee", vat, item)
        lines.append((line, KeptLine(run.month, item)))
    return signed(Ready(Kind.INVOICE, seller, buyer, currency, About.FEE, tuple(lines)))


def signed(made: Ready) -> Ready:
    """What comes to less than nothing is a credit note, whose lines are positive on paper."""
    if made.net_minor >= 0:
        return made
    lines = tuple((_turned(line), kept) for line, kept in made.lines)
    return replace(made, kind=Kind.CREDIT_NOTE, lines=lines)


@dataclass(slots=True)
class Left:
    """What an invoice has asked for a contract's month, and has not been credited of it."""

    invoice: Preceding
    minor: int


def parted(note: Ready, left: Mapping[Month, Sequence[Left]]) -> list[Ready]:
    """A run's credit note as one for each invoice that it corrects. `left`: the latest first; what
    is taken of it here is gone.

    None is credited for more than it asked: what no invoice has left was given away before, and is
    not given twice. What comes to more meanwhile stands on the first of them, which takes others in
    where that would leave nothing to be credited; where nothing is left to be, it is an invoice.
    """
    parts: dict[Preceding, list[tuple[Line, KeptLine]]] = {}
    more: list[tuple[Line, KeptLine]] = []
    for line, kept in note.lines:
        if kept.item.amount_minor >= 0:
            more.append((line, kept))
            continue
        shares = _shared(-kept.item.amount_minor, left.get(kept.month, ()))
        for place, (invoice, minor) in enumerate(shares, 1):
            one = _part(line, kept, minor, last=place == len(shares))
            parts.setdefault(invoice, []).append(one)
    notes: list[Ready] = []
    corrected: list[Preceding] = []
    for invoice, lines in sorted(parts.items(), key=lambda part: _net(part[1])):
        more += lines
        corrected.append(invoice)
        if _net(more) < 0:
            notes.append(replace(note, lines=tuple(more), corrects=tuple(corrected)))
            more, corrected = [], []
    if _net(more) > 0:
        turned = tuple((_turned(line), kept) for line, kept in more)
        notes.append(replace(note, kind=Kind.INVOICE, lines=turned))
    return notes


def _shared(minor: int, left: Sequence[Left]) -> list[tuple[Preceding, int]]:
    """An amount dealt out to invoices, as far as they have it left."""
    shares = []
    for one in left:
        share = min(max(0, one.minor), minor)
        if share:
            one.minor -= share
            minor -= share
            shares.append((one.invoice, share))
    return shares


def _part(line: Line, kept: KeptLine, minor: int, *, last: bool) -> tuple[Line, KeptLine]:
    """So much of a line of a credit note; what was called stands on the last part."""
    item, counted = kept.item, line.counted
    assert counted is not None
    nothing = Decimal(0)
    quantity = item.quantity if last else nothing
    return (
        replace(
            line,
            amount_minor=minor,
            vat_minor=half_up(Fraction(line.vat.percent) * minor / 100),
            counted=replace(counted, quantity=counted.quantity if last else nothing),
        ),
        replace(kept, item=replace(item, amount_minor=-minor, quantity=quantity)),
    )


def _net(lines: Iterable[tuple[Line, KeptLine]]) -> int:
    return sum(kept.item.amount_minor for _, kept in lines)


def write(
    made: Ready,
    number: str,
    today: Day,
    *,
    hub: PartyId,
    days: tuple[Day, Day],
    vat_before: tuple[VatTotal, ...] = (),
    notes: tuple[str, ...] = (),
) -> Invoice:
    """The document itself. `days`: the first and the last of the supply. `vat_before`: of the
    credit notes that the invoice had before this one."""
    corrected = tuple(sorted(made.corrects, key=lambda one: (one.issued_on, one.number)))
    due_on: Day | None = today + timedelta(days=made.days_to_pay)
    terms = None
    if made.kind is Kind.CREDIT_NOTE:
        due_on, terms = None, "Set against what it corrects; what was paid already is paid back."
    elif made.seller.iban is None:
        terms = "To the account that the seller names: it has told the marketplace none."
    if made.seller.party != hub:
        notes = (
            f"Issued by {hub}, the marketplace, in the name and on behalf of the seller.",
            *notes,
        )
    return Invoice(
        number=number,
        kind=made.kind,
        issued_on=today,
        due_on=due_on,
        first_day=days[0],
        last_day=days[1],
        seller=made.seller,
        buyer=made.buyer,
        currency=made.currency,
        lines=tuple(line for line, _ in made.lines),
        set_off=terms,
        preceding=corrected,
        notes=notes,
        vat_before=vat_before,
    )


def supplied(months: Iterable[Month], up_to: datetime) -> tuple[Day, Day]:
    """The days that an invoice is about: of whole months, the last one up to the cut-off."""
    every = sorted(months)
    last = min(every[-1].ends_at, up_to) - timedelta(microseconds=1)
    return every[0].starts_at.date(), last.date()


def credited_line(line: Line, item: Item) -> Line:
    """The line of an invoice, with what is taken back of it: below zero as in the books."""
    assert line.counted is not None
    return replace(
        line,
        amount_minor=item.amount_minor,
        vat_minor=half_up(Fraction(line.vat.percent) * item.amount_minor / 100),
        counted=replace(line.counted, quantity=item.quantity),
    )


def _line(text: str, contract_id: str, vat: Vat, item: Item) -> Line:
    named = "" if item.unit in _ONCE else item.unit
    return Line(
        description=text,
        agreement_id=contract_id,
        vat=vat,
        amount_minor=item.amount_minor,
        vat_minor=half_up(Fraction(vat.percent) * item.amount_minor / 100),
        counted=Counted(item.quantity, unit_of(item.unit), named),
    )


_ONCE = {"one-time", "recurring", "minimum"}


def _turned(line: Line) -> Line:
    counted = line.counted
    assert counted is not None
    return replace(
        line,
        amount_minor=-line.amount_minor,
        vat_minor=-line.vat_minor,
        counted=replace(counted, quantity=abs(counted.quantity)),
    )
