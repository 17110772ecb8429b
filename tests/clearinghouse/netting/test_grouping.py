"""Groups that sum to zero: the ways to find them are held to each other and to plain counting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from clearinghouse.netting.grouping import (
    Bounds,
    Grouping,
    most_zero_groups,
    pairs,
    search,
    weigh_all,
)


def assert_groups_of(amounts: Sequence[int], groups: Iterable[Sequence[int]]) -> None:
    """Every position is in one group, and every group sums to zero."""
    groups = list(groups)
    assert sorted(index for group in groups for index in group) == list(range(len(amounts)))
    assert all(groups)
    assert [sum(amounts[index] for index in group) for group in groups] == [0] * len(groups)


def on_record(seed: int, positions: int, largest: int) -> list[int]:
    """Amounts that sum to zero and are the same whenever they are asked for."""
    chance = Random(seed)
    amounts = [chance.choice((-1, 1)) * chance.randint(1, largest) for _ in range(positions - 1)]
    return [*amounts, -sum(amounts)]


def most_by_subsets(amounts: Sequence[int]) -> int:
    """The most groups, by what each set of positions can be split into, from small to large."""
    whole = (1 << len(amounts)) - 1
    total = [0] * (whole + 1)
    most = [0] * (whole + 1)
    for subset in range(1, whole + 1):
        lowest = subset & -subset
        total[subset] = total[subset ^ lowest] + amounts[lowest.bit_length() - 1]
        one_less = (most[subset ^ 1 << bit] for bit in range(len(amounts)) if subset >> bit & 1)
        most[subset] = max(one_less) + (total[subset] == 0)
    return most[whole]


near_zero = some.integers(-9, 9) | some.integers(-60, 60) | some.integers(-(10**4), 10**4)


def balanced(most: int) -> some.SearchStrategy[list[int]]:
    """Amounts other than 0, up to so many, that sum to 0."""
    return some.lists(near_zero, max_size=most - 1).map(
        lambda amounts: [amount for amount in [*amounts, -sum(amounts)] if amount]
    )


def without_pairs(amounts: Sequence[int]) -> list[int]:
    return [amounts[index] for index in pairs(amounts)[1]]


def test_opposites_are_paired_first_come_first() -> None:
    assert pairs([5, -5, 5, 7, -5, 5, -12]) == ([(1, 0), (4, 2)], [3, 5, 6])


def test_nothing_to_group_is_no_group() -> None:
    assert most_zero_groups([]) == Grouping((), True)


def test_to_take_the_smallest_group_first_is_not_always_best() -> None:
    # Without -2 +4 -2 the other nine do not split.
    amounts = [-2, 3, -8, 7, 4, 11, 11, -26, -12, 11, 3, -2]
    expected = {(-8, -2, 3, 7), (-26, 4, 11, 11), (-12, -2, 3, 11)}
    for groups in (weigh_all(amounts), search(amounts).groups):
        assert {tuple(sorted(amounts[index] for index in group)) for group in groups} == expected


@given(balanced(10))
def test_they_are_the_most_there_can_be(amounts: list[int]) -> None:
    found = most_zero_groups(amounts)
    assert_groups_of(amounts, found.groups)
    assert found.proven
    assert len(found.groups) == (most_by_subsets(amounts) if amounts else 0)


@settings(deadline=None)
@given(balanced(16).map(without_pairs).filter(bool))
def test_searching_and_weighing_come_to_the_same_number(amounts: list[int]) -> None:
    weighed = list(weigh_all(amounts))
    assert_groups_of(amounts, weighed)
    found = search(amounts)
    assert_groups_of(amounts, found.groups)
    assert found.proven
    assert len(found.groups) == len(weighed)


@settings(deadline=None)
@given(
    balanced(16).map(without_pairs).filter(bool),
    some.builds(
        Bounds,
        effort=some.sampled_from([0, 500, 5_000, 10**6]),
        sums=some.sampled_from([1, 10, 40, 100]),
        groups=some.sampled_from([1, 3, 10, 100]),
    ),
)
def test_however_little_may_be_done_nothing_false_is_proven(
    amounts: list[int], bounds: Bounds
) -> None:
    found = search(amounts, bounds)
    assert_groups_of(amounts, found.groups)
    most = len(list(weigh_all(amounts)))
    assert len(found.groups) == most if found.proven else len(found.groups) <= most


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("largest", [50, 5_000, 500_000])
@pytest.mark.parametrize("positions", [18, 27, 36])
def test_up_to_36_positions_are_proven(positions: int, largest: int, seed: int) -> None:
    amounts = on_record(seed, positions, largest)
    found = most_zero_groups(amounts)
    assert_groups_of(amounts, found.groups)
    assert found.proven


@pytest.mark.parametrize("largest", [20, 5_000, 500_000])
@pytest.mark.parametrize("positions", [60, 500])
def test_hundreds_are_grouped_as_well_as_bounded_effort_can(positions: int, largest: int) -> None:
    amounts = on_record(7, positions, largest)
    found = most_zero_groups(amounts)
    assert_groups_of(amounts, found.groups)
    assert len(found.groups) >= positions // 8


def test_few_amounts_are_proven_however_many_owe_them() -> None:
    amounts = [7] * 60 + [5] * 60 + [-180] * 4
    found = most_zero_groups(amounts)
    assert_groups_of(amounts, found.groups)
    assert (len(found.groups), found.proven) == (4, True)


def test_a_third_of_the_positions_is_proven_without_more_search() -> None:
    amounts = [
        amount for n in range(30) for amount in (1_000 + 7**n, 2_000 + 11**n, -3_000 - 7**n - 11**n)
    ]
    found = most_zero_groups(amounts)
    assert_groups_of(amounts, found.groups)
    assert (len(found.groups), found.proven) == (30, True)
