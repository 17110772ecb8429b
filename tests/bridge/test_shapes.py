"""Whatever conforms to a schema has a form that XML can carry, and comes back from it the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from bridge import shaping
from bridge.payload import BadPayload
from bridge.shapes import Structure
from tests.bridge.drawn_schemas import SCHEMAS, Drawn
from tests.bridge.interfaces import with_schema


def shape_of(schema: Any, **schemas: Any) -> Structure:
    [operation], _ = shaping.shaped(with_schema(schema, **schemas))
    return operation.request


def payload_of(schema: Any, value: object, **schemas: Any) -> Any:
    told = shape_of(schema, **schemas).to_soap({"body": value})
    assert isinstance(told, dict)
    return told["body"]


@settings(max_examples=300, deadline=None)
@given(drawn=SCHEMAS, data=some.data())
def test_a_value_comes_back_from_its_payload_the_same(drawn: Drawn, data: some.DataObject) -> None:
    schema, values = drawn
    shape = shape_of(schema)
    value = data.draw(values)
    assert shape.to_rest(shape.to_soap({"body": value})) == {"body": value}


def test_the_forms_of_values_are_those_of_the_table() -> None:
    schema = {
        "type": "object",
        "required": ["matrix"],
        "properties": {
            "@id": {"type": "string"},
            "names": {"type": "array", "items": {"type": "string"}},
            "matrix": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
            "perhaps": {"type": ["array", "null"], "items": {"type": "integer"}},
            "either": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            "free": {},
        },
        "additionalProperties": {"type": "array", "items": {"type": "boolean"}},
    }
    value = {
        "@id": "x",
        "names": ["a", "b"],
        "matrix": [[1, 2], []],
        "perhaps": [1],
        "either": 5,
        "free": {"a": [1]},
        "more": [True],
    }
    assert payload_of(schema, value) == {
        "_x0040_id": "x",
        "names": ["a", "b"],
        "matrix": [{"item": [1, 2]}, {"item": []}],
        "perhaps": {"item": [1]},
        "either": {"integer": 5},
        "free": '{"a":[1]}',
        "entry": [{"key": "more", "value": [True]}],
    }


def test_what_the_schema_does_not_tell_of_goes_along() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert payload_of(schema, {"a": "x", "b": 1, "c": None}) == {
        "a": "x",
        "entry": [{"key": "b", "value": "1"}, {"key": "c", "value": "null"}],
    }


@pytest.mark.parametrize("keys", [["a"], ["b"], ["c", "c"]])
def test_a_property_comes_once_and_by_its_own_element(keys: list[str]) -> None:
    schema = {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    entries = [{"key": key, "value": "1"} for key in keys]
    with pytest.raises(BadPayload) as refused:
        shape_of(schema).to_rest({"body": {"a": "x", "entry": entries}})
    assert refused.value.field == "$.body.entry"


def test_what_the_schema_forbids_is_left_out() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "additionalProperties": False,
    }
    assert payload_of(schema, {"a": "x", "b": 1}) == {"a": "x"}


def test_a_whole_number_is_an_integer_however_it_is_written() -> None:
    assert payload_of({"type": "integer"}, Decimal("5.0")) == 5
    assert payload_of({"oneOf": [{"type": "string"}, {"type": "integer"}]}, Decimal("1E2")) == {
        "integer": 100
    }
    # Too long for anybody: the WSDL's reader refuses it.
    assert payload_of({"type": "integer"}, Decimal("1E999999")) == Decimal("1E999999")


def test_null_is_left_out_where_the_schema_has_none() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert payload_of(schema, {"a": None}) == {}


def test_an_array_that_must_be_there_is_there_without_items() -> None:
    schema = {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"type": "array", "items": {"type": "string"}}},
    }
    assert shape_of(schema).to_rest({"body": {}}) == {"body": {"a": []}}


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"a": {}}, "$.body.a"),
        ({"b": 5}, "$.body.b"),
        ({"b": [{"c": 1.5}]}, "$.body.b[0].c"),
        ([], "$.body"),
    ],
)
def test_a_value_of_another_form_is_refused_with_its_place(value: object, field: str) -> None:
    either = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "string"}},
            "b": {"type": "array", "items": {"type": "object", "properties": {"c": either}}},
        },
    }
    with pytest.raises(BadPayload) as refused:
        payload_of(schema, value)
    assert refused.value.field == field


PET = {
    "type": "object",
    "required": ["kind"],
    "properties": {"kind": {"type": "string"}, "name": {"type": "string"}},
    "discriminator": {
        "propertyName": "kind",
        "mapping": {"c": "#/components/schemas/Cat", "d": "Dog"},
    },
}
CAT = {
    "allOf": [
        {"$ref": "#/components/schemas/Pet"},
        {"type": "object", "properties": {"lives": {"type": "integer"}}},
    ]
}
DOG = {
    "allOf": [
        {"$ref": "#/components/schemas/Pet"},
        {"type": "object", "properties": {"barks": {"type": "boolean"}}},
    ]
}


@pytest.mark.parametrize("choice", [None, ["Cat", "Dog"]])
def test_a_discriminator_tells_the_alternative(choice: list[str] | None) -> None:
    schema: Any = {"$ref": "#/components/schemas/Pet"}
    if choice:
        branches = [{"$ref": f"#/components/schemas/{one}"} for one in choice]
        schema = {"oneOf": branches, "discriminator": PET["discriminator"]}
    dog = {"kind": "d", "name": "Rex"}
    assert payload_of(schema, dog, Pet=PET, Cat=CAT, Dog=DOG) == {"Dog": dog}
    cat = {"kind": "c", "lives": 9}
    assert payload_of(schema, cat, Pet=PET, Cat=CAT, Dog=DOG) == {"Cat": cat}


def test_without_a_discriminator_the_alternative_that_fits_best_is_taken() -> None:
    small = {"title": "small", "type": "object", "properties": {"a": {"type": "string"}}}
    large = {
        "title": "large",
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
    }
    schema = {"anyOf": [small, large]}
    assert payload_of(schema, {"a": "x"}) == {"small": {"a": "x"}}
    assert payload_of(schema, {"a": "x", "b": "y"}) == {"large": {"a": "x", "b": "y"}}


def test_a_shape_may_contain_itself() -> None:
    node = {
        "type": "object",
        "properties": {
            "next": {"$ref": "#/components/schemas/Node"},
            "all": {"type": "array", "items": {"$ref": "#/components/schemas/Node"}},
        },
    }
    value: Any = {"next": {"next": {"all": [{}, {"next": {}}]}}}
    schema = {"$ref": "#/components/schemas/Node"}
    assert payload_of(schema, value, Node=node) == value
