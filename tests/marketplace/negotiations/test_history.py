"""Each fact stands once in a history, however many were told of it."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as some

from marketplace.negotiations.history import Entry, told_once

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def entry(subject: str, number: int, copy: int) -> Entry:
    return Entry(subject, "contract-status-changed", NOW, {"number": number}, bytes([copy]))


facts = some.lists(some.tuples(some.sampled_from("ab"), some.integers(0, 2)), max_size=20)


@given(facts)
def test_what_was_told_to_two_stands_once_also_where_it_happened_twice(
    happened: list[tuple[str, int]],
) -> None:
    told = [entry(subject, number, copy) for subject, number in happened for copy in (0, 1)]
    assert told_once(told) == [entry(subject, number, 0) for subject, number in happened]


def test_facts_of_several_subjects_may_be_told_in_turns() -> None:
    told = [entry("a", 1, 0), entry("b", 1, 0), entry("a", 1, 1), entry("b", 1, 1)]
    assert told_once(told) == told[:2]


def test_what_was_told_to_one_alone_stands_there_all_the_same() -> None:
    told = [entry("a", 1, 0), entry("a", 2, 0)]
    assert told_once(told) == told
