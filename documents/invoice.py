"""Invoices: what was supplied, by whom, to whom, and the VAT of it. Immutable once they are issued.

Laws. An invoice's net is the sum of its lines, to the cent what the ledger has of them. VAT is
reckoned once per VAT rule, on the sum of its lines (EN 16931, BR-CO-17), where each charge had its
own rounded once; the difference is `vat_rounding_minor`, so that the ledger can be told of it:
net + VAT of the charges + rounding = what the invoice asks for. Of an invoice that is credited in
parts, each part's VAT is that of all parts until then, less what the others had: credited whole, in
however many parts, its VAT is credited to the cent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date as Day
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from roaming.money import places_of
from roaming.party import PartyId
from roaming.rounding import half_up

MOST_PLACES = 2
"""EN 16931 knows no amount with more (BR-DEC): a Kuwaiti dinar has three."""


class Kind(StrEnum):
    """The value is the code of UNTDID 1001."""

    INVOICE = "380"
    CREDIT_NOTE = "381"


class Category(StrEnum):
    """How VAT is charged; the value is the code of UNTDID 5305 that EN 16931 allows."""

    STANDARD = "S"
    ZERO = "Z"
    EXEMPT = "E"
    REVERSE_CHARGE = "AE"
    INTRA_COMMUNITY = "K"
    EXPORT = "G"
    OUTSIDE_SCOPE = "O"


# Why no VAT is charged: the words for a reader, the code of the VATEX list for a program.
_REASONS = {
    Category.REVERSE_CHARGE: ("Reverse charge", "VATEX-EU-AE"),
    Category.INTRA_COMMUNITY: ("Intra-Community supply", "VATEX-EU-IC"),
    Category.EXPORT: ("Export outside the EU", "VATEX-EU-G"),
    Category.OUTSIDE_SCOPE: ("Not subject to VAT", "VATEX-EU-O"),
}


@dataclass(frozen=True, slots=True)
class Vat:
    """A VAT rule as it was applied. `rule`: the name under which the rules' data know it."""

    category: Category
    percent: Decimal
    rule: str
    reason: str | None = None
    reason_code: str | None = None

    def __post_init__(self) -> None:
        charged = self.category is Category.STANDARD
        assert (self.percent > 0) == charged, f"{self.category} at {self.percent} %"

    @property
    def told(self) -> tuple[str | None, str | None]:
        """Why no VAT is charged, in words and as a code."""
        words, code = _REASONS.get(self.category, (None, None))
        return self.reason or words, self.reason_code or code


@dataclass(frozen=True, slots=True)
class Business:
    """A partner as the law knows it."""

    party: PartyId
    legal_name: str
    street: str
    postcode: str
    city: str
    country: str
    vat_id: str | None = None
    registration_id: str | None = None
    tax_id: str | None = None
    iban: str | None = None
    bic: str | None = None
    email: str | None = None


class Unit(StrEnum):
    """What is counted; the value is the code of UN/ECE Recommendation 20."""

    ONE = "C62"
    KWH = "KWH"
    KILOBYTE = "2P"
    MONTH = "MON"


@dataclass(frozen=True, slots=True)
class Counted:
    """So much of what is not charging: calls of a service, kilobytes, months. `named`: as read."""

    quantity: Decimal
    unit: Unit
    named: str


@dataclass(frozen=True, slots=True)
class Line:
    """What was supplied under one agreement and one VAT rule, together.

    Charges, with their amounts as the ledger has them: `vat_minor` is the sum of their own VAT,
    each rounded once. Or, where `counted` says of what, something else under a contract.
    """

    description: str
    agreement_id: str
    vat: Vat
    amount_minor: int
    vat_minor: int
    charges: int = 0
    energy_wh: int = 0
    counted: Counted | None = None

    @property
    def quantity(self) -> tuple[Decimal, Unit]:
        """How much, never below zero: a line that takes back says so by its amount."""
        if self.counted is not None:
            # Of nothing there is no price: what only changes its price is one change of it.
            return abs(self.counted.quantity) or Decimal(1), self.counted.unit
        if self.energy_wh > 0:
            return Decimal(self.energy_wh).scaleb(-3), Unit.KWH
        return Decimal(self.charges), Unit.ONE

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What a reader may want to know of it besides, named."""
        rule = ("VAT rule", self.vat.rule)
        if self.counted is not None:
            return ("Contract", self.agreement_id), rule
        return ("Charges", f"{self.charges}"), ("Roaming agreement", self.agreement_id), rule


@dataclass(frozen=True, slots=True)
class VatTotal:
    """One line of the VAT breakdown (BG-23)."""

    vat: Vat
    taxable_minor: int
    tax_minor: int


@dataclass(frozen=True, slots=True)
class Preceding:
    """The invoice that a credit note corrects (BG-3)."""

    number: str
    issued_on: Day


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice, or a credit note with the same signs: what is credited is positive.

    `vat_before`: the VAT of the credit notes that corrected the same invoice before this one.
    `set_off`: how it is paid where no money goes from the buyer to the seller for it alone; else
    it has a due day, and the seller's account takes it. `first_day` to `last_day`: of the supply.
    """

    number: str
    kind: Kind
    issued_on: Day
    due_on: Day | None
    first_day: Day
    last_day: Day
    seller: Business
    buyer: Business
    currency: str
    lines: tuple[Line, ...]
    set_off: str | None = None
    preceding: tuple[Preceding, ...] = ()
    notes: tuple[str, ...] = ()
    items_at: str | None = None
    vat_before: tuple[VatTotal, ...] = ()

    def __post_init__(self) -> None:
        assert self.lines, "an invoice is about something"
        assert self.first_day <= self.last_day
        assert self.due_on is not None or self.set_off is not None, "when and how it is paid"
        assert places_of(self.currency) <= MOST_PLACES
        outside = {line.vat.category is Category.OUTSIDE_SCOPE for line in self.lines}
        assert len(outside) == 1, "what is outside the scope of VAT has an invoice of its own"

    @property
    def vat_totals(self) -> tuple[VatTotal, ...]:
        return vat_totals(self.lines, self.vat_before)

    @property
    def net_minor(self) -> int:
        return sum(line.amount_minor for line in self.lines)

    @property
    def vat_minor(self) -> int:
        return sum(total.tax_minor for total in self.vat_totals)

    @property
    def gross_minor(self) -> int:
        return self.net_minor + self.vat_minor

    @property
    def vat_rounding_minor(self) -> int:
        """What VAT on the sums is more than the sum of each charge's VAT."""
        return self.vat_minor - sum(line.vat_minor for line in self.lines)


def vat_totals(lines: Iterable[Line], before: Iterable[VatTotal] = ()) -> tuple[VatTotal, ...]:
    """VAT per category, rate and reason, rounded once for each. At most one for the others' sum.

    `before`: what other documents had of it, with which these lines make one sum.
    """
    taxable: defaultdict[_Rate, list[Line]] = defaultdict(list)
    for line in lines:
        taxable[_rate(line.vat)].append(line)
    had: defaultdict[_Rate, list[VatTotal]] = defaultdict(list)
    for total in before:
        had[_rate(total.vat)].append(total)
    totals = []
    for rate, together in sorted(taxable.items()):
        amount = sum(line.amount_minor for line in together)
        vat = together[0].vat
        whole = amount + sum(total.taxable_minor for total in had[rate])
        tax = half_up(Fraction(vat.percent) * whole / 100)
        totals.append(VatTotal(vat, amount, tax - sum(total.tax_minor for total in had[rate])))
    return tuple(totals)


_Rate = tuple[Category, Decimal, str, str]


def _rate(vat: Vat) -> _Rate:
    """One line for one category and rate (BR-S-08): 19 % is 19 % whichever rule says so."""
    words, code = vat.told
    return vat.category, vat.percent.normalize(), words or "", code or ""


def by_scope(lines: Iterable[Line]) -> list[tuple[Line, ...]]:
    """The lines, dealt out to invoices: EN 16931 lets nothing stand beside "not subject to VAT"."""
    inside: list[Line] = []
    outside: list[Line] = []
    for line in lines:
        (outside if line.vat.category is Category.OUTSIDE_SCOPE else inside).append(line)
    return [tuple(some) for some in (inside, outside) if some]


def missing(seller: Business | None, buyer: Business | None, lines: Sequence[Line]) -> list[str]:
    """What keeps an invoice of these lines from being issued, each in words; empty when nothing."""
    if seller is None or buyer is None:
        return [
            f"{who}: business details"
            for who, business in (("seller", seller), ("buyer", buyer))
            if business is None
        ]
    categories = {line.vat.category for line in lines}
    both_named = {Category.REVERSE_CHARGE, Category.INTRA_COMMUNITY}
    at_home = categories - both_named - {Category.OUTSIDE_SCOPE}
    wanted: list[str] = []
    if categories & both_named and seller.vat_id is None:
        wanted.append("seller: VAT id")
    elif at_home and seller.vat_id is None and seller.tax_id is None:
        wanted.append("seller: VAT id or tax id")
    if categories & both_named and buyer.vat_id is None:
        wanted.append("buyer: VAT id")
    return wanted


def number_of(party: PartyId, year: int, counted: int, kind: Kind, series: str = "") -> str:
    """`FRPD1-2025-000042`, and `FRPD1-C2025-000007` for credit notes, each without a gap.

    `series`: a letter of who issues invoices in the same seller's name beside the clearing house.
    """
    letter = "C" if kind is Kind.CREDIT_NOTE else ""
    return f"{party.compact}-{series}{letter}{year}-{counted:06}"
