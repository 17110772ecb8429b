"""The marketplace's share of what is sold on it: so many percent, and so much for each invoice.

A fee holds for whole months, from one on of which nothing is billed yet. Of several the most
special one holds: that of a provider and a category, of a provider, of a category, of everybody;
of two alike the later one.

Laws. What a requester pays is what the provider gets and the fee, to the cent. A sale that is
credited whole, in however many parts, has no fee any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from marketplace.services.model import Category
from roaming.money import places_of
from roaming.month import Month
from roaming.party import PartyId
from roaming.refusal import Malformed
from roaming.rounding import half_up

MOST_PLACES = 4
MOST_MINOR = 10**9


class BadFee(Malformed):
    """A fee that breaks a rule."""


@dataclass(frozen=True, slots=True)
class Fee:
    """What the marketplace asks of a sale from a month on. None: of all providers, categories.

    `currency`: of sales in it alone, and that of `per_invoice_minor`; None: of all sales.
    """

    valid_from: Month
    percent: Decimal
    per_invoice_minor: int = 0
    currency: str | None = None
    provider: PartyId | None = None
    category: str | None = None

    def __post_init__(self) -> None:
        exponent = self.percent.as_tuple().exponent
        sane = isinstance(exponent, int) and exponent >= -MOST_PLACES
        if not sane or not 0 <= self.percent <= 100:
            raise BadFee(
                "not a percentage",
                field="percent",
                value=str(self.percent)[:40],
                rule=f"0 to 100, at most {MOST_PLACES} places",
            )
        if not 0 <= self.per_invoice_minor <= MOST_MINOR:
            raise BadFee(
                "not a fee for an invoice",
                field="per_invoice",
                value=self.per_invoice_minor,
                rule=f"from 0 to {MOST_MINOR} minor units",
            )
        if self.currency is not None:
            places_of(self.currency)
        elif self.per_invoice_minor:
            raise BadFee("a fee for each invoice has a currency", field="currency", rule="as EUR")


def checked(fee: Fee, now_in: Month) -> Fee:
    """The fee itself; BadFee where its month is over: nobody is charged by surprise; or where it
    would hold for nothing."""
    if fee.valid_from < now_in:
        raise BadFee(
            f"{fee.valid_from} is over",
            field="valid_from",
            value=str(fee.valid_from),
            rule="this month, or one to come",
        )
    if fee.category is not None and fee.category not in list(Category):
        raise BadFee(
            "no service is of this category: nobody would ever be asked for it",
            field="category",
            value=fee.category[:100],
            rule=", ".join(Category),
        )
    return fee


def applying(
    fees: Sequence[Fee], provider: PartyId, category: str, currency: str, month: Month
) -> Fee | None:
    """The fee on a sale of a month, out of all there ever were, in the order of telling."""
    holding = [
        (fee.provider is not None, fee.category is not None, fee.valid_from, number, fee)
        for number, fee in enumerate(fees)
        if fee.valid_from <= month
        and fee.provider in (None, provider)
        and fee.category in (None, category)
        and fee.currency in (None, currency)
    ]
    return max(holding, key=lambda one: one[:4])[4] if holding else None


@dataclass(frozen=True, slots=True)
class Share:
    """How one sale is parted, or what of it was credited (below zero then), before VAT."""

    number: str
    provider: PartyId
    currency: str
    percent: Decimal
    per_invoice_minor: int
    net_minor: int
    fee_minor: int

    def __post_init__(self) -> None:
        assert abs(self.fee_minor) <= abs(self.net_minor), "no more than was sold"
        assert self.provider_minor + self.fee_minor == self.net_minor

    @property
    def provider_minor(self) -> int:
        return self.net_minor - self.fee_minor


def share_of(fee: Fee, number: str, provider: PartyId, currency: str, net_minor: int) -> Share:
    """The fee on a sale, never more than was sold; or on what was sold too much, below zero, with
    which the fee of an invoice does not go back."""
    asked = half_up(Fraction(fee.percent) * net_minor / 100)
    if net_minor > 0:
        asked = min(asked + fee.per_invoice_minor, net_minor)
    return Share(
        *(number, provider, currency, fee.percent, fee.per_invoice_minor),
        net_minor=net_minor,
        fee_minor=asked,
    )


def credited(sale: Share, number: str, before_minor: int, credit_minor: int) -> Share:
    """What of a sale's fee goes back with a credit note. `before_minor`: credited of it before."""
    assert 0 <= before_minor <= before_minor + credit_minor <= sale.net_minor
    left = _fee_on(sale, sale.net_minor - before_minor - credit_minor)
    return Share(
        *(number, sale.provider, sale.currency, sale.percent, sale.per_invoice_minor),
        net_minor=-credit_minor,
        fee_minor=left - _fee_on(sale, sale.net_minor - before_minor),
    )


def _fee_on(sale: Share, net_minor: int) -> int:
    """The fee in proportion to what is left of a sale: all of it for all, none for nothing."""
    return half_up(Fraction(sale.fee_minor * net_minor, sale.net_minor))


@dataclass(frozen=True, slots=True)
class FeeLine:
    """The fee on all sales of a provider in one currency that were parted alike, together."""

    percent: Decimal
    per_invoice_minor: int
    documents: int
    net_minor: int
    fee_minor: int


def fee_lines(shares: Sequence[Share]) -> list[FeeLine]:
    """The lines of the marketplace's own invoice: they add up to the shares' fees."""
    together: dict[tuple[Decimal, int], list[Share]] = {}
    for share in shares:
        together.setdefault((share.percent, share.per_invoice_minor), []).append(share)
    lines = [
        FeeLine(
            *(percent, per_invoice_minor, len(some)),
            net_minor=sum(share.net_minor for share in some),
            fee_minor=sum(share.fee_minor for share in some),
        )
        for (percent, per_invoice_minor), some in sorted(together.items())
    ]
    assert sum(line.fee_minor for line in lines) == sum(share.fee_minor for share in shares)
    return lines
