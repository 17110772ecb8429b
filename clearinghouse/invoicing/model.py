"""A month's invoices: what the ledger has of each dealing, dealt out to invoices and credit notes.

They are issued when a month is closed, by the clearing house in the name and on behalf of the
seller: one for each seller, buyer, currency and clearing group, so that each is settled whole with
its group. What takes back charges of an earlier month, invoiced already, is a credit note.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from documents.invoice import MOST_PLACES, Business, Invoice, Kind, Line, missing
from roaming.money import places_of
from roaming.party import PartyId
from roaming.refusal import Unknown


class UnknownInvoice(Unknown):
    """No invoice by this id that the caller may see."""


@dataclass(frozen=True, slots=True)
class Dealing:
    """Between whom, in what currency, and with what other debts it is cleared."""

    seller: PartyId
    buyer: PartyId
    currency: str
    clearing_group: str


@dataclass(frozen=True, slots=True)
class Drafted:
    """One line as the ledger has it, before anybody knows whether it can be invoiced.

    `vat_known` False: neither a rule nor the agreement says one rate. `credit`: it takes back what
    was charged in the months of `corrects`; its amounts are below zero.
    """

    line: Line
    vat_known: bool = True
    credit: bool = False
    corrects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """What one dealing came to in a month, of one kind."""

    dealing: Dealing
    kind: Kind
    lines: tuple[Drafted, ...]

    @property
    def net_minor(self) -> int:
        return sum(one.line.amount_minor for one in self.lines)

    @property
    def vat_minor(self) -> int:
        return sum(one.line.vat_minor for one in self.lines)


@dataclass(frozen=True, slots=True)
class Uninvoiced:
    """What was charged and cannot be invoiced, with what is wanted for it. It is owed all the same.

    Amounts as the ledger has them: below zero where charges were taken back.
    """

    dealing: Dealing
    period_id: str
    kind: Kind
    net_minor: int
    vat_minor: int
    wanted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Issued:
    """An invoice that was issued, and what stands beside it. `xml`: the invoice itself."""

    invoice: Invoice
    dealing: Dealing
    period_id: str
    xml: bytes

    @property
    def owed_minor(self) -> int:
        """What it adds to what the buyer owes the seller: a credit note takes away."""
        sign = -1 if self.invoice.kind is Kind.CREDIT_NOTE else 1
        return sign * self.invoice.gross_minor

    @property
    def rounding_minor(self) -> int:
        """What the ledger has to be told, so that it says what the invoice says."""
        sign = -1 if self.invoice.kind is Kind.CREDIT_NOTE else 1
        return sign * self.invoice.vat_rounding_minor


def drafts_of(lines: Iterable[tuple[Dealing, Drafted]]) -> list[Draft]:
    """The lines of a month, dealt out to invoices and credit notes."""
    dealt: defaultdict[tuple[Dealing, Kind], list[Drafted]] = defaultdict(list)
    for dealing, one in lines:
        dealt[dealing, Kind.CREDIT_NOTE if one.credit else Kind.INVOICE].append(one)
    return [
        Draft(dealing, kind, tuple(some))
        for (dealing, kind), some in sorted(
            dealt.items(), key=lambda item: (*_in_order(item[0][0]), item[0][1])
        )
        if any(one.line.charges or one.line.amount_minor or one.line.vat_minor for one in some)
    ]


def _in_order(dealing: Dealing) -> tuple[str, ...]:
    return dealing.seller, dealing.buyer, dealing.currency, dealing.clearing_group


def wanted_for(draft: Draft, seller: Business | None, buyer: Business | None) -> list[str]:
    """What keeps a draft from becoming an invoice; empty when nothing does."""
    wanted = missing(seller, buyer, [one.line for one in draft.lines])
    if places_of(draft.dealing.currency) > MOST_PLACES:
        wanted.append(f"a currency of at most {MOST_PLACES} places, as EN 16931 has them")
    unknown = sorted({one.line.agreement_id for one in draft.lines if not one.vat_known})
    wanted += [f"{agreement}: one VAT rate" for agreement in unknown]
    return wanted


def positive(draft: Draft) -> tuple[Line, ...]:
    """The lines as they stand on paper: what a credit note gives back is positive there."""
    if draft.kind is Kind.INVOICE:
        return tuple(one.line for one in draft.lines)
    return tuple(
        replace(
            one.line,
            amount_minor=-one.line.amount_minor,
            vat_minor=-one.line.vat_minor,
            charges=abs(one.line.charges),
            energy_wh=abs(one.line.energy_wh),
        )
        for one in draft.lines
    )
