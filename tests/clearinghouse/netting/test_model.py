"""Netting, told by cases with known answers first and by laws second."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from clearinghouse.netting.cycles import circles, most_cancelled
from clearinghouse.netting.model import (
    BadPeriod,
    Cancelled,
    Method,
    Obligation,
    Payment,
    Period,
    Strategy,
    bilateral,
    clear,
    fewest_payments,
    greedy,
    gross,
    owed_by_pair,
    positions,
)
from roaming.party import PartyId

A, B, C, D = (PartyId(f"NL*AA{letter}") for letter in "ABCD")
UTC_ZONE = ZoneInfo("UTC")
DAY = Path(__file__).parents[2] / "independent" / "expected_day.json"


def party(number: int) -> PartyId:
    return PartyId(f"DE*{number:03d}")


# The textbook case of four parties ("N1"): 12 debts, 6 pairs, 4 positions.
N1 = [
    Obligation(A, B, 250),
    Obligation(A, C, 50),
    Obligation(A, D, 250),
    Obligation(B, A, 300),
    Obligation(B, C, 150),
    Obligation(B, D, 300),
    Obligation(C, A, 270),
    Obligation(C, B, 230),
    Obligation(C, D, 400),
    Obligation(D, A, 600),
    Obligation(D, B, 500),
    Obligation(D, C, 300),
]


def paid(payments: Sequence[Payment]) -> int:
    return sum(payment.amount_minor for payment in payments)


def test_n1_gross_moves_3600_in_12_payments() -> None:
    payments = clear(Strategy.GROSS, N1).payments
    assert (paid(payments), len(payments)) == (3_600, 12)


def test_n1_bilateral_moves_1000_in_6_payments() -> None:
    payments = clear(Strategy.BILATERAL, N1).payments
    assert (paid(payments), len(payments)) == (1_000, 6)


def test_n1_multilateral_moves_850_in_3_payments() -> None:
    clearing = clear(Strategy.MULTILATERAL, N1)
    assert {p.party: p.amount_minor for p in clearing.positions} == {
        A: 620,
        B: 230,
        C: -400,
        D: -450,
    }
    assert (paid(clearing.payments), len(clearing.payments)) == (850, 3)
    assert clearing.method is Method.EXACT


def test_n1_cycles_move_850_too_and_only_along_debts() -> None:
    clearing = clear(Strategy.CYCLES, N1)
    # No less than the positions can be paid, and here debts reach everywhere.
    assert paid(clearing.payments) == 850
    assert sum(one.amount_minor for one in clearing.cancelled) == 3_600 - 850
    owed = {(debt.debtor, debt.creditor): debt.amount_minor for debt in N1}
    assert all(one.amount_minor <= owed[one.payer, one.payee] for one in clearing.payments)
    assert clearing.payments == (
        *(Payment(C, A, 270), Payment(C, B, 130), Payment(D, A, 350), Payment(D, B, 100)),
    )


def test_n8_greedy_needs_4_payments_where_3_will_do() -> None:
    nets = {party(n): net for n, net in enumerate([4, 3, -3, -2, -2])}
    assert len(greedy(nets)) == 4
    payments, method = fewest_payments(nets)
    assert (len(payments), method) == (3, Method.EXACT)


def test_the_worked_example_on_the_page_about_netting_is_true() -> None:
    a, b, c, d, e, f = map(party, range(6))
    owed = [
        *(Obligation(a, e, 20), Obligation(b, f, 15), Obligation(c, a, 25), Obligation(c, b, 15)),
        *(Obligation(d, a, 20), Obligation(d, b, 10), Obligation(e, a, 30), Obligation(e, b, 40)),
        *(Obligation(f, a, 15), Obligation(f, b, 10)),
    ]
    told = [
        clear(one, owed).payments for one in (Strategy.GROSS, Strategy.BILATERAL, Strategy.CYCLES)
    ]
    assert [(len(payments), paid(payments)) for payments in told] == [
        *((10, 200), (8, 140), (7, 130))
    ]
    assert circles(most_cancelled(owed_by_pair(owed))) == [
        *(((a, e), 15), ((a, e, b, f), 5), ((b, f), 10))
    ]
    nets = {one.party: one.amount_minor for one in positions(owed)}
    assert nets == {a: 70, b: 60, c: -40, d: -30, e: -50, f: -10}
    assert greedy(nets) == (
        *(Payment(e, a, 50), Payment(c, b, 40)),
        *(Payment(d, a, 20), Payment(d, b, 10), Payment(f, b, 10)),
    )
    fewest = [Payment(c, a, 40), Payment(d, a, 30), Payment(e, b, 50), Payment(f, b, 10)]
    assert fewest_payments(nets) == (tuple(fewest), Method.EXACT)


def test_a_circle_of_equal_debts_needs_no_payment() -> None:
    circle = [Obligation(A, B, 500), Obligation(B, C, 500), Obligation(C, A, 500)]
    assert clear(Strategy.MULTILATERAL, circle).payments == ()
    assert clear(Strategy.CYCLES, circle).payments == ()


def test_vat_is_kept_apart_from_what_is_netted() -> None:
    owed = [Obligation(A, B, 1_000, 200, 3), Obligation(B, A, 400, 84, 2)]
    assert bilateral(owed) == (Payment(A, B, 600, 116),)
    assert [(p.party, p.amount_minor, p.vat_minor) for p in positions(owed)] == [
        (A, -600, -116),
        (B, 600, 116),
    ]
    (payment,) = clear(Strategy.MULTILATERAL, owed).payments
    assert payment == Payment(A, B, 600, None)


def test_what_a_party_owes_itself_is_not_paid() -> None:
    owed = [Obligation(A, A, 700), Obligation(A, B, 0)]
    for strategy in Strategy:
        assert clear(strategy, owed).payments == ()


def test_more_credited_than_charged_is_the_others_debt() -> None:
    owed = [Obligation(A, B, -300, -57, 2), Obligation(B, A, 100)]
    assert gross(owed) == (Payment(B, A, 300, 57), Payment(B, A, 100, 0))
    assert clear(Strategy.GROSS, owed).cancelled == ()
    for strategy in Strategy:
        assert paid(clear(strategy, owed).payments) == 400


@pytest.mark.parametrize("strategy", [Strategy.BILATERAL, Strategy.CYCLES])
def test_what_two_set_off_is_told_of_both_debts(strategy: Strategy) -> None:
    clearing = clear(strategy, [Obligation(A, B, 1_000), Obligation(B, A, 400)])
    assert clearing.cancelled == (Cancelled(A, B, 400), Cancelled(B, A, 400))
    assert clear(Strategy.MULTILATERAL, clearing.obligations).cancelled == ()


def test_a_party_sees_only_what_concerns_it() -> None:
    whole = clear(Strategy.MULTILATERAL, N1)
    seen = whole.seen_by(A)
    assert all(A in (one.debtor, one.creditor) for one in seen.obligations)
    assert len(seen.obligations) == 6
    assert all(A in (one.payer, one.payee) for one in seen.payments)
    assert [one.party for one in seen.positions] == [A]


def test_the_shipped_day_has_27_positions_and_needs_25_payments() -> None:
    rows = json.loads(DAY.read_text(encoding="utf-8"))["positions"]
    nets = {PartyId(row["party"]): int(Decimal(row["amount"]) * 100) for row in rows}
    assert (len(nets), len(greedy(nets))) == (27, 26)
    payments, method = fewest_payments(nets)
    assert (len(payments), method) == (25, Method.EXACT)


def test_what_is_not_proven_says_greedy() -> None:
    # No two subsets have the same sum, so 61 payments it is; but nobody can look at all of them.
    nets = {party(n): (-3) ** n for n in range(61)}
    nets[party(61)] = -sum(nets.values())
    payments, method = fewest_payments(nets)
    assert (len(payments), method) == (61, Method.GREEDY)


def test_300_pairs_are_300_payments() -> None:
    nets = {party(n): (n // 2 + 1) * (1 if n % 2 else -1) for n in range(600)}
    payments, method = fewest_payments(nets)
    assert (len(payments), method) == (300, Method.EXACT)


def test_a_month_begins_by_the_clock_that_is_asked_for() -> None:
    assert Period.month("2025-01", UTC_ZONE) == Period(
        datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC)
    )
    assert Period.month("2025-03", ZoneInfo("Europe/Paris")) == Period(
        datetime(2025, 2, 28, 23, tzinfo=UTC), datetime(2025, 3, 31, 22, tzinfo=UTC)
    )
    assert Period.month("2024-12", UTC_ZONE).end == datetime(2025, 1, 1, tzinfo=UTC)


def test_days_and_instants_bound_a_period() -> None:
    assert Period.between("2025-01-01", "2025-01-02T00:00:00+01:00", UTC_ZONE) == Period(
        datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, 23, tzinfo=UTC)
    )


@pytest.mark.parametrize("name", ["2025", "2025-13", "25-01", "2025-1", "1999-12", "", "9999-12"])
def test_what_is_no_month_is_refused(name: str) -> None:
    with pytest.raises(BadPeriod):
        Period.month(name, UTC_ZONE)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2025-01-02", "2025-01-01"),
        ("2025-01-01", "2025-01-01"),
        ("2025-01-01T00:00:00", "2025-01-02"),
        ("yesterday", "2025-01-02"),
        ("0001-01-01T00:00:00+14:00", "2025-01-02"),
    ],
)
def test_what_is_no_period_is_refused(start: str, end: str) -> None:
    with pytest.raises(BadPeriod):
        Period.between(start, end, UTC_ZONE)


parties = some.integers(0, 11).map(party)
debts = some.lists(
    some.builds(
        Obligation,
        parties,
        parties,
        some.integers(0, 10**6) | some.integers(0, 5),
        some.integers(0, 100),
    ),
    max_size=40,
)


@given(debts, some.sampled_from(Strategy))
def test_payments_clear_every_position(owed: list[Obligation], strategy: Strategy) -> None:
    cleared = clear(strategy, owed)
    after = {one.party: one.amount_minor for one in cleared.positions}
    for payment in cleared.payments:
        assert payment.amount_minor > 0
        after[payment.payer] += payment.amount_minor
        after[payment.payee] -= payment.amount_minor
    assert not any(after.values())


@given(debts)
def test_each_strategy_moves_no_more_than_the_one_before(owed: list[Obligation]) -> None:
    moved = [
        paid(clear(one, owed).payments)
        for one in (*(Strategy.GROSS, Strategy.BILATERAL, Strategy.CYCLES, Strategy.MULTILATERAL),)
    ]
    assert moved == sorted(moved, reverse=True)
    assert moved[0] == sum(one.amount_minor for one in owed if one.debtor != one.creditor)


@given(debts)
def test_the_order_of_the_input_does_not_matter(owed: list[Obligation]) -> None:
    one_each = {(one.debtor, one.creditor): one for one in owed}
    ordered = list(one_each.values())
    for strategy in Strategy:
        assert clear(strategy, ordered) == clear(strategy, reversed(ordered))


@given(debts)
def test_cycles_pay_only_what_is_owed_to_whom_it_is_owed(owed: list[Obligation]) -> None:
    cleared = clear(Strategy.CYCLES, owed)
    left = Counter[tuple[PartyId, PartyId]]()
    for debt in owed:
        left[debt.debtor, debt.creditor] += debt.amount_minor
    for one in cleared.payments:
        left[one.payer, one.payee] -= one.amount_minor
        assert one.vat_minor is None
    assert all(amount >= 0 for amount in left.values())
    told = {(one.debtor, one.creditor): one.amount_minor for one in cleared.cancelled}
    assert told == {pair: left[pair] for pair in left if left[pair] and pair[0] != pair[1]}


@given(debts, parties)
def test_what_was_cancelled_is_told_to_each_of_its_own_debts(
    owed: list[Obligation], one: PartyId
) -> None:
    for strategy in Strategy:
        whole = clear(strategy, owed)
        assert whole.seen_by(one).cancelled == tuple(
            debt for debt in whole.cancelled if one in (debt.debtor, debt.creditor)
        )


balanced = some.lists(some.integers(-6, 6) | some.integers(-500, 500), max_size=8).map(
    lambda nets: dict(enumerate([*nets, -sum(nets)]))
)


@given(balanced)
def test_no_one_can_do_with_fewer_payments(by_number: dict[int, int]) -> None:
    nets = {party(number): net for number, net in by_number.items()}
    payments, method = fewest_payments(nets)
    standing = [net for net in nets.values() if net]
    assert method is Method.EXACT
    assert len(payments) == len(standing) - most_zero_groups(tuple(standing))
    assert len(payments) <= len(greedy(nets))


def most_zero_groups(nets: tuple[int, ...]) -> int:
    """By trying every group that holds the first one left: slow, and plainly right."""
    if not nets:
        return 0
    best = 0
    first, rest = nets[0], range(1, len(nets))
    for size in range(len(nets)):
        for others in combinations(rest, size):
            if first + sum(nets[index] for index in others) == 0:
                left = tuple(nets[index] for index in rest if index not in others)
                best = max(best, 1 + most_zero_groups(left))
    return best


@given(balanced, some.randoms())
def test_the_order_of_the_positions_does_not_matter(
    by_number: dict[int, int], chance: Random
) -> None:
    nets = [(party(number), net) for number, net in by_number.items()]
    shuffled = chance.sample(nets, len(nets))
    assert fewest_payments(dict(shuffled)) == fewest_payments(dict(nets))


@settings(max_examples=30, deadline=None)
@given(some.lists(some.integers(-(10**6), 10**6), min_size=19, max_size=30))
def test_many_positions_are_cleared_too_and_never_worse_than_greedy(nets: list[int]) -> None:
    standing = {party(number): net for number, net in enumerate([*nets, -sum(nets)])}
    payments, _ = fewest_payments(standing)
    assert len(payments) <= len(greedy(standing))
    after = dict(standing)
    for payment in payments:
        after[payment.payer] += payment.amount_minor
        after[payment.payee] -= payment.amount_minor
    assert not any(after.values())


@given(debts)
def test_gross_payments_are_the_debts_as_they_stand(owed: list[Obligation]) -> None:
    assert [(one.payer, one.payee, one.amount_minor, one.vat_minor) for one in gross(owed)] == [
        (one.debtor, one.creditor, one.amount_minor, one.vat_minor)
        for one in owed
        if one.debtor != one.creditor and one.amount_minor
    ]
