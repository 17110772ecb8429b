"""A content map makes JSON of JSON, exactly, or says why not; and never takes long over it."""

from __future__ import annotations

import contextlib
import time
from decimal import Decimal
from typing import Any

import jmespath
import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from bridge.maps import LONGEST_EXPRESSION, BadMap, ContentMap, MapFailed

RECORDS = {
    "records": [
        {"id": "a", "kwh": Decimal("19.90"), "tags": ["x", "y"]},
        {"id": "b", "kwh": Decimal("0.10"), "tags": []},
        {"id": "c", "kwh": 3, "tags": ["z"]},
    ]
}


def apply(expression: str, payload: object = RECORDS) -> Any:
    return ContentMap.read("AuthoriseStart.request", expression).apply(payload)


def refused(expression: str) -> BadMap:
    with pytest.raises(BadMap) as error:
        ContentMap.read("AuthoriseStart.request", expression)
    return error.value


def failed(expression: str, payload: object = RECORDS) -> MapFailed:
    with pytest.raises(MapFailed) as error:
        apply(expression, payload)
    return error.value


@pytest.mark.parametrize(
    ("expression", "made"),
    [
        ("records[0].id", "a"),
        ("{I: records[*].id, F: records[0].tags}", {"I": ["a", "b", "c"], "F": ["x", "y"]}),
        ("records[?kwh > `1.5`].id", ["a", "c"]),
        ("records[].tags[]", ["x", "y", "z"]),
        ("records[].tags[] | [?@ != 'y'] | [1:]", ["z"]),
        ("sum(records[*].kwh)", Decimal("23.00")),
        ("avg(records[:2].kwh)", Decimal("10.00")),
        ("max_by(records, &kwh).id", "a"),
        ("sort_by(records, &kwh)[*].id", ["b", "c", "a"]),
        ("records[*].kwh | sort(@)", [Decimal("0.10"), 3, Decimal("19.90")]),
        ("ceil(records[1].kwh)", 1),
        ("type(records[0].kwh)", "number"),
        ("to_number('12.50')", Decimal("12.50")),
        ("to_number('x')", None),
        ("to_number(`true`)", None),
        ("to_number(records[2].kwh)", 3),
        ("to_string(records[0].kwh)", "19.90"),
        ("to_string(records[0].tags)", '["x","y"]'),
        ("to_string('s')", "s"),
        ("join('-', records[*].id)", "a-b-c"),
        ("merge({a: `1`}, {b: `2.5`})", {"a": 1, "b": Decimal("2.5")}),
        ("`{\"a\": [1.5, null]}`", {"a": [Decimal("1.5"), None]}),
        ("not_null(nothing, records[0].id)", "a"),
        ("nothing", None),
        ("map(&id, records)", ["a", "b", "c"]),
    ],
    ids=lambda one: None,
)  # fmt: skip
def test_a_map_makes_what_jmespath_makes_with_exact_numbers(expression: str, made: Any) -> None:
    assert apply(expression) == made
    assert str(apply(expression)) == str(made)


JSON = some.recursive(
    some.none() | some.booleans() | some.integers(-99, 99) | some.sampled_from(["", "a", "b"]),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(some.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=12,
)
EXPRESSIONS = [
    "a", "a.b", "[0]", "[-1]", "[1:]", "[]", "[][]", "*", "*.a", "a[*].b", "[?a == `1`]",
    "[?b]", "{x: a, y: [b, c]}", "[a, b]", "a || b", "a && b", "!a", "a == b", "a != c",
    "a < b", "to_array(a)", "not_null(a, b, c)", "type(@)", "[*] | [0]", "keys(@ || `{}`)",
]  # fmt: skip


@example("a < b", {"a": 0, "b": ""})
@given(some.sampled_from(EXPRESSIONS), JSON)
def test_bounds_change_nothing_of_what_is_made(expression: str, payload: Any) -> None:
    try:
        wanted = jmespath.search(expression, payload)
    except (jmespath.exceptions.JMESPathTypeError, TypeError):
        # Of a number and a text the library itself asks Python which is less.
        failed(expression, payload)
        return
    assert apply(expression, payload) == wanted


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "a JMESPath expression"),
        ("a.[", "a JMESPath expression"),
        ("a b", "character 3"),
        ("a.#", "character 3"),
        ("{a: b", "a JMESPath expression"),
        ("`nojson", "a JMESPath expression"),
        ("upper(a)", "function of JMESPath"),
        ("join(a)", "takes 2"),
        ("abs(a, b)", "takes 1"),
        ("x" * (LONGEST_EXPRESSION + 1), "characters"),
        ("!" * 200 + "a", "levels"),
        ("(" * 3_900 + "a" + ")" * 3_900, "levels"),
    ],
    ids=lambda one: None,
)
def test_what_is_no_expression_is_refused_with_its_place(expression: str, says: str) -> None:
    error = refused(expression)
    assert error.field == "AuthoriseStart.request"
    assert says in str(error.rule)
    assert len(str(error.value)) <= 200


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("abs(records)", "abs() takes number"),
        ("sum(records[*].id)", "sum() takes array-number"),
        ("&id", "JSON"),
        ("[&id]", "JSON"),
        ("sort_by(records, &tags)", "sort_by() takes"),
        ("floor(to_number('1e999'))", "JSON"),
    ],
)
def test_a_map_that_does_not_fit_says_what_it_wants(expression: str, says: str) -> None:
    error = failed(expression)
    assert error.field == "AuthoriseStart.request"
    assert says in str(error.rule)
    assert "19.90" not in str(error)


@pytest.mark.parametrize(
    "expression",
    [
        " | ".join(["[@, @]"] * 50),
        " | ".join(["[@, @][]"] * 50),
        " | ".join(["join(@, [@, @, @])"] * 50),
        " | ".join(["{a: @, b: @}"] * 50),
        "[" + " | ".join(["[@, @]"] * 40) + "] | [0] == [1]",
        " | ".join(["map(&[@, @], [@, @])"] * 30),
        " | ".join(["values({a: @, b: @}) | []"] * 25),
        "to_string(" + " | ".join(["[@, @]"] * 40) + ")",
        "sum([" + ",".join(["to_number('9e999')"] * 9) + "])",
        "floor(@)",
        "[0:][:][::-1]" * 10,
    ],
    ids=range(11),
)
@pytest.mark.parametrize(
    "payload", ["text" * 25_000, [1] * 100_000, Decimal("1e999999")], ids=["text", "list", "number"]
)
def test_no_map_takes_long(expression: str, payload: object) -> None:
    content_map = ContentMap.read("AuthoriseStart.request", expression)
    begun = time.process_time()
    with contextlib.suppress(MapFailed):
        content_map.apply(payload)
    assert time.process_time() - begun < 5


def test_a_map_leaves_what_it_is_given_as_it_was() -> None:
    payload = {"a": [1, 2], "b": {"c": 3}}
    apply("merge(b, {a: a})", payload)
    assert payload == {"a": [1, 2], "b": {"c": 3}}
