"""Circles of debts: cases by hand, and the laws of a maximum circulation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from itertools import product
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as some

from clearinghouse.netting.cycles import Debts, circles, most_cancelled
from roaming.party import PartyId
from tests.clearinghouse.netting.test_model import A, B, C, D, party
from tests.independent.who_owes_whom import without_cycles

numbers = some.integers(0, 8)
debts = some.dictionaries(
    some.tuples(numbers.map(party), numbers.map(party)),
    some.integers(0, 10**6) | some.integers(0, 4),
    max_size=40,
)


def test_a_circle_of_three_is_cancelled_as_far_as_its_smallest_debt() -> None:
    owed = {(A, B): 500, (B, C): 300, (C, A): 400, (A, D): 70}
    assert most_cancelled(owed) == {(A, B): 300, (B, C): 300, (C, A): 300}
    assert circles(most_cancelled(owed)) == [((A, B, C), 300)]


def test_to_set_off_the_pair_first_would_free_less() -> None:
    owed = {(A, B): 10, (B, A): 5, (B, C): 10, (C, A): 10}
    assert most_cancelled(owed) == {(A, B): 10, (B, C): 10, (C, A): 10}


def test_two_circles_that_share_a_debt_share_what_there_is_of_it() -> None:
    owed = {(A, B): 10, (B, A): 6, (B, C): 8, (C, D): 8, (D, A): 8}
    gone = most_cancelled(owed)
    # The great circle frees four for each unit of A's debt to B, the pair two.
    assert gone == {(A, B): 10, (B, A): 2, (B, C): 8, (C, D): 8, (D, A): 8}
    assert circles(gone) == [((A, B), 2), ((A, B, C, D), 8)]


def test_where_nothing_goes_round_nothing_is_cancelled() -> None:
    assert most_cancelled({}) == {}
    assert most_cancelled({(A, B): 5, (A, C): 5, (B, C): 5, (A, A): 9, (C, A): 0}) == {}


@given(debts)
def test_nobody_gives_up_more_than_it_is_freed_of(owed: Debts) -> None:
    gone = most_cancelled(owed)
    freed, given_up = Counter[PartyId](), Counter[PartyId]()
    for (debtor, creditor), amount in gone.items():
        assert 0 < amount <= owed[debtor, creditor]
        freed[debtor] += amount
        given_up[creditor] += amount
    assert freed == given_up


@given(debts)
def test_what_remains_holds_no_circle(owed: Debts) -> None:
    gone = most_cancelled(owed)
    left = {
        (debtor, creditor)
        for (debtor, creditor), amount in owed.items()
        if debtor != creditor and amount > gone.get((debtor, creditor), 0)
    }
    while left:
        owing = {debtor for debtor, _ in left}
        onward = {(debtor, creditor) for debtor, creditor in left if creditor in owing}
        assert onward != left, "every creditor owes in turn, so a circle is left"
        left = onward


@given(debts)
def test_as_much_is_cancelled_as_the_second_opinion_cancels(owed: Debts) -> None:
    told = {(str(a), str(b), "EUR"): (amount, 0, 1) for (a, b), amount in owed.items()}
    left = sum(amount for _, _, amount in without_cycles(told, "EUR"))
    between = sum(amount for (a, b), amount in owed.items() if a != b)
    assert sum(most_cancelled(owed).values()) == between - left


@given(debts)
def test_at_least_as_much_is_cancelled_as_each_pair_sets_off(owed: Debts) -> None:
    pairs = sum(min(amount, owed.get((b, a), 0)) for (a, b), amount in owed.items() if a != b)
    assert sum(most_cancelled(owed).values()) >= pairs


@given(some.lists(some.tuples(some.integers(0, 99), some.integers(0, 99)), max_size=9))
def test_where_the_only_circles_are_pairs_it_is_what_pairs_set_off(
    both: list[tuple[int, int]],
) -> None:
    # A star: everyone owes the one in the middle, who owes everyone.
    owed = {(A, party(n)): there for n, (there, _) in enumerate(both)}
    owed |= {(party(n), A): back for n, (_, back) in enumerate(both)}
    pairs = {(a, b): min(owed[a, b], owed[b, a]) for a, b in owed}
    assert most_cancelled(owed) == {pair: amount for pair, amount in pairs.items() if amount}


@given(some.lists(some.integers(0, 3), min_size=6, max_size=6))
def test_on_three_parties_no_choice_of_whole_units_cancels_more(amounts: list[int]) -> None:
    pairs = [(a, b) for a, b in product((A, B, C), repeat=2) if a != b]
    best = 0
    for chosen in product(*(range(amount + 1) for amount in amounts)):
        net = Counter[PartyId]()
        for (a, b), amount in zip(pairs, chosen, strict=True):
            net[a] += amount
            net[b] -= amount
        if not any(net.values()):
            best = max(best, sum(chosen))
    assert sum(most_cancelled(dict(zip(pairs, amounts, strict=True))).values()) == best


@given(debts, some.randoms())
def test_the_order_of_the_debts_does_not_matter(owed: Debts, chance: Random) -> None:
    shuffled = dict(chance.sample(list(owed.items()), len(owed)))
    assert list(most_cancelled(shuffled).items()) == list(most_cancelled(owed).items())


@given(debts)
def test_the_circles_add_up_to_what_was_cancelled(owed: Debts) -> None:
    gone = most_cancelled(owed)
    found = circles(gone)
    assert len(found) <= len(gone)
    added = Counter[tuple[PartyId, PartyId]]()
    for ring, amount in found:
        assert len(set(ring)) == len(ring) >= 2
        assert amount > 0
        for pair in zip(ring, (*ring[1:], ring[0]), strict=True):
            added[pair] += amount
    assert added == gone


_MANY = """
from random import Random
from clearinghouse.netting.cycles import most_cancelled
chance = Random(7)
owed = {}
for _ in range(400):
    a, b = (f"DE*{chance.randrange(40):03d}" for _ in range(2))
    owed[a, b] = chance.randrange(1, 6)
print(sorted(most_cancelled(owed).items()))
"""


def test_another_process_with_other_hashes_comes_to_the_same() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", _MANY],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1] != b""


@settings(max_examples=5, deadline=None)
@given(some.randoms(use_true_random=False))
def test_amounts_beyond_64_bits_are_exact(chance: Random) -> None:
    owed = {
        (a, b): chance.randrange(10**24, 10**25)
        for a, b in product((A, B, C, D), repeat=2)
        if a != b
    }
    gone = most_cancelled(owed)
    for one in (A, B, C, D):
        freed = sum(amount for (a, _), amount in gone.items() if a == one)
        assert freed == sum(amount for (_, b), amount in gone.items() if b == one)
