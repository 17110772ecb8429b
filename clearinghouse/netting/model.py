"""Netting: many debts between many parties become few payments.

Netting moves no money and makes none: the sum of all net positions is zero before and after, and
what each party is owed in all stays what it was. It only shortens the list of those who must pay.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from datetime import date as Day
from enum import StrEnum
from zoneinfo import ZoneInfo

from clearinghouse.netting.cycles import most_cancelled
from clearinghouse.netting.grouping import most_zero_groups
from roaming.party import PartyId
from roaming.refusal import Malformed, Unknown


class BadPeriod(Malformed):
    """A period is a calendar month, or an instant and a later instant."""


class UnknownRun(Unknown):
    """No clearing run by this id that the caller may see."""


class Strategy(StrEnum):
    GROSS = "gross"
    BILATERAL = "bilateral"
    MULTILATERAL = "multilateral"
    CYCLES = "cycles"

    @property
    def needs_everyone(self) -> bool:
        """Whether what one party pays depends on the debts of all, not on its own alone."""
        return self in (Strategy.MULTILATERAL, Strategy.CYCLES)


class Method(StrEnum):
    """What is known of the payments of a multilateral run."""

    EXACT = "exact"
    """Proven: no fewer payments will do."""
    GREEDY = "greedy"
    """The fewest that were found with bounded effort; fewer might do."""


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open interval of instants: a CDR belongs to it when `start <= its end < end`."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise BadPeriod(
                f"the period ends at {self.end.isoformat()}, not after its start",
                field="period",
                value=self.start.isoformat(),
                rule="from is before to",
            )

    @classmethod
    def month(cls, name: str, zone: ZoneInfo) -> Period:
        """The calendar month `2025-01` as clocks in `zone` show it."""
        try:
            first = datetime.strptime(name, "%Y-%m").replace(tzinfo=zone)
        except ValueError as error:
            raise BadPeriod(
                "not a month", field="period", value=name, rule="YYYY-MM, or from and to"
            ) from error
        if len(name) != len("2025-01") or not 2000 <= first.year < 2200:
            raise BadPeriod(
                "not a month", field="period", value=name, rule="YYYY-MM, from 2000 to 2199"
            )
        next_month = (first.date().replace(day=28) + timedelta(days=4)).replace(day=1)
        return cls(first.astimezone(UTC), _midnight(next_month, zone))

    @classmethod
    def between(cls, start: str, end: str, zone: ZoneInfo) -> Period:
        """From one instant to another, each RFC 3339, or a day which begins at its midnight."""
        return cls(_instant(start, zone, "period.from"), _instant(end, zone, "period.to"))


def _midnight(day: Day, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def _instant(said: str, zone: ZoneInfo, field: str) -> datetime:
    try:
        if len(said) == len("2025-01-31"):
            return _midnight(Day.fromisoformat(said), zone)
        instant = datetime.fromisoformat(said)
        if instant.tzinfo is None:
            raise ValueError("no offset")
        return instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadPeriod(
            "not an instant", field=field, value=said, rule="RFC 3339 with offset, or YYYY-MM-DD"
        ) from error


@dataclass(frozen=True, slots=True)
class Obligation:
    """What one party owes another for `cdrs` charges of a period, VAT kept apart."""

    debtor: PartyId
    creditor: PartyId
    amount_minor: int
    vat_minor: int = 0
    cdrs: int = 1


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment, excluding VAT. `vat_minor` is the net VAT that goes the same way.

    VAT is told per pair only: a payment through the house has no invoice of its own, so there it
    is None and each party's VAT stands in its position.
    """

    payer: PartyId
    payee: PartyId
    amount_minor: int
    vat_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What of a debt need not be paid, since as much was set off against it."""

    debtor: PartyId
    creditor: PartyId
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Position:
    """What a party is owed in all (positive) or owes in all (negative)."""

    party: PartyId
    amount_minor: int
    vat_minor: int


@dataclass(frozen=True, slots=True)
class Clearing:
    """What a strategy makes of the obligations of a period."""

    strategy: Strategy
    obligations: tuple[Obligation, ...]
    payments: tuple[Payment, ...]
    positions: tuple[Position, ...]
    method: Method | None = None

    @property
    def cancelled(self) -> tuple[Cancelled, ...]:
        """What was set off of each debt, where payments go along debts.

        Multilateral payments do not: there, whole positions are settled, not debts.
        """
        if self.strategy is Strategy.MULTILATERAL:
            return ()
        left = owed_by_pair(self.obligations)
        for payment in self.payments:
            left[payment.payer, payment.payee] -= payment.amount_minor
        return tuple(
            Cancelled(debtor, creditor, amount)
            for (debtor, creditor), amount in sorted(left.items())
            if amount and debtor != creditor
        )

    def seen_by(self, party: PartyId) -> Clearing:
        """Only what concerns one party: its own debts and claims, payments and position."""
        return Clearing(
            self.strategy,
            tuple(o for o in self.obligations if party in (o.debtor, o.creditor)),
            tuple(p for p in self.payments if party in (p.payer, p.payee)),
            tuple(p for p in self.positions if p.party == party),
            self.method,
        )


@dataclass(frozen=True, slots=True)
class ClearingRun:
    """A clearing that was asked for, as it was recorded."""

    run_id: str
    requested_by: PartyId
    period: Period
    currency: str
    clearing: Clearing
    recorded_at: datetime


def clear(strategy: Strategy, obligations: Iterable[Obligation]) -> Clearing:
    """Clear the obligations of one period in one currency; the same input, the same output."""
    debts = tuple(sorted(obligations, key=lambda o: (o.debtor, o.creditor)))
    standing = positions(debts)
    match strategy:
        case Strategy.GROSS:
            payments, method = gross(debts), None
        case Strategy.BILATERAL:
            payments, method = bilateral(debts), None
        case Strategy.MULTILATERAL:
            payments, method = fewest_payments({p.party: p.amount_minor for p in standing})
        case Strategy.CYCLES:
            payments, method = cycles(debts), None
    return Clearing(strategy, debts, payments, standing, method)


def positions(obligations: Iterable[Obligation]) -> tuple[Position, ...]:
    """The net position of each party that owes or is owed anything, ordered by party."""
    amounts: defaultdict[PartyId, int] = defaultdict(int)
    vats: defaultdict[PartyId, int] = defaultdict(int)
    for debt in obligations:
        amounts[debt.creditor] += debt.amount_minor
        amounts[debt.debtor] -= debt.amount_minor
        vats[debt.creditor] += debt.vat_minor
        vats[debt.debtor] -= debt.vat_minor
    assert sum(amounts.values()) == 0
    assert sum(vats.values()) == 0
    return tuple(Position(party, amounts[party], vats[party]) for party in sorted(amounts))


def gross(obligations: Iterable[Obligation]) -> tuple[Payment, ...]:
    """Strategy 1: every debt is paid as it stands; one below zero, for credits, comes back."""
    return tuple(
        Payment(debt.debtor, debt.creditor, debt.amount_minor, debt.vat_minor)
        if debt.amount_minor > 0
        else Payment(debt.creditor, debt.debtor, -debt.amount_minor, -debt.vat_minor)
        for debt in obligations
        if debt.debtor != debt.creditor and debt.amount_minor
    )


def bilateral(obligations: Iterable[Obligation]) -> tuple[Payment, ...]:
    """Strategy 2: each pair sets off its two debts, and the difference is paid."""
    amounts: defaultdict[tuple[PartyId, PartyId], int] = defaultdict(int)
    vats: defaultdict[tuple[PartyId, PartyId], int] = defaultdict(int)
    for debt in obligations:
        if debt.debtor < debt.creditor:
            pair, sign = (debt.debtor, debt.creditor), 1
        else:
            pair, sign = (debt.creditor, debt.debtor), -1
        amounts[pair] += sign * debt.amount_minor
        vats[pair] += sign * debt.vat_minor
    payments = [
        Payment(one, other, amount, vats[one, other])
        if amount > 0
        else Payment(other, one, -amount, -vats[one, other])
        for (one, other), amount in amounts.items()
        if amount and one != other
    ]
    return tuple(sorted(payments, key=lambda p: (p.payer, p.payee)))


def cycles(obligations: Iterable[Obligation]) -> tuple[Payment, ...]:
    """Debts that go round in circles are cancelled, as much as can be; the rest is paid.

    Every payment is on a debt, from its debtor to its creditor, and no larger than it. VAT stands
    in each party's position: a debt that is cancelled still has its invoice.
    """
    owed = owed_by_pair(obligations)
    return less(owed, most_cancelled(owed))


def less(
    owed: Mapping[tuple[PartyId, PartyId], int], cancelled: Mapping[tuple[PartyId, PartyId], int]
) -> tuple[Payment, ...]:
    """What is left to pay of what is owed, when so much of it was cancelled."""
    payments = []
    for pair in sorted(owed):
        left = owed[pair] - cancelled.get(pair, 0)
        if left and pair[0] != pair[1]:
            payments.append(Payment(*pair, left))
    return tuple(payments)


def owed_by_pair(obligations: Iterable[Obligation]) -> dict[tuple[PartyId, PartyId], int]:
    """What each debtor owes each creditor, VAT not counted.

    A debt below zero, where more was credited than charged, is the other's debt.
    """
    owed: defaultdict[tuple[PartyId, PartyId], int] = defaultdict(int)
    for debt in obligations:
        if debt.amount_minor >= 0:
            owed[debt.debtor, debt.creditor] += debt.amount_minor
        else:
            owed[debt.creditor, debt.debtor] -= debt.amount_minor
    return owed


def fewest_payments(nets: Mapping[PartyId, int]) -> tuple[tuple[Payment, ...], Method]:
    """Clear every position, party to party, with the fewest payments that bounded effort finds.

    Each group of positions that sums to zero is settled by itself, by one payment less than it has
    positions, so what is looked for is the most groups; see `grouping`. The answer says whether
    these are proven to be the fewest, and is the same for the same positions, on any machine.
    """
    standing = sorted((party, net) for party, net in nets.items() if net)
    grouping = most_zero_groups([net for _, net in standing])
    grouped: list[Payment] = []
    for group in grouping.groups:
        grouped += greedy(dict(standing[index] for index in group))
    if grouping.proven:
        return _in_order(grouped), Method.EXACT
    # The largest to the largest happens upon groups too, and costs next to nothing.
    return _in_order(min(grouped, list(greedy(nets)), key=len)), Method.GREEDY


def greedy(nets: Mapping[PartyId, int]) -> tuple[Payment, ...]:
    """The largest debtor pays the largest creditor, again and again: at most n - 1 payments."""
    owing = [(net, party) for party, net in nets.items() if net < 0]
    owed = [(-net, party) for party, net in nets.items() if net > 0]
    heapq.heapify(owing)
    heapq.heapify(owed)
    payments: list[Payment] = []
    while owing and owed:
        debt, payer = heapq.heappop(owing)
        claim, payee = heapq.heappop(owed)
        paid = min(-debt, -claim)
        payments.append(Payment(payer, payee, paid))
        if -debt > paid:
            heapq.heappush(owing, (debt + paid, payer))
        if -claim > paid:
            heapq.heappush(owed, (claim + paid, payee))
    assert not owing, "more owed out than in"
    assert not owed, "more owed in than out"
    return tuple(payments)


def _in_order(payments: Sequence[Payment]) -> tuple[Payment, ...]:
    return tuple(sorted(payments, key=lambda p: (p.payer, p.payee)))
