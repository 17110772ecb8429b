"""Modules, clauses and the library of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.framework.model import (
    BadModule,
    Clause,
    Clauses,
    Kind,
    Library,
    Module,
    Need,
    UnknownModule,
)
from tests.marketplace.framework.modules import module, told


def test_a_module_is_told_as_it_was() -> None:
    parsed = Module.parse(told())
    assert parsed.kinds == {Kind.CALL: Need.REQUIRED, Kind.TOPIC: Need.OPTIONAL}
    assert Module.parse(parsed.to_json()) == parsed
    assert parsed.properties == ("hours", "note", "days")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Parking"),
        ("name", "x" * 41),
        ("title", "two\nlines"),
        ("title", " "),
        ("purpose", ""),
        ("place", 0),
        ("place", True),
        ("schema", []),
        ("template", " "),
        ("kinds", {}),
        ("kinds.other", {"other": "required"}),
        ("kinds.call", {"call": "forbidden"}),
        ("standard", 3),
        ("from_terms", 1),
        ("colour", "red"),
    ],
)
def test_a_module_that_breaks_a_rule_is_refused_with_its_path(field: str, value: Any) -> None:
    with pytest.raises(BadModule) as refused:
        Module.parse(told(**{field.partition(".")[0]: value}))
    assert refused.value.field == field
    assert refused.value.rule


def test_what_the_terms_say_has_no_standard_form_beside() -> None:
    with pytest.raises(BadModule, match="the terms are its parameters"):
        Module.parse(told(from_terms=True))


@pytest.mark.parametrize("value", ["\x00", "\ud800", 2**53, float("nan"), float("inf"), [[1e300]]])
def test_what_readers_would_read_differently_is_refused(value: Any) -> None:
    with pytest.raises(BadModule) as refused:
        Module.parse(told(standard={"hours": value}))
    assert str(refused.value.field).startswith("standard.hours")


def test_what_is_too_deep_is_refused() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    with pytest.raises(BadModule, match="levels"):
        Module.parse(told(standard=deep))


def test_the_version_is_no_part_of_what_a_module_says() -> None:
    assert module(1).digest == module(2).digest
    assert module(1).digest != module(1, title="Standing").digest


def test_the_current_version_is_the_last_and_the_others_are_found() -> None:
    first, second, other = module(1), module(2, title="Standing"), module(1, name="aa", place=5)
    library = Library([second, other, first])
    assert library.current() == [other, second]
    assert library.find("parking") is second
    assert library.find("parking", 1) is first
    for name, version in (("no-such", None), ("parking", 3), ("parking", 0)):
        with pytest.raises(UnknownModule):
            library.find(name, version)


@given(
    st.lists(st.tuples(st.text("ab", min_size=1), st.integers(1, 9), st.text("xyz")), max_size=4)
)
def test_clauses_are_read_as_they_were_kept(many: list[tuple[str, int, str]]) -> None:
    clauses = Clauses(
        tuple(Clause(name, version, name, {"n": version}, text) for name, version, text in many)
    )
    assert Clauses.parse(clauses.body) == clauses
    assert Clauses.parse(clauses.body).digest == clauses.digest
