"""Schemas as partners write them, each with values that conform to it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as some

Drawn = tuple[dict[str, Any], some.SearchStrategy[Any]]

NAMES = [
    "id", "EvseID", "B-c", "$price", "3phase", "größe", "entry", "item", "key", "value",
    "body", "_x0041_", "a b", "@type", "type",
]  # fmt: skip
TEXT = some.text(some.characters(exclude_categories=["Cs", "Cc"]), max_size=8) | some.sampled_from(
    [" a ", "\r\n", "<&>", "]]>", ""]
)
NUMBER = some.builds(
    lambda digits, places: Decimal(digits).scaleb(-places),
    some.integers(-(10**9), 10**9),
    some.integers(1, 6),
)
ANYTHING = some.recursive(
    some.none() | some.booleans() | some.integers(-99, 99) | TEXT,
    lambda inner: some.lists(inner, max_size=2) | some.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
SCALARS: list[Drawn] = [
    ({"type": "string"}, TEXT),
    ({"type": "integer"}, some.integers(-(10**20), 10**20)),
    ({"type": "integer", "format": "int32"}, some.integers(-(2**31), 2**31 - 1)),
    ({"type": "integer", "format": "int64"}, some.integers(-(2**63), 2**63 - 1)),
    ({"type": "number"}, NUMBER),
    ({"type": "boolean"}, some.booleans()),
    ({"type": "string", "enum": ["A b", "c", "<"]}, some.sampled_from(["A b", "c", "<"])),
    ({"type": "string", "format": "date-time"}, some.just("2026-03-01T12:00:00.250+01:00")),
    ({"type": "string", "format": "date"}, some.just("2026-03-01")),
    ({"type": "string", "format": "byte"}, some.sampled_from(["", "YWJj"])),
    ({"type": "string", "format": "uuid"}, some.uuids().map(str)),
    ({"type": ["string", "null"]}, some.none() | TEXT),
    ({"type": "number", "nullable": True}, some.none() | NUMBER),
    ({}, ANYTHING),
    ({"type": "object"}, some.dictionaries(TEXT, ANYTHING, max_size=2)),
    ({"const": "fixed"}, some.just("fixed")),
    ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, TEXT | some.integers(-9, 9)),
]


@some.composite
def objects(draw: some.DrawFn, inner: some.SearchStrategy[Drawn]) -> Drawn:
    names = draw(some.lists(some.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    drawn = {name: draw(inner) for name in names}
    required = draw(some.sets(some.sampled_from(names)))
    properties = {name: schema for name, (schema, _) in drawn.items()}
    values = some.fixed_dictionaries(
        {name: drawn[name][1] for name in names if name in required},
        optional={name: _some_of(*drawn[name]) for name in names if name not in required},
    )
    schema = {"type": "object", "properties": properties, "required": sorted(required)}
    told = draw(some.sampled_from(["closed", "open", "more"]))
    if told == "closed":
        return schema | {"additionalProperties": False}, values
    more, value = draw(inner) if told == "more" else ({}, ANYTHING)
    entries = some.dictionaries(TEXT.filter(lambda key: key not in NAMES), value, max_size=2)
    extended = some.builds(lambda known, others: known | others, values, entries)
    return schema | ({"additionalProperties": more} if told == "more" else {}), extended


def _some_of(schema: dict[str, Any], values: some.SearchStrategy[Any]) -> some.SearchStrategy[Any]:
    """XML does not tell an array without items from none, where an object may have none."""
    return values.filter(lambda one: one != []) if schema.get("type") == "array" else values


@some.composite
def arrays(draw: some.DrawFn, inner: some.SearchStrategy[Drawn]) -> Drawn:
    schema, value = draw(inner)
    if draw(some.booleans()):
        return {"type": "array", "items": schema}, some.lists(value, max_size=3)
    nullable = {"type": ["array", "null"], "items": schema}
    return nullable, some.none() | some.lists(value, max_size=3)


@some.composite
def choices(draw: some.DrawFn, inner: some.SearchStrategy[Drawn]) -> Drawn:
    kinds = draw(some.lists(some.sampled_from("abc"), min_size=2, max_size=3, unique=True))
    drawn = {kind: draw(inner) for kind in kinds}
    branches = [
        {
            "type": "object",
            "properties": {"kind": {"enum": [kind]}, "of": drawn[kind][0]},
            "required": ["kind", "of"],
        }
        for kind in kinds
    ]
    values = [
        some.fixed_dictionaries({"kind": some.just(kind), "of": drawn[kind][1]}) for kind in kinds
    ]
    keyword = draw(some.sampled_from(["oneOf", "anyOf"]))
    return {keyword: branches}, some.one_of(values)


@some.composite
def merged(draw: some.DrawFn, inner: some.SearchStrategy[Drawn]) -> Drawn:
    (one, first), (other, second) = draw(inner), draw(inner)
    parts = [
        {"type": "object", "properties": {"one": one}, "required": ["one"]},
        {"properties": {"other": other}, "required": ["other"]},
    ]
    return {"allOf": parts}, some.fixed_dictionaries({"one": first, "other": second})


SCHEMAS: some.SearchStrategy[Drawn] = some.recursive(
    some.sampled_from(SCALARS),
    lambda inner: objects(inner) | arrays(inner) | choices(inner) | merged(inner),
    max_leaves=8,
)
