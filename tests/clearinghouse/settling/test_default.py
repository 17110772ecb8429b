"""Somebody does not pay: by either rule nobody is moved but whom the defaulter owes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clearinghouse.settling.default import (
    Correction,
    Loss,
    NoLongerWhole,
    correction_entries,
    shared_out,
    unwound,
)
from clearinghouse.settling.model import (
    PairTotal,
    PaymentState,
)
from roaming.party import PartyId
from tests.clearinghouse.netting.test_model import A, B, C, D
from tests.clearinghouse.settling.fakes import HUB, owes, parties, settled, totals

RING = [owes(A, B, 1_000), owes(B, C, 800), owes(C, A, 300), owes(A, D, 200)]


def test_unwinding_leaves_the_others_among_themselves() -> None:
    [ring] = settled(*RING)
    assert [(p.payer, p.payee, p.amount_minor) for p in ring.payments] == [
        *((A, B, 200), (A, C, 500), (A, D, 200)),
    ]
    correction = unwound(ring, A, hub=HUB)
    assert correction is not None
    assert correction.unwound == ring.payments
    assert [(p.payer, p.payee, p.amount_minor, p.state.value) for p in correction.instead] == [
        *((B, C, 800, "due"), (C, A, 300, "due"), (A, B, 1_000, "failed"), (A, D, 200, "failed")),
    ]
    # C has no claim on A, and is made whole by B: which is out of 1,000.
    assert correction.losses == (Loss(B, 200, -800), Loss(C, 500, 500), Loss(D, 200, 0))
    assert_sound(correction)


def test_collateral_pays_first_whatever_the_rule() -> None:
    [ring] = settled(*RING)
    correction = unwound(ring, A, hub=HUB, collateral_minor=600)
    assert correction is not None
    assert correction.collateral_minor == 600
    assert [(p.payer, p.payee, p.amount_minor, p.state.value) for p in correction.instead[2:]] == [
        *((A, B, 500, "failed"), (A, D, 100, "failed"), (HUB, B, 500, "due"), (HUB, D, 100, "due")),
    ]
    assert correction.losses == (Loss(B, 200, -300), Loss(C, 500, 500), Loss(D, 200, 100))
    assert_sound(correction)

    found = shared_out(ring, A, hub=HUB, collateral_minor=450)
    assert found is not None
    shared = found[0]
    assert [(p.payer, p.payee, p.amount_minor) for p in shared.instead] == [
        *((HUB, B, 100), (HUB, C, 250), (HUB, D, 100)),
    ]
    assert shared.losses == (Loss(B, 200, 100), Loss(C, 500, 250), Loss(D, 200, 100))
    assert shared.failed == ring.payments
    assert_sound(shared)


def test_means_are_reckoned_with_but_not_paid_out() -> None:
    [ring] = settled(*RING)
    found = shared_out(ring, A, hub=HUB, means={A: 90})
    assert found is not None
    assert found[0].losses == (Loss(B, 200, 20), Loss(C, 500, 50), Loss(D, 200, 20))
    assert (found[0].instead, found[0].collateral_minor) == ((), 0)
    assert correction_entries(found[0], HUB) == ()


def test_once_money_has_moved_nothing_is_unwound() -> None:
    [ring] = settled(*RING)
    paid = replace(
        ring, payments=(replace(ring.payments[0], paid_minor=1, state=PaymentState.PART_PAID),)
    )
    with pytest.raises(NoLongerWhole):
        unwound(paid, A, hub=HUB)


def test_who_has_nothing_to_pay_fails_in_nothing() -> None:
    [ring] = settled(*RING)
    assert unwound(ring, B, hub=HUB) is None
    assert shared_out(ring, B, hub=HUB) is None


@given(totals, parties, some.integers(0, 10**5))
def test_a_default_moves_nobody_but_whom_the_defaulter_owes(
    owed: list[PairTotal], defaulter: PartyId, collateral: int
) -> None:
    for settlement in settled(*owed):
        correction = unwound(settlement, defaulter, hub=HUB, collateral_minor=collateral)
        found = shared_out(settlement, defaulter, hub=HUB, collateral_minor=collateral)
        assert (correction is None) == (found is None)
        if correction is None or found is None:
            continue
        for one in (correction, found[0]):
            assert_sound(one)
            assert one.collateral_minor <= collateral
            assert all(loss.loses_minor >= 0 for loss in one.losses)
        pays = [p.amount_minor for p in settlement.payments if p.payer == defaulter]
        gets = sum(p.amount_minor for p in settlement.payments if p.payee == defaulter)
        lost = sum(loss.loses_minor for loss in found[0].losses)
        # What it has and gets goes to those it owes, but for what cannot be shared in whole cents.
        assert 0 <= lost - max(0, sum(pays) - collateral - gets) < len(pays)


def assert_sound(correction: Correction) -> None:
    """Each party's entries sum to zero, and both sides are told of each amount."""
    entries = correction_entries(correction, HUB)
    of_party: Counter[PartyId] = Counter()
    for entry in entries:
        of_party[entry.party] += entry.amount_minor
    assert not any(of_party.values())
    ids = [one.payment_id for one in (*correction.unwound, *correction.instead)]
    assert len(set(ids)) == len(ids)
    assert all(one.amount_minor > 0 for one in correction.instead)
