"""What happens when a partner does not pay: two rules, told before anything is done.

- `unwind`: the partner is taken out, as if it had never taken part. Everybody else is cleared anew;
  what the partner owed and was owed stands between it and each of the others.
- `clearing_vector`: everybody pays what they can, and each shares what it pays among its creditors
  in proportion to what it owes them. Who gets less may fail in turn, so all are reckoned together:
  the payments of L. Eisenberg and T. H. Noe, "Systemic Risk in Financial Systems", Management
  Science 47 (2001), 236-249. Of all lists of payments that obey the rules, it is the one in which
  everybody pays most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from clearinghouse.netting.model import (
    Clearing,
    Obligation,
    Payment,
    Strategy,
    clear,
    owed_by_pair,
)
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Change:
    """What unwinding does to one party: what it gets (or pays, if negative) before and after.

    `owed_by_defaulter` and `owes_defaulter` are left between the two. What the party loses, if
    the defaulter pays nothing at all, is what it was owed.
    """

    party: PartyId
    before_minor: int
    after_minor: int
    owed_by_defaulter_minor: int
    owes_defaulter_minor: int

    @property
    def shortfall_minor(self) -> int:
        """How much less it gets out of the clearing; negative where it gets more."""
        return self.before_minor - self.after_minor


@dataclass(frozen=True, slots=True)
class Unwound:
    defaulter: PartyId
    before: Clearing
    after: Clearing
    changes: tuple[Change, ...]
    """Those whose clearing is another without the defaulter, by party."""
    left_standing: tuple[Obligation, ...]
    """The defaulter's own debts and claims."""


def unwind(strategy: Strategy, obligations: Iterable[Obligation], defaulter: PartyId) -> Unwound:
    """Clear without the defaulter, and tell who loses what against the clearing with it."""
    everyone = tuple(obligations)
    its_own = tuple(one for one in everyone if defaulter in (one.debtor, one.creditor))
    others = tuple(one for one in everyone if defaulter not in (one.debtor, one.creditor))
    before, after = clear(strategy, everyone), clear(strategy, others)
    stood = {one.party: one.amount_minor for one in before.positions}
    stands = {one.party: one.amount_minor for one in after.positions}
    owed = owed_by_pair(its_own)
    changes = [
        Change(
            party=party,
            before_minor=stood[party],
            after_minor=stands.get(party, 0),
            owed_by_defaulter_minor=owed.get((defaulter, party), 0),
            owes_defaulter_minor=owed.get((party, defaulter), 0),
        )
        for party in sorted(stood)
        if party != defaulter and ((defaulter, party) in owed or (party, defaulter) in owed)
    ]
    assert all(
        one.shortfall_minor == one.owed_by_defaulter_minor - one.owes_defaulter_minor
        for one in changes
    ), "a party's clearing changed by more than what stands between it and the defaulter"
    return Unwound(defaulter, before, after, tuple(changes), its_own)


@dataclass(frozen=True, slots=True)
class Share:
    """How one party comes out: what it owed and paid, what it was owed and got.

    `kept_minor`: what it could have paid but for rounding; less than one minor unit for each of
    its creditors, and only where it cannot pay in full.
    """

    party: PartyId
    owed_minor: int
    paid_minor: int
    kept_minor: int
    claimed_minor: int
    received_minor: int

    @property
    def fails(self) -> bool:
        return self.paid_minor < self.owed_minor

    @property
    def loss_minor(self) -> int:
        return self.claimed_minor - self.received_minor


@dataclass(frozen=True, slots=True)
class Shared:
    """`payments`: what is paid of each debt. `exact`: what each party pays before rounding."""

    payments: tuple[Payment, ...]
    shares: tuple[Share, ...]
    exact: Mapping[PartyId, Fraction]


def clearing_vector(obligations: Iterable[Obligation], means: Mapping[PartyId, int]) -> Shared:
    """What everybody pays when those named in `means` have no more than that besides their claims.

    Who is not named can pay all it owes, whatever it gets. The rules:

    - limited liability: nobody pays more than its means and what it gets;
    - absolute priority: it pays all that it owes, or all that it has;
    - proportionality: it pays each creditor in proportion to what it owes them.

    Payments are whole minor units: each is its exact share, rounded down, of what its payer has.
    What that leaves stays with the payer (`kept_minor`), so that nobody pays what nobody has. A
    debt below zero is the other's debt; what a party owes itself is not looked at.
    """
    assert all(minor >= 0 for minor in means.values()), "nobody has less than nothing"
    debts: defaultdict[PartyId, dict[PartyId, int]] = defaultdict(dict)
    for (debtor, creditor), amount in sorted(owed_by_pair(obligations).items()):
        if amount and debtor != creditor:
            debts[debtor][creditor] = amount
    total = {debtor: sum(of_debtor.values()) for debtor, of_debtor in debts.items()}
    exact = _exact_payments(debts, total, means)
    paid = _whole_payments(debts, total, means, exact)

    parties = sorted({*debts, *(one for of_debtor in debts.values() for one in of_debtor)})
    received: defaultdict[PartyId, int] = defaultdict(int)
    claimed: defaultdict[PartyId, int] = defaultdict(int)
    payments: list[Payment] = []
    for debtor in sorted(debts):
        for creditor, amount in debts[debtor].items():
            claimed[creditor] += amount
            if paying := amount * paid[debtor] // total[debtor]:
                payments.append(Payment(debtor, creditor, paying))
                received[creditor] += paying
    spent: defaultdict[PartyId, int] = defaultdict(int)
    for payment in payments:
        spent[payment.payer] += payment.amount_minor
    shares = [
        Share(
            party=party,
            owed_minor=total.get(party, 0),
            paid_minor=spent[party],
            kept_minor=paid.get(party, 0) - spent[party],
            claimed_minor=claimed[party],
            received_minor=received[party],
        )
        for party in parties
    ]
    return Shared(tuple(payments), tuple(shares), exact)


_Debts = Mapping[PartyId, Mapping[PartyId, int]]


def _exact_payments(
    debts: _Debts, total: Mapping[PartyId, int], means: Mapping[PartyId, int]
) -> dict[PartyId, Fraction]:
    """The fictitious default algorithm (Eisenberg and Noe, section 3.1), in exact fractions.

    Let all pay in full; whoever cannot, fails, and what those who fail can pay is the solution of
    linear equations; that may bring others down; and so on, at most once for each party.
    """
    paying = {party: Fraction(amount) for party, amount in total.items()}
    failing: set[PartyId] = set()
    while True:
        has: defaultdict[PartyId, Fraction] = defaultdict(Fraction)
        for debtor, of_debtor in debts.items():
            for creditor, amount in of_debtor.items():
                has[creditor] += amount * paying[debtor] / total[debtor]
        fallen = {
            party
            for party in debts
            if party in means and party not in failing and means[party] + has[party] < total[party]
        }
        if not fallen:
            return paying
        failing |= fallen
        paying |= _what_the_failing_pay(sorted(failing), debts, total, means)


def _what_the_failing_pay(
    failing: Sequence[PartyId],
    debts: _Debts,
    total: Mapping[PartyId, int],
    means: Mapping[PartyId, int],
) -> dict[PartyId, Fraction]:
    """Each pays its means and all it gets, while everyone else pays in full.

    These equations have one solution: some of those who fail always owe something to somebody who
    does not, or else they would not all have too little.
    """
    place = {party: index for index, party in enumerate(failing)}
    rows = [
        [Fraction(int(row == column)) for column in range(len(failing))]
        + [Fraction(means[failing[row]])]
        for row in range(len(failing))
    ]
    for debtor, of_debtor in debts.items():
        for creditor, amount in of_debtor.items():
            if creditor in place and debtor in place:
                rows[place[creditor]][place[debtor]] -= Fraction(amount, total[debtor])
            elif creditor in place:
                rows[place[creditor]][-1] += amount
    solved = _solve(rows)
    return {party: solved[index] for party, index in place.items()}


def _solve(rows: list[list[Fraction]]) -> list[Fraction]:
    """Gauss and Jordan, exactly; each row ends with its right-hand side."""
    for column in range(len(rows)):
        pivot = next(row for row in range(column, len(rows)) if rows[row][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        leading = rows[column][column]
        rows[column] = [value / leading for value in rows[column]]
        for row, values in enumerate(rows):
            if row != column and (factor := values[column]):
                rows[row] = [
                    value - factor * other
                    for value, other in zip(values, rows[column], strict=True)
                ]
    return [row[-1] for row in rows]


def _whole_payments(
    debts: _Debts,
    total: Mapping[PartyId, int],
    means: Mapping[PartyId, int],
    exact: Mapping[PartyId, Fraction],
) -> dict[PartyId, int]:
    """How much each has to share out, in whole minor units, when each share is rounded down.

    The most that agrees with itself: from the exact payments down, until nobody shares out more
    than it has. Rounding takes away less than a unit for each debt, so the way down is short.
    """
    paying = {party: int(amount) for party, amount in exact.items()}
    while True:
        has: defaultdict[PartyId, int] = defaultdict(int)
        for debtor, of_debtor in debts.items():
            for creditor, amount in of_debtor.items():
                has[creditor] += amount * paying[debtor] // total[debtor]
        less = {
            party: means[party] + has[party]
            for party in debts
            if party in means and means[party] + has[party] < paying[party]
        }
        if not less:
            return paying
        paying |= less
