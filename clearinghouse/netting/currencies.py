"""Debts in several currencies become debts in one, so that they can be cleared together.

Each pair's debt in each currency is converted once, and rounded once: half up, to the minor unit
of the settlement currency. So both sides come to the same figure whoever reckons it, and what is
converted sums to zero as it stands, without a remainder that somebody would have to carry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from clearinghouse.netting.model import Obligation
from roaming.money import Money, places_of
from roaming.party import PartyId

RateOf = Callable[[str], Fraction]
"""How many units of the settlement currency one unit of this currency is worth, exactly."""


@dataclass(frozen=True, slots=True)
class Converted:
    """Debts in the settlement currency; `rates` says by which rates they were converted."""

    currency: str
    obligations: tuple[Obligation, ...]
    rates: Mapping[str, Fraction]


def converted(debts: Mapping[str, Iterable[Obligation]], into: str, rate_of: RateOf) -> Converted:
    """Every currency's debts as debts in `into`, one for each debtor and creditor.

    `rate_of` is asked once for each other currency that anything is owed in; what it refuses to
    tell is refused here too.
    """
    places_of(into)
    rates = {
        currency: Fraction(1) if currency == into else rate_of(currency)
        for currency in sorted(debts)
    }
    whole: defaultdict[tuple[PartyId, PartyId], list[int]] = defaultdict(lambda: [0, 0, 0])
    for currency, rate in rates.items():
        assert rate > 0, f"a rate for {currency} of {rate}"
        pairs: defaultdict[tuple[PartyId, PartyId], list[int]] = defaultdict(lambda: [0, 0, 0])
        for debt in debts[currency]:
            of_pair = pairs[debt.debtor, debt.creditor]
            of_pair[0] += debt.amount_minor
            of_pair[1] += debt.vat_minor
            of_pair[2] += debt.cdrs
        for pair, (amount, vat, cdrs) in pairs.items():
            of_pair = whole[pair]
            of_pair[0] += _at(rate, amount, currency, into)
            of_pair[1] += _at(rate, vat, currency, into)
            of_pair[2] += cdrs
    return Converted(
        into,
        tuple(
            Obligation(debtor, creditor, amount, vat, cdrs)
            for (debtor, creditor), (amount, vat, cdrs) in sorted(whole.items())
        ),
        rates,
    )


def _at(rate: Fraction, minor: int, currency: str, into: str) -> int:
    return Money.of(Fraction(Money(minor, currency).decimal) * rate, into).minor
