"""Settling: what a closed month leaves owing becomes payments, and payments become history.

For each clearing group and currency, what every party owes another (charges, fees, and the VAT of
both) is cleared by the group's strategy. Then the ledger says so: what the pairs owed each other is
taken back, and what the payments come to is owed instead. Laws, held here by assertions:

- no party is better or worse off: its entries of a settlement sum to zero;
- nothing is lost on the way: what all pairs owed = what is paid + what was netted away.

What a party's payments settle is told in setoff.py, and in default.py what happens when one is not
made.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date as Day
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from uuid import NAMESPACE_URL, uuid5

from clearinghouse.ledger.model import Entry, Subject, mirrored
from clearinghouse.netting.currencies import converted
from clearinghouse.netting.model import (
    Clearing,
    Method,
    Obligation,
    Strategy,
    clear,
    owed_by_pair,
)
from clearinghouse.netting.model import Payment as Cleared
from clearinghouse.periods.model import Month
from roaming.money import Money
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, NotYours, Unknown

DEFAULT_TERMS_DAYS = 30
"""Where no agreement of a group says when to pay."""


class UnknownPayment(Unknown):
    """No payment by this id that the caller may see."""


class NotSettled(Clash):
    """The month has not been settled, so it has no payments yet."""


class PaysTooMuch(Clash):
    """More than is still open: what is too much belongs to the payer, and is sent back."""


class PaymentCannot(Clash):
    """The payment is in a state in which no money is expected."""


class SourceReused(Clash):
    """The same source has told of another amount or moment before."""


class BadReceipt(Malformed):
    """Money that came, or went back, is more or less than nothing."""


class BadCursor(Malformed):
    """A cursor that no earlier page has given."""


class HubOnly(NotYours):
    """What the hub's operator does, and no partner."""


class NotPayee(NotYours):
    """Whether money came, its payee says, or the hub."""


class PaymentState(StrEnum):
    DUE = "due"
    PART_PAID = "part-paid"
    PAID = "paid"
    FAILED = "failed"
    """Its payer does not pay. What comes yet is taken, as it may be."""
    WRITTEN_OFF = "written-off"
    UNWOUND = "unwound"
    """Taken back, since somebody did not pay; others stand in its place."""


EXPECTED = frozenset({PaymentState.DUE, PaymentState.PART_PAID, PaymentState.FAILED})
"""In which states money may come."""

STANDING = frozenset({PaymentState.DUE, PaymentState.PART_PAID})
"""Of these nobody has said that they fail."""


@dataclass(frozen=True, slots=True)
class PairTotal:
    """What one party owes another for a month, in one clearing group and currency.

    `settled_minor`: all of it, in the currency that it is settled in.
    """

    clearing_group: str
    currency: str
    debtor: PartyId
    creditor: PartyId
    charge_minor: int = 0
    vat_minor: int = 0
    fee_minor: int = 0
    fee_vat_minor: int = 0
    cdrs: int = 0
    settled_minor: int = 0

    @property
    def total_minor(self) -> int:
        return self.charge_minor + self.vat_minor + self.fee_minor + self.fee_vat_minor


@dataclass(frozen=True, slots=True)
class Payment:
    """What one party has to pay another. `reference` goes with the money (ISO 11649).

    `defaulter`: it came about since this party did not pay, not by the settlement itself.
    """

    payment_id: str
    period_id: str
    clearing_group: str
    currency: str
    payer: PartyId
    payee: PartyId
    amount_minor: int
    due_on: Day
    reference: str
    state: PaymentState = PaymentState.DUE
    paid_minor: int = 0
    defaulter: PartyId | None = None

    @property
    def open_minor(self) -> int:
        return self.amount_minor - self.paid_minor


@dataclass(frozen=True, slots=True)
class AtRate:
    """What one unit of a currency is worth in another, exactly; `by`: of which day, and whose."""

    factor: Fraction
    by: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """One clearing group in one settlement currency. `rates`: by which others came into it."""

    period_id: str
    clearing_group: str
    currency: str
    strategy: Strategy
    method: Method | None
    pairs: tuple[PairTotal, ...]
    payments: tuple[Payment, ...]
    rates: Mapping[str, AtRate]

    @property
    def total_minor(self) -> int:
        """What all pairs owed, one way and the other."""
        return sum(owed_by_pair(obligations_of(self.pairs)).values())

    @property
    def paid_minor(self) -> int:
        """What the settlement itself made payable."""
        return sum(one.amount_minor for one in self.payments if one.defaulter is None)

    @property
    def netted_minor(self) -> int:
        return self.total_minor - self.paid_minor


def strategy_of(clearing_group: str) -> Strategy:
    """A group is `strategy` or `strategy:name`; what is in no group is paid as it stands."""
    return Strategy(clearing_group.partition(":")[0] or Strategy.GROSS)


def settle(
    month: Month,
    totals: Iterable[PairTotal],
    due: Mapping[tuple[str, str], Day],
    *,
    into: str | None = None,
    rates: Mapping[str, AtRate] | None = None,
) -> list[Settlement]:
    """What a month's pair totals become, by group and currency; the same input, the same output.

    `due` says when the payments of a group and settlement currency are due. `into`: all of a
    group's currencies are settled in this one, at these `rates`.
    """
    groups: defaultdict[tuple[str, str], list[PairTotal]] = defaultdict(list)
    for one in totals:
        groups[one.clearing_group, into or one.currency].append(one)
    return [
        _settled(month, group, currency, pairs, due[group, currency], rates or {})
        for (group, currency), pairs in sorted(groups.items())
    ]


def _settled(
    month: Month,
    group: str,
    currency: str,
    totals: Sequence[PairTotal],
    due_on: Day,
    rates: Mapping[str, AtRate],
) -> Settlement:
    ordered = sorted(totals, key=lambda one: (one.currency, one.debtor, one.creditor))
    pairs: list[PairTotal] = []
    for one in ordered:
        if one.currency == currency:
            pairs.append(replace(one, settled_minor=one.total_minor))
            continue
        made = converted(
            {one.currency: [Obligation(one.debtor, one.creditor, one.total_minor)]},
            currency,
            lambda other: rates[other].factor,
        )
        pairs.append(replace(one, settled_minor=made.obligations[0].amount_minor))
    clearing = clear(strategy_of(group), obligations_of(pairs))
    payments = payments_of(clearing.payments, str(month), group, currency, due_on)
    settlement = Settlement(
        period_id=str(month),
        clearing_group=group,
        currency=currency,
        strategy=clearing.strategy,
        method=clearing.method,
        pairs=tuple(pairs),
        payments=payments,
        rates={one.currency: rates[one.currency] for one in pairs if one.currency != currency},
    )
    assert_cleared(clearing)
    return settlement


def obligations_of(pairs: Iterable[PairTotal]) -> tuple[Obligation, ...]:
    """What is cleared: all that a pair's one owes the other, in the settlement currency."""
    owed: defaultdict[tuple[PartyId, PartyId], list[int]] = defaultdict(lambda: [0, 0])
    for one in pairs:
        of_pair = owed[one.debtor, one.creditor]
        of_pair[0] += one.settled_minor
        of_pair[1] += one.cdrs
    return tuple(
        Obligation(debtor, creditor, amount, 0, cdrs)
        for (debtor, creditor), (amount, cdrs) in sorted(owed.items())
    )


def assert_cleared(clearing: Clearing) -> None:
    """No party is better or worse off than before."""
    left = {one.party: one.amount_minor for one in clearing.positions}
    for payment in clearing.payments:
        left[payment.payer] += payment.amount_minor
        left[payment.payee] -= payment.amount_minor
    assert not any(left.values()), "payments clear every position"


def payments_of(
    cleared: Iterable[Cleared],
    period_id: str,
    group: str,
    currency: str,
    due_on: Day,
    *,
    defaulter: PartyId | None = None,
    collateral: bool = False,
    state: PaymentState = PaymentState.DUE,
) -> tuple[Payment, ...]:
    amounts: defaultdict[tuple[PartyId, PartyId], int] = defaultdict(int)
    for one in cleared:
        amounts[one.payer, one.payee] += one.amount_minor
    why = "" if defaulter is None else f"/{defaulter}{'/collateral' if collateral else ''}"
    payments = []
    for (payer, payee), amount in sorted(amounts.items()):
        name = f"{period_id}/{group}/{currency}/{payer}/{payee}{why}"
        payments.append(
            Payment(
                # The same payment has the same id whoever reckons it, and tells of no other one.
                payment_id=str(uuid5(NAMESPACE_URL, f"gridroam:settlement:{name}")),
                period_id=period_id,
                clearing_group=group,
                currency=currency,
                payer=payer,
                payee=payee,
                amount_minor=amount,
                due_on=due_on,
                reference=creditor_reference(period_id, name),
                state=state,
                defaulter=defaulter,
            )
        )
    return tuple(payments)


_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def creditor_reference(period_id: str, name: str) -> str:
    """RF and two check digits (ISO 11649), the month, and 12 characters that stand for `name`."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    said = period_id[2:].replace("-", "")
    for _ in range(12):
        number, letter = divmod(number, len(_LETTERS))
        said += _LETTERS[letter]
    digits = "".join(str(int(character, 36)) for character in f"{said}RF00")
    return f"RF{98 - int(digits) % 97:02d}{said}"


def due_on(settled_at: datetime, terms_days: Collection[int]) -> Day:
    """The longest of the agreements' terms, from the day of settlement.

    One day for all of a group: its payments hang together, and nobody pays earlier than it agreed.
    """
    return settled_at.date() + timedelta(days=max(terms_days, default=DEFAULT_TERMS_DAYS))


def entries_of(settlement: Settlement) -> list[tuple[Entry, ...]]:
    """The entries of a settlement, a posting's for each currency; none for nothing."""
    by_currency: defaultdict[str, list[Entry]] = defaultdict(list)
    for one in settlement.pairs:
        for subject, minor in (
            (Subject.CHARGE, one.charge_minor),
            (Subject.VAT, one.vat_minor),
            (Subject.FEE, one.fee_minor),
            (Subject.FEE_VAT, one.fee_vat_minor),
        ):
            if minor:
                by_currency[one.currency] += mirrored(
                    subject,
                    creditor=one.creditor,
                    debtor=one.debtor,
                    amount=Money(-minor, one.currency),
                )
    for payment in settlement.payments:
        by_currency[settlement.currency] += owed(payment, payment.amount_minor)
    if not settlement.rates:
        assert_nobody_moves(by_currency[settlement.currency])
    return [tuple(entries) for _, entries in sorted(by_currency.items()) if entries]


def owed(payment: Payment, minor: int) -> tuple[Entry, Entry]:
    """That so much of a payment is owed; below zero, that it no longer is."""
    return mirrored(
        Subject.SETTLEMENT,
        creditor=payment.payee,
        debtor=payment.payer,
        amount=Money(minor, payment.currency),
    )


def assert_nobody_moves(entries: Iterable[Entry]) -> None:
    """One kind of debt becomes another: each party's entries sum to zero."""
    sums: defaultdict[PartyId, int] = defaultdict(int)
    for entry in entries:
        sums[entry.party] += entry.amount_minor
    assert not any(sums.values()), "each party's entries sum to zero"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Money that came for a payment; below zero, that went back again.

    `source` names the fact: a bank's entry, somebody's word. The same fact counts once.
    """

    payment_id: str
    source: str
    amount_minor: int
    paid_at: datetime


COLLATERAL = "collateral"
"""The source of what was paid out of a defaulter's collateral. Nobody but the house tells it."""


def told_source(source: str) -> str:
    """The source of what a partner or a bank tells. Raises BadReceipt where it is the house's."""
    if source == COLLATERAL:
        raise BadReceipt(
            "so the house itself calls what it pays", field="source", value=source, rule="another"
        )
    return source


def received(
    payment: Payment, receipt: Receipt, *, defaulted: bool = False, covered_minor: int = 0
) -> Payment:
    """The payment after money came. Raises BadReceipt, PaymentCannot, PaysTooMuch.

    `defaulted`: its payer has defaulted on this settlement, so what goes back leaves a payment that
    fails, as before. `covered_minor`: of what came, what collateral paid; that does not go back.
    """
    came = receipt.amount_minor
    if came == 0:
        raise BadReceipt("nothing came", field="amount", value="0", rule="more than nothing")
    takes = EXPECTED if came > 0 else {*EXPECTED, PaymentState.PAID}
    if payment.state not in takes:
        raise PaymentCannot(
            f"the payment is {payment.state}",
            field="payment_id",
            value=payment.payment_id,
            rule=f"one that is {', '.join(sorted(takes))}",
        )
    may_go_minor = payment.paid_minor - covered_minor
    if came > payment.open_minor or -came > may_go_minor:
        raise PaysTooMuch(
            "more came than is open" if came > 0 else "more goes back than came",
            field="amount",
            value=str(Money(came, payment.currency)),
            rule=f"at most {Money(payment.open_minor, payment.currency)}, back at most "
            f"{Money(may_go_minor, payment.currency)}",
        )
    paid = payment.paid_minor + came
    if paid == payment.amount_minor:
        state = PaymentState.PAID
    elif defaulted or payment.state is PaymentState.FAILED:
        state = PaymentState.FAILED
    else:
        state = PaymentState.PART_PAID if paid else PaymentState.DUE
    return replace(payment, paid_minor=paid, state=state)


def written_off(payment: Payment) -> Payment:
    """The payment after its payee has given up what is open of it. Raises PaymentCannot."""
    if payment.state not in EXPECTED:
        raise PaymentCannot(
            f"the payment is {payment.state}",
            field="payment_id",
            value=payment.payment_id,
            rule=f"one that is {', '.join(sorted(EXPECTED))}",
        )
    return replace(payment, state=PaymentState.WRITTEN_OFF)
