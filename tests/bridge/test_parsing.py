"""A stranger's YAML or JSON is read as what it says, within bounds, or refused with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some

from bridge import parsing
from bridge.document import BadDocument

JSON = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(10**18), 10**18)
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(some.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff")),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(some.text("abc<~/ ", max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


def refused(content: str | bytes, file: str = "api.yaml") -> BadDocument:
    with pytest.raises(BadDocument) as error:
        parsing.parse(file, content.encode() if isinstance(content, str) else content)
    return error.value


@given(JSON)
def test_json_means_what_json_means(value: Any) -> None:
    assert parsing.parse("a.json", json.dumps(value).encode()) == value


@given(JSON)
def test_yaml_means_what_was_written_in_it(value: Any) -> None:
    # In quotes and with tags: where it leaves a text plain, the library goes by YAML 1.1.
    written = yaml.safe_dump({"is": value}, allow_unicode=True, default_style='"')
    found = parsing.parse("a.yaml", written.encode())
    assert found == {"is": value}


def test_dates_and_words_of_yaml_stay_texts() -> None:
    said = b"on: [2024-01-31, 2024-01-31T10:00:00Z, yes, no, 12:30, 0x1F, 1e3, ~, 'null']\n200: x"
    assert parsing.parse("a.yaml", said) == {
        "on": ["2024-01-31", "2024-01-31T10:00:00Z", "yes", "no", "12:30", 31, 1e3, None, "null"],
        "200": "x",
    }


def test_anchors_and_merges_are_followed() -> None:
    said = b"base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\nsame: *base\n"
    assert parsing.parse("a.yaml", said) == {
        "base": {"a": 1, "b": 2},
        "more": {"a": 1, "b": 3},
        "same": {"a": 1, "b": 2},
    }


def test_aliases_that_multiply_are_refused_before_they_do() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "aliases followed" in str(refused("\n".join(rows)).rule)


def test_merges_that_multiply_are_refused_before_they_do() -> None:
    rows = ["a0: &a0 {x: 1, y: 2}"]
    rows += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    assert "aliases followed" in str(refused("\n".join(rows)).rule)


def test_an_alias_inside_its_own_anchor_is_refused() -> None:
    assert "anchor" in str(refused("a: &a [*a]").rule)


@pytest.mark.parametrize("file", ["a.yaml", "a.json"])
@pytest.mark.parametrize("depth", [300, 900, 100_000])
def test_what_is_too_deep_is_refused(file: str, depth: int) -> None:
    refused("[" * depth + "]" * depth, file)


def test_what_is_too_deep_in_blocks_is_refused() -> None:
    deep = "".join(" " * level + "a:\n" for level in range(300))
    assert "levels" in str(refused(deep).rule)


def test_too_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MOST_NODES", 100)
    listed = json.dumps([[0] * 10] * 10)
    assert "values" in str(refused(listed, "a.json").rule)
    assert "values" in str(refused(f"a: {listed}").rule)


@pytest.mark.parametrize(
    ("content", "file", "place", "says"),
    [
        ("a: 1\nb: {c: 1, c: 2}\n", "api.yaml", "api.yaml#/b", "once"),
        ('{"a": 1, "a": 2}', "api.json", "api.json", "once"),
        ("a: [1, {<<: 3}]", "api.yaml", "api.yaml#/a/1/<<", "merged"),
        ("a: !!python/object:os.system x", "api.yaml", "api.yaml#/a", "JSON"),
        ("? [a]\n: b", "api.yaml", "api.yaml", "name of a member"),
        ("a: 1\n---\nb: 2", "api.yaml", "api.yaml", "one YAML document"),
        ("a: [1", "api.yaml", "api.yaml", "YAML"),
        ("a: \x07", "api.yaml", "api.yaml", "YAML"),
        ('{"a": }', "api.json", "api.json", "JSON"),
        ('{"a": NaN}', "api.json", "api.json", "JSON"),
        ('{"a": ' + "9" * 5000 + "}", "api.json", "api.json", "digits"),
        (b"\xff\x00a", "api.yaml", "api.yaml", "UTF-8"),
        ("{a: 1", "api.yaml", "api.yaml", "JSON"),
        ("*nobody", "api.yaml", "api.yaml", "anchor"),
    ],
    ids=lambda one: None,
)
def test_a_broken_file_is_refused_with_its_place(
    content: str | bytes, file: str, place: str, says: str
) -> None:
    error = refused(content, file)
    assert error.field == place
    assert says in str(error.rule)


def test_flow_style_is_yaml_although_it_begins_like_json() -> None:
    assert parsing.parse("a.yaml", b"{a: [1, 2]}") == {"a": [1, 2]}


def test_an_empty_file_says_nothing() -> None:
    assert parsing.parse("a.yaml", b"") is None
