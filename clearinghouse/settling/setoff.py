"""Set-off: what one party owed and was owed of a month, and which payments settle it."""

from __future__ import annotations

from dataclasses import dataclass

from clearinghouse.netting.model import (
    Strategy,
)
from clearinghouse.settling.model import PairTotal, Payment
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Paper:
    """An invoice of the month, or a credit note, which is below zero; VAT is in it."""

    number: str
    clearing_group: str
    currency: str
    seller: PartyId
    buyer: PartyId
    gross_minor: int


@dataclass(frozen=True, slots=True)
class SetOff:
    """One party's part of a settlement: what it owed and was owed, and the payments that settle it.

    Law: `owed_minor - owing_minor` is what it gets by its payments less what it pays. After a
    default that holds of the payments that were taken back; the others stand beside them.
    """

    party: PartyId
    period_id: str
    clearing_group: str
    currency: str
    strategy: Strategy
    pairs: tuple[PairTotal, ...]
    payments: tuple[Payment, ...]
    papers: tuple[Paper, ...] = ()

    @property
    def owing_minor(self) -> int:
        return sum(one.settled_minor for one in self.pairs if one.debtor == self.party)

    @property
    def owed_minor(self) -> int:
        return sum(one.settled_minor for one in self.pairs if one.creditor == self.party)

    @property
    def net_minor(self) -> int:
        return self.owed_minor - self.owing_minor

    def settles(self, payment: Payment) -> tuple[PairTotal, ...]:
        """The pair totals that a payment settles.

        A payment among many settles the party's whole position, together with its other payments;
        one between two that dealt with each other, what the two owed each other.
        """
        if self.strategy is Strategy.MULTILATERAL:
            return self.pairs
        two = {payment.payer, payment.payee}
        return tuple(one for one in self.pairs if {one.debtor, one.creditor} == two)

    def papers_of(self, pair: PairTotal) -> tuple[Paper, ...]:
        """The invoices and credit notes on which a pair's total stands."""
        return tuple(
            one
            for one in self.papers
            if (one.clearing_group, one.currency, one.buyer, one.seller)
            == (pair.clearing_group, pair.currency, pair.debtor, pair.creditor)
        )
