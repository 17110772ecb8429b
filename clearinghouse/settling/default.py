"""Default: what is done to a settlement when somebody does not pay. Nothing is changed in it.

By one rule the settlement is undone and made anew without the defaulter, by the other what there is
is shared out (clearinghouse.netting.default reckons both). Either way collateral pays first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date as Day
from enum import StrEnum

from clearinghouse.ledger.model import Entry, Subject, mirrored
from clearinghouse.netting import default
from clearinghouse.netting.default import Share
from clearinghouse.netting.model import (
    Obligation,
    Strategy,
    clear,
)
from clearinghouse.netting.model import Payment as Cleared
from clearinghouse.settling.model import (
    STANDING,
    Payment,
    PaymentState,
    Settlement,
    assert_nobody_moves,
    obligations_of,
    owed,
    payments_of,
)
from roaming.money import Money
from roaming.party import PartyId
from roaming.refusal import Clash


class NothingFailed(Clash):
    """The party owes no payment of this month that is open."""


class NoLongerWhole(Clash):
    """Some of the group was paid or has failed: it is not undone as if it had never been."""


class Rule(StrEnum):
    UNWIND = "unwind"
    CLEARING_VECTOR = "clearing-vector"


@dataclass(frozen=True, slots=True)
class Loss:
    """What one party was to get of the month in all (negative: to pay), and what it gets now."""

    party: PartyId
    expected_minor: int
    gets_minor: int

    @property
    def loses_minor(self) -> int:
        return self.expected_minor - self.gets_minor


@dataclass(frozen=True, slots=True)
class Correction:
    """What a default does to one settlement. Nothing is changed: all of it is posted anew.

    `failed`: payments that are not made; `unwound`: taken back; `instead`: what is owed instead.
    `covered`: what is paid out of the defaulter's collateral, owed by the hub instead.
    """

    rule: Rule
    period_id: str
    clearing_group: str
    currency: str
    defaulter: PartyId
    collateral_minor: int
    losses: tuple[Loss, ...]
    failed: tuple[Payment, ...] = ()
    unwound: tuple[Payment, ...] = ()
    instead: tuple[Payment, ...] = ()
    covered: tuple[Cleared, ...] = ()


def unwound(
    settlement: Settlement, defaulter: PartyId, *, hub: PartyId, collateral_minor: int = 0
) -> Correction | None:
    """Take the defaulter out of a settlement; None where it has nothing to pay in it.

    What stands between it and each of the others is set off between the two. Raises NoLongerWhole.
    """
    if not _open_payments(settlement, defaulter):
        return None
    if any(one.state is not PaymentState.DUE or one.defaulter for one in settlement.payments):
        raise NoLongerWhole(
            f"of {settlement.clearing_group} {settlement.currency} something was paid or failed",
            field="rule",
            value=Rule.UNWIND,
            rule=f"{Rule.CLEARING_VECTOR}, once money has moved",
        )
    without = default.unwind(settlement.strategy, obligations_of(settlement.pairs), defaulter)
    left = clear(Strategy.BILATERAL, without.left_standing).payments
    failing = [one for one in left if one.payer == defaulter]
    shared = default.clearing_vector(
        [Obligation(one.payer, one.payee, one.amount_minor) for one in failing],
        {defaulter: collateral_minor},
    )
    due = min(one.due_on for one in settlement.payments)
    named = (settlement.period_id, settlement.clearing_group, settlement.currency, due)
    with_it = [one for one in left if one.payer != defaulter]
    covered = {one.payee: one.amount_minor for one in shared.payments}
    uncovered = [
        replace(one, amount_minor=one.amount_minor - covered.get(one.payee, 0)) for one in failing
    ]
    lost = {one.payee: one.amount_minor for one in uncovered if one.amount_minor}
    stood = {one.party: one.amount_minor for one in without.before.positions}
    return Correction(
        rule=Rule.UNWIND,
        period_id=settlement.period_id,
        clearing_group=settlement.clearing_group,
        currency=settlement.currency,
        defaulter=defaulter,
        collateral_minor=sum(covered.values()),
        losses=tuple(
            Loss(one.party, stood[one.party], stood[one.party] - lost.get(one.party, 0))
            for one in without.changes
        ),
        unwound=settlement.payments,
        instead=(
            *payments_of(without.after.payments, *named, defaulter=defaulter),
            *payments_of(with_it, *named, defaulter=defaulter),
            *payments_of(
                [one for one in uncovered if one.amount_minor],
                *named,
                defaulter=defaulter,
                state=PaymentState.FAILED,
            ),
            *_from_collateral(shared.payments, hub, named, defaulter),
        ),
        covered=shared.payments,
    )


def shared_out(
    settlement: Settlement,
    defaulter: PartyId,
    *,
    hub: PartyId,
    collateral_minor: int = 0,
    means: Mapping[PartyId, int] | None = None,
) -> tuple[Correction, tuple[Share, ...]] | None:
    """What comes of the open payments when the defaulter has but its collateral and `means`.

    `means` may name others who have no more than that. What is told of means is a reckoning; only
    what is in collateral is paid out by it.
    """
    failed = _open_payments(settlement, defaulter)
    if not failed:
        return None
    still = [
        Obligation(one.payer, one.payee, one.open_minor)
        for one in settlement.payments
        if one.state in STANDING
    ]
    has = dict(means or {})
    has[defaulter] = has.get(defaulter, 0) + collateral_minor
    told = default.clearing_vector(still, has)
    out_of_collateral = default.clearing_vector(
        [Obligation(one.payer, one.payee, one.open_minor) for one in failed],
        {defaulter: collateral_minor},
    ).payments
    named = (
        settlement.period_id,
        settlement.clearing_group,
        settlement.currency,
        min(one.due_on for one in failed),
    )
    correction = Correction(
        rule=Rule.CLEARING_VECTOR,
        period_id=settlement.period_id,
        clearing_group=settlement.clearing_group,
        currency=settlement.currency,
        defaulter=defaulter,
        collateral_minor=sum(one.amount_minor for one in out_of_collateral),
        losses=tuple(
            Loss(
                one.party,
                one.claimed_minor - one.owed_minor,
                one.received_minor - one.owed_minor,
            )
            for one in told.shares
            if one.party != defaulter and one.loss_minor
        ),
        failed=failed,
        instead=_from_collateral(out_of_collateral, hub, named, defaulter),
        covered=out_of_collateral,
    )
    return correction, told.shares


def _open_payments(settlement: Settlement, defaulter: PartyId) -> tuple[Payment, ...]:
    return tuple(
        one for one in settlement.payments if one.payer == defaulter and one.state in STANDING
    )


def _from_collateral(
    covered: Sequence[Cleared], hub: PartyId, named: tuple[str, str, str, Day], defaulter: PartyId
) -> tuple[Payment, ...]:
    return payments_of(
        [replace(one, payer=hub) for one in covered if one.payee != hub],
        *named,
        defaulter=defaulter,
        collateral=True,
    )


def correction_entries(correction: Correction, hub: PartyId) -> tuple[Entry, ...]:
    """The entries of a default: old debts taken back, new ones owed, collateral first."""
    entries: list[Entry] = []
    for payment in correction.unwound:
        entries += owed(payment, -payment.open_minor)
    for payment in correction.instead:
        entries += owed(payment, payment.amount_minor)
    covered = sum(one.amount_minor for one in correction.covered)
    if correction.rule is Rule.CLEARING_VECTOR:
        by_payee = {one.payee: one.amount_minor for one in correction.covered}
        for payment in correction.failed:
            if payment.payee in by_payee:
                entries += owed(payment, -by_payee[payment.payee])
    if covered:
        entries += mirrored(
            Subject.COLLATERAL,
            creditor=correction.defaulter,
            debtor=hub,
            amount=Money(-covered, correction.currency),
        )
    assert_nobody_moves(entries)
    return tuple(entries)
