"""Schemas are made flat as those meant them who wrote them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.document import BadDocument
from bridge.references import References
from bridge.schema_reading import Flat, Schemas
from tests.bridge.interfaces import document


def flat(schema: Any, **schemas: Any) -> Flat:
    said = {"is": schema, "components": {"schemas": schemas}}
    references = References(document({"a.json": json.dumps(said)}))
    found = Schemas(references)
    return found.flat(found.spot((references.root["is"],)))


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


@pytest.mark.parametrize(
    ("schema", "kind", "nullable"),
    [
        ({"type": "string"}, "string", False),
        ({"type": ["null", "integer"]}, "integer", True),
        ({"type": "number", "nullable": True}, "number", True),
        ({"properties": {"a": {}}}, "object", False),
        ({"additionalProperties": True}, "object", False),
        ({"items": {"type": "string"}}, "array", False),
        ({"enum": ["a", "b", None]}, "string", True),
        ({"const": 5}, "integer", False),
        ({"enum": [1, "a"]}, None, False),
        ({"format": "date-time"}, "string", False),
        ({"oneOf": [{"type": "null"}, {"type": "string"}]}, "string", True),
        ({"anyOf": [{"type": "string", "nullable": True}]}, "string", True),
        ({"allOf": [{"type": "number"}, {"type": "integer"}]}, "integer", False),
        ({"allOf": [{"type": "integer"}, {"type": "number"}]}, "integer", False),
        ({}, None, False),
        (True, None, False),
    ],
)
def test_the_type_of_values_is_what_is_said_or_can_be_seen(
    schema: Any, kind: str | None, nullable: bool
) -> None:
    found = flat(schema)
    assert (found.type, found.nullable) == (kind, nullable)


def test_all_of_is_put_together() -> None:
    base = {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {}, "both": {"type": "string"}},
    }
    more = {"required": ["b"], "properties": {"b": {}, "both": {"maxLength": 5}}}
    found = flat({"allOf": [ref("Base"), more], "description": "D"}, Base=base)
    assert list(found.properties) == ["a", "both", "b"]
    assert found.required == {"a", "b"}
    assert len(found.properties["both"]) == 2
    assert found.description == "D"


def test_what_stands_beside_a_reference_counts() -> None:
    assert flat(ref("A") | {"nullable": True}, A={"type": "string"}).nullable


def test_a_schema_that_is_put_together_from_itself_adds_nothing() -> None:
    node = {"allOf": [ref("Node"), {"properties": {"a": {}}}]}
    assert list(flat(ref("Node"), Node=node).properties) == ["a"]


def test_a_long_chain_of_schemas_is_followed() -> None:
    schemas: dict[str, Any] = {
        f"A{n}": {"allOf": [ref(f"A{n + 1}")], "properties": {f"p{n}": {}}} for n in range(900)
    }
    assert len(flat(ref("A0"), A900={}, **schemas).properties) == 900


def test_all_of_that_multiplies_is_looked_at_once() -> None:
    schemas: dict[str, Any] = {f"A{n}": {"allOf": [ref(f"A{n + 1}")] * 9} for n in range(40)}
    assert flat(ref("A0"), A40={"type": "string"}, **schemas).type == "string"


def test_a_tuple_of_older_schemas_has_items_of_any_form() -> None:
    found = flat({"type": "array", "items": [{"type": "string"}, {"type": "integer"}]})
    assert (found.type, found.items) == ("array", ())


def test_choices_that_only_require_are_none() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {}, "b": {}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    }
    found = flat(schema)
    assert found.choice is None
    assert list(found.properties) == ["a", "b"]


def test_a_second_choice_lets_all_in() -> None:
    def branch(name: str) -> dict[str, Any]:
        return {"type": "object", "properties": {name: {}}, "required": [name]}

    schema = {"oneOf": [branch("a"), branch("b")], "anyOf": [branch("c"), branch("d")]}
    found = flat(schema)
    assert found.choice is not None
    assert len(found.choice.alternatives) == 2
    assert list(found.properties) == ["c", "d"]
    assert found.required == set()


def test_a_choice_looked_at_from_an_alternative_is_made() -> None:
    base = {"type": "object", "oneOf": [ref("A"), ref("B")], "properties": {"x": {}}}
    inner = {"allOf": [ref("Base"), {"properties": {"a": {}}}]}
    found = flat(ref("A"), Base=base, A=inner, B=inner)
    assert found.choice is None
    assert set(found.properties) == {"x", "a"}


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "text"}, "a.json#/is"),
        ({"type": ["string", "money"]}, "a.json#/is"),
        ({"type": [["string"]]}, "a.json#/is"),
        ({"type": 5}, "a.json#/is"),
        ({"properties": []}, "a.json#/is/properties"),
        ({"allOf": {}}, "a.json#/is/allOf"),
        ("string", "a.json#/is"),
        ({"oneOf": "x"}, "a.json#/is/oneOf"),
    ],
)
def test_what_is_no_schema_is_refused_with_its_place(schema: Any, place: str) -> None:
    with pytest.raises(BadDocument) as refused:
        flat(schema)
    assert refused.value.field == place
