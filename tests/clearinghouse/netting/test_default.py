"""A partner does not pay: who loses what, by cases reckoned by hand and by laws."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as some

from clearinghouse.netting.default import Change, Share, clearing_vector, unwind
from clearinghouse.netting.model import Obligation, Payment, Strategy, positions
from roaming.party import PartyId
from tests.clearinghouse.netting.test_model import N1, A, B, C, D, debts, parties, party

strategies = some.sampled_from(Strategy)


def test_unwinding_shows_who_loses_what() -> None:
    unwound = unwind(Strategy.MULTILATERAL, N1, D)
    # D owed 600, 500 and 300, and was owed 250, 300 and 400.
    assert unwound.changes == (
        Change(
            A,
            before_minor=620,
            after_minor=270,
            owed_by_defaulter_minor=600,
            owes_defaulter_minor=250,
        ),
        Change(
            B,
            before_minor=230,
            after_minor=30,
            owed_by_defaulter_minor=500,
            owes_defaulter_minor=300,
        ),
        Change(
            C,
            before_minor=-400,
            after_minor=-300,
            owed_by_defaulter_minor=300,
            owes_defaulter_minor=400,
        ),
    )
    assert [one.shortfall_minor for one in unwound.changes] == [350, 200, -100]
    assert len(unwound.left_standing) == 6
    assert unwound.after.payments == (Payment(C, A, 270), Payment(C, B, 30))


def test_who_has_no_dealings_with_the_defaulter_is_not_touched() -> None:
    owed = [Obligation(A, B, 100), Obligation(B, C, 100), Obligation(D, A, 40)]
    unwound = unwind(Strategy.MULTILATERAL, owed, D)
    assert [(one.party, one.shortfall_minor) for one in unwound.changes] == [(A, 40)]


@given(debts, parties, strategies)
def test_all_lose_together_what_the_defaulter_owed_in_all(
    owed: list[Obligation], defaulter: PartyId, strategy: Strategy
) -> None:
    unwound = unwind(strategy, owed, defaulter)
    stood = {one.party: one.amount_minor for one in unwound.before.positions}
    assert sum(one.shortfall_minor for one in unwound.changes) == -stood.get(defaulter, 0)
    for payment in unwound.after.payments:
        assert defaulter not in (payment.payer, payment.payee)
    told = {one.party for one in unwound.changes}
    after = {one.party: one.amount_minor for one in unwound.after.positions}
    assert all(after[one] == stood[one] for one in after if one not in told)


def test_one_that_has_four_of_ten_pays_four_tenths_of_each_debt() -> None:
    owed = [Obligation(A, B, 700), Obligation(A, C, 300)]
    shared = clearing_vector(owed, {A: 400})
    assert shared.payments == (Payment(A, B, 280), Payment(A, C, 120))
    assert shared.shares[0] == Share(A, 1_000, 400, 0, 0, 0)
    assert [one.loss_minor for one in shared.shares] == [0, 420, 180]
    assert [one.fails for one in shared.shares] == [True, False, False]


def test_one_default_brings_down_the_next() -> None:
    # A has 4 of the 10 it owes B; B, who counted on them, has 1 more of the 8 it owes C.
    shared = clearing_vector([Obligation(A, B, 1_000), Obligation(B, C, 800)], {A: 400, B: 100})
    assert shared.payments == (Payment(A, B, 400), Payment(B, C, 500))
    assert [one.fails for one in shared.shares] == [True, True, False]


def test_who_can_pay_from_its_own_means_stops_the_fall() -> None:
    shared = clearing_vector([Obligation(A, B, 1_000), Obligation(B, C, 800)], {A: 400})
    assert shared.payments == (Payment(A, B, 400), Payment(B, C, 800))
    assert [one.loss_minor for one in shared.shares] == [0, 600, 0]


def test_two_that_owe_each_other_are_reckoned_together() -> None:
    # A owes B 10 and has 1. B owes A 6 and C 6, and has 2. Of what B pays A gets half:
    # a = 1 + b / 2 and b = 2 + a, so a = 4 and b = 6.
    owed = [Obligation(A, B, 1_000), Obligation(B, A, 600), Obligation(B, C, 600)]
    shared = clearing_vector(owed, {A: 100, B: 200})
    assert shared.exact == {A: 400, B: 600}
    assert shared.payments == (Payment(A, B, 400), Payment(B, A, 300), Payment(B, C, 300))


def test_a_circle_of_debts_is_paid_though_nobody_has_anything() -> None:
    # Of all that agree with themselves (nobody pays, or everybody) it is the one that pays most.
    circle = [Obligation(A, B, 500), Obligation(B, C, 500), Obligation(C, A, 500)]
    shared = clearing_vector(circle, {A: 0, B: 0, C: 0})
    assert [one.amount_minor for one in shared.payments] == [500, 500, 500]


def test_what_cannot_be_shared_in_whole_cents_stays_with_the_payer() -> None:
    owed = [Obligation(A, B, 100), Obligation(A, C, 100), Obligation(A, D, 100)]
    shared = clearing_vector(owed, {A: 200})
    assert [one.amount_minor for one in shared.payments] == [66, 66, 66]
    assert (shared.shares[0].paid_minor, shared.shares[0].kept_minor) == (198, 2)
    assert shared.exact[A] == 200


def test_nothing_is_paid_out_of_nothing() -> None:
    shared = clearing_vector([Obligation(A, B, 100)], {A: 0})
    assert shared.payments == ()
    assert shared.shares == (Share(A, 100, 0, 0, 0, 0), Share(B, 0, 0, 0, 100, 0))


means = some.dictionaries(parties, some.integers(0, 10**5) | some.integers(0, 5))


@given(debts, means)
def test_liability_is_limited_and_priority_is_absolute(
    owed: list[Obligation], has: dict[PartyId, int]
) -> None:
    shared = clearing_vector(owed, has)
    creditors = Counter(
        debtor for debtor, creditor in {(o.debtor, o.creditor) for o in owed} if debtor != creditor
    )
    for one in shared.shares:
        assert 0 <= one.paid_minor <= one.owed_minor
        assert 0 <= one.kept_minor < max(1, creditors[one.party])
        if one.party not in has:
            assert not one.fails
            continue
        assert one.paid_minor + one.kept_minor <= has[one.party] + one.received_minor
        if one.fails:
            # All that it has goes out, but for what cannot be shared in whole units.
            assert one.paid_minor + one.kept_minor == has[one.party] + one.received_minor


@given(debts, means)
def test_each_creditor_gets_its_proportion_within_one_minor_unit(
    owed: list[Obligation], has: dict[PartyId, int]
) -> None:
    shared = clearing_vector(owed, has)
    due = Counter[tuple[PartyId, PartyId]]()
    for debt in owed:
        if debt.debtor != debt.creditor:
            due[debt.debtor, debt.creditor] += debt.amount_minor
    paid = {(one.payer, one.payee): one.amount_minor for one in shared.payments}
    assert paid.keys() <= due.keys()
    for one in shared.shares:
        shares_out = one.paid_minor + one.kept_minor
        for (debtor, creditor), amount in due.items():
            if debtor == one.party and one.owed_minor:
                share = Fraction(amount * shares_out, one.owed_minor)
                assert 0 <= share - paid.get((debtor, creditor), 0) < 1


@given(debts, means)
def test_the_exact_payments_agree_with_themselves(
    owed: list[Obligation], has: dict[PartyId, int]
) -> None:
    shared = clearing_vector(owed, has)
    total = {one.party: one.owed_minor for one in shared.shares}
    gets = Counter[PartyId]()
    for debt in owed:
        if debt.debtor != debt.creditor and debt.amount_minor:
            share = shared.exact[debt.debtor] * debt.amount_minor / total[debt.debtor]
            gets[debt.creditor] += share  # type: ignore[assignment]
    for debtor, pays in shared.exact.items():
        if debtor in has:
            assert pays == min(Fraction(total[debtor]), has[debtor] + gets[debtor])
        else:
            assert pays == total[debtor]


@given(debts, means)
def test_what_is_paid_is_received(owed: list[Obligation], has: dict[PartyId, int]) -> None:
    shared = clearing_vector(owed, has)
    assert sum(one.paid_minor for one in shared.shares) == sum(
        one.received_minor for one in shared.shares
    )
    assert sum(one.loss_minor for one in shared.shares) == sum(
        one.owed_minor - one.paid_minor for one in shared.shares
    )


@given(debts)
def test_where_everybody_can_pay_everything_is_paid(owed: list[Obligation]) -> None:
    shared = clearing_vector(owed, {party(n): 10**9 for n in range(12)})
    assert not any(one.fails or one.kept_minor for one in shared.shares)
    nets = {one.party: one.amount_minor for one in positions(owed)}
    for one in shared.shares:
        assert one.received_minor - one.paid_minor == nets[one.party]


@given(debts, means, parties)
def test_more_means_never_make_anybody_worse_off(
    owed: list[Obligation], has: dict[PartyId, int], one: PartyId
) -> None:
    poorer = {**has, one: has.get(one, 0)}
    less = {share.party: share.received_minor for share in clearing_vector(owed, poorer).shares}
    richer = clearing_vector(owed, {**poorer, one: poorer[one] + 1_000})
    assert all(share.received_minor >= less[share.party] for share in richer.shares)
