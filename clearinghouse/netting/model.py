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

from roaming.party import PartyId
from roaming.refusal import Malformed, Unknown

EXACT_UP_TO = 18
"""So many positions, after exact pairs are paid off, are cleared with provably fewest payments."""


class BadPeriod(Malformed):
    """A period is a calendar month, or an instant and a later instant."""


class UnknownRun(Unknown):
    """No clearing run by this id that the caller may see."""


class Strategy(StrEnum):
    GROSS = "gross"
    BILATERAL = "bilateral"
    MULTILATERAL = "multilateral"


class Method(StrEnum):
    """How the payments of a multilateral run were found."""

    EXACT = "exact"
    GREEDY = "greedy"


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
    """Strategy 1: every debt is paid as it stands."""
    return tuple(
        Payment(debt.debtor, debt.creditor, debt.amount_minor, debt.vat_minor)
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


def fewest_payments(nets: Mapping[PartyId, int]) -> tuple[tuple[Payment, ...], Method]:
    """Clear every position with the fewest payments, party to party.

    Positions that fall into k groups which each sum to zero can be cleared by n - k payments, and
    no fewer; so the fewest payments are found with the most groups. A debt that equals a claim is
    always such a group in some best answer: were the two in different groups, the rests of these
    would sum to zero together, and the number of groups would not change. Pairs therefore go
    first. The most groups among the rest are the longest chain of subsets that sum to zero, each
    within the next, since what one adds to another sums to zero too.

    Exact for up to EXACT_UP_TO positions left after pairs, greedy above; the answer says which.
    """
    assert sum(nets.values()) == 0
    paired, rest = _pay_pairs(nets)
    if len(rest) <= EXACT_UP_TO:
        payments = paired + [
            payment
            for group in _most_zero_groups(sorted(rest.items()))
            for payment in greedy(dict(group))
        ]
        return _in_order(payments), Method.EXACT
    # Neither is always the shorter of the two, and both cost next to nothing.
    shorter = min(paired + list(greedy(rest)), list(greedy(nets)), key=len)
    return _in_order(shorter), Method.GREEDY


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


def _pay_pairs(nets: Mapping[PartyId, int]) -> tuple[list[Payment], dict[PartyId, int]]:
    claims: defaultdict[int, list[PartyId]] = defaultdict(list)
    for party, net in sorted(nets.items(), reverse=True):
        if net > 0:
            claims[net].append(party)
    payments: list[Payment] = []
    rest: dict[PartyId, int] = {}
    for party, net in sorted(nets.items()):
        if net < 0 and claims[-net]:
            payments.append(Payment(party, claims[-net].pop(), -net))
        elif net < 0:
            rest[party] = net
    rest.update((party, net) for net, left in claims.items() for party in left)
    return payments, rest


def _most_zero_groups(
    nets: Sequence[tuple[PartyId, int]],
) -> list[list[tuple[PartyId, int]]]:
    """Split positions that sum to zero into as many groups that sum to zero as there can be.

    A subset of n positions is an n-bit mask, and a set of subsets a whole number with the bit of
    each mask in it set: "every superset of these" is then n shifts, whatever their number.
    """
    if not nets:
        return []
    sums = [0]
    for _, net in nets:
        sums += [so_far + net for so_far in sums]
    zeros = [mask for mask, total in enumerate(sums) if total == 0 and mask]
    bits = bytearray(len(sums) // 8 + 1)
    for mask in zeros:
        bits[mask >> 3] |= 1 << (mask & 7)
    all_zeros = int.from_bytes(bits, "little")
    without = [_masks_without(bit, len(nets)) for bit in range(len(nets))]

    chain = [all_zeros]  # chain[k]: masks that sum to zero and hold a chain of k + 1 such masks
    while longer := _strict_supersets(chain[-1], without) & all_zeros:
        chain.append(longer)

    groups: list[list[tuple[PartyId, int]]] = []
    whole = len(sums) - 1
    for shorter in reversed(chain[:-1]):
        inner = next(m for m in zeros if shorter >> m & 1 and m & whole == m and m != whole)
        groups.append(_members(nets, whole ^ inner))
        whole = inner
    groups.append(_members(nets, whole))
    return groups


def _masks_without(bit: int, size: int) -> int:
    """The set of all masks of `size` bits in which `bit` is not set."""
    run = 1 << bit
    pattern, length = (1 << run) - 1, 2 * run
    while length < 1 << size:
        pattern |= pattern << length
        length *= 2
    return pattern


def _strict_supersets(masks: int, without: Sequence[int]) -> int:
    found = 0
    for bit, lacking in enumerate(without):
        found |= (masks & lacking) << (1 << bit)
    for bit, lacking in enumerate(without):
        found |= (found & lacking) << (1 << bit)
    return found


def _members(nets: Sequence[tuple[PartyId, int]], mask: int) -> list[tuple[PartyId, int]]:
    return [one for bit, one in enumerate(nets) if mask >> bit & 1]
