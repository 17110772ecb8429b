"""What a month comes to, reckoned on paper: fees, invoices, what is owed, payments.

In plain Python and by the rules as a person would state them, not by the product's functions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from roaming.party import PartyId
from tests.laws.world import BUSINESSES, FEE_GROUP, FEE_VAT_PERCENT, HUB, PAIRS, Dealing, price

INVOICE, CREDIT_NOTE = "380", "381"


def rounded(exact: Fraction) -> int:
    """To the nearest whole number, a half away from zero."""
    nearest = int(abs(exact) + Fraction(1, 2))
    return nearest if exact >= 0 else -nearest


@dataclass(slots=True)
class Moved:
    """What came of one record in one month, all of it together."""

    net: int = 0
    vat: int = 0
    count: int = 0
    charged_here: bool = False

    @property
    def nothing(self) -> bool:
        return not (self.net or self.vat or self.count)

    @property
    def taken_back(self) -> bool:
        """Of an earlier month, which has its invoice already."""
        return not self.charged_here and (self.net + self.vat, self.count) < (0, 0)


class Draft(NamedTuple):
    """What one dealing came to in a month, of one kind: `vats` is the sum of its charges' VAT."""

    seller: PartyId
    buyer: PartyId
    currency: str
    group: str
    kind: str
    net: int
    vats: int
    percent: int
    invoiced: bool


@dataclass(slots=True)
class Paid:
    """A payment on paper. `receipts`: what each source said that came."""

    amount: int
    paid: int = 0
    receipts: dict[str, int] = field(default_factory=dict)

    @property
    def state(self) -> str:
        if self.paid == self.amount:
            return "paid"
        return "part-paid" if self.paid else "due"

    def asked(self, part: int) -> int:
        """All that is open, or so many tenths of the whole."""
        return self.amount * part // 10 if part else self.amount - self.paid

    def take(self, source: str, came: int) -> bool:
        if source in self.receipts or not came or not 0 <= self.paid + came <= self.amount:
            return False
        self.receipts[source] = came
        self.paid += came
        return True


@dataclass(slots=True)
class Money:
    """The financial side of the books on paper."""

    moved: dict[tuple[str, int], Moved] = field(default_factory=dict)
    used: dict[tuple[str, str, PartyId], list[int]] = field(default_factory=dict)
    owed: dict[str, dict[Dealing, int]] = field(default_factory=dict)
    invoices: list[tuple[object, ...]] = field(default_factory=list)
    uninvoiced: set[tuple[object, ...]] = field(default_factory=set)
    numbered: dict[tuple[PartyId, str], int] = field(default_factory=dict)
    payments: dict[str, dict[Dealing, Paid]] = field(default_factory=dict)
    netted: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def move(self, month: str, number: int, net: int, vat: int, sign: int) -> Moved:
        moved = self.moved.setdefault((month, number), Moved())
        moved.net += sign * net
        moved.vat += sign * vat
        moved.count += sign
        return moved

    def use(self, month: str, number: int, energy_wh: int, sign: int) -> None:
        """A charge counts for the hub's fees of both sides, and what is credited no longer."""
        pair = PAIRS[number % len(PAIRS)]
        for side, party in (("operator", pair.operator), ("evsp", pair.evsp)):
            counted = self.used.setdefault((month, side, party), [0, 0])
            counted[0] += sign
            counted[1] += sign * energy_wh

    def close(self, month: str, year: int) -> list[tuple[str, str, int]]:
        """The hub's fees and the invoices of a month; what is posted for them: currency, what, how
        much."""
        owed: defaultdict[Dealing, int] = defaultdict(int)
        posted = []
        for party, currency, net in self._fees(month):
            vat = rounded(Fraction(net * FEE_VAT_PERCENT[party], 100))
            owed[Dealing(FEE_GROUP, currency, party, HUB)] += net + vat
            posted += [(currency, "fee", net), (currency, "fee vat", vat)]
        for (when, number), one in self.moved.items():
            if when == month:
                owed[_dealing(number)] += one.net + one.vat
        for draft in self._drafts(month):
            rounding = self._issue(month, year, draft)
            if rounding:
                owed[Dealing(draft.group, draft.currency, draft.buyer, draft.seller)] += rounding
                posted.append((draft.currency, "vat", rounding))
        self.owed[month] = dict(owed)
        return posted

    def _fees(self, month: str) -> list[tuple[PartyId, str, int]]:
        exact: defaultdict[tuple[PartyId, str], Fraction] = defaultdict(Fraction)
        for (when, side, party), (cdrs, energy_wh) in self.used.items():
            if when == month:
                currency, per_cdr, per_kwh = price(side, party)
                exact[party, currency] += per_cdr * cdrs + per_kwh * energy_wh / 1000
        net = [(*key, rounded(fee * 100)) for key, fee in sorted(exact.items())]
        return [one for one in net if one[2]]

    def _drafts(self, month: str) -> list[Draft]:
        """In the order of their numbers."""
        sums: defaultdict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])
        for (when, number), one in self.moved.items():
            if when == month and not one.nothing:
                kind = CREDIT_NOTE if one.taken_back else INVOICE
                of_pair = sums[number % len(PAIRS), kind]
                of_pair[0] += one.net
                of_pair[1] += one.vat
        found = []
        for (number, kind), (net, vats) in sums.items():
            pair = PAIRS[number]
            between = (pair.operator, pair.evsp, pair.currency, pair.group)
            found.append(Draft(*between, kind, net, vats, pair.vat_percent, pair.invoiced))
        for party, currency, net in self._fees(month):
            kind, percent = INVOICE if net > 0 else CREDIT_NOTE, FEE_VAT_PERCENT[party]
            vat = rounded(Fraction(net * percent, 100))
            told = any(party == one[0] for one in BUSINESSES)
            found.append(Draft(HUB, party, currency, FEE_GROUP, kind, net, vat, percent, told))
        return sorted(found)

    def _issue(self, month: str, year: int, draft: Draft) -> int:
        """What the ledger has to be told, so that it says what the invoice says."""
        between, (kind, net, vats, percent, invoiced) = draft[:4], draft[4:]
        if not invoiced:
            self.uninvoiced.add((month, *between, kind, net, vats))
            return 0
        sign, letter = (-1, "C") if kind == CREDIT_NOTE else (1, "")
        series = draft.seller, f"{letter}{year}"
        counted = self.numbered[series] = self.numbered.get(series, 0) + 1
        name = f"{draft.seller.replace('*', '')}-{letter}{year}-{counted:06}"
        vat = rounded(Fraction(sign * net * percent, 100))
        rounding = vat - sign * vats
        self.invoices.append((name, kind, *between, month, sign * net, vat, rounding))
        return sign * rounding

    def settle(self, month: str) -> None:
        groups: defaultdict[tuple[str, str], dict[tuple[PartyId, PartyId], int]] = defaultdict(dict)
        for one, minor in self.owed[month].items():
            groups[one.group, one.currency][one.debtor, one.creditor] = minor
        self.payments[month] = {}
        for (group, currency), owed in groups.items():
            made = _STRATEGIES[group.partition(":")[0]](owed)
            for (payer, payee), minor in made.items():
                self.payments[month][Dealing(group, currency, payer, payee)] = Paid(minor)
            gross = sum(map(abs, owed.values()))
            self.netted[month, group, currency] = gross - sum(made.values())

    def nth(self, month: str, n: int) -> Paid | None:
        of_month = self.payments.get(month, {})
        if not of_month:
            return None
        in_order = sorted(
            of_month, key=lambda one: (one.group, one.currency, one.debtor, one.creditor)
        )
        return of_month[in_order[n % len(in_order)]]

    def open_between(self) -> dict[tuple[str, PartyId, PartyId, str], int]:
        """What the accounts of settlement say: nothing where all is paid."""
        left: defaultdict[tuple[str, PartyId, PartyId, str], int] = defaultdict(int)
        for of_month in self.payments.values():
            for one, paid in of_month.items():
                open_minor = paid.amount - paid.paid
                receivable = "settlement-receivable", one.creditor, one.debtor, one.currency
                payable = "settlement-payable", one.debtor, one.creditor, one.currency
                left[receivable] += open_minor
                left[payable] -= open_minor
        return {key: minor for key, minor in left.items() if minor}


def _dealing(number: int) -> Dealing:
    pair = PAIRS[number % len(PAIRS)]
    return Dealing(pair.group, pair.currency, pair.evsp, pair.operator)


Owed = Mapping[tuple[PartyId, PartyId], int]
Made = dict[tuple[PartyId, PartyId], int]


def _as_it_stands(owed: Owed) -> Made:
    return {
        ((debtor, creditor) if minor > 0 else (creditor, debtor)): abs(minor)
        for (debtor, creditor), minor in owed.items()
        if minor
    }


def _between_two(owed: Owed) -> Made:
    return _as_it_stands(
        {
            (one, other): owed.get((one, other), 0) - owed.get((other, one), 0)
            for one, other in {(min(pair), max(pair)) for pair in owed}
        }
    )


def _among_all(owed: Owed) -> Made:
    """Of three at most, one stands against the others: there is but one way to pay."""
    positions: defaultdict[PartyId, int] = defaultdict(int)
    for (debtor, creditor), minor in owed.items():
        positions[debtor] -= minor
        positions[creditor] += minor
    owing = {party: -minor for party, minor in positions.items() if minor < 0}
    due = {party: minor for party, minor in positions.items() if minor > 0}
    assert min(len(owing), len(due)) <= 1
    return {
        (payer, payee): min(minor, claim)
        for payer, minor in owing.items()
        for payee, claim in due.items()
    }


_STRATEGIES = {"gross": _as_it_stands, "bilateral": _between_two, "multilateral": _among_all}
