"""Operations have shapes for what they take and give, with names that people know again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from bridge import parsing, shaping
from bridge.document import BadDocument
from bridge.shapes import Alternatives, Listing, Scalar, Structure
from bridge.shaping import Shaped
from tests.bridge.interfaces import OURS, read, read_file, with_schema


def shaped_of(answers: Any) -> Shaped:
    said = {"openapi": "3.1.0", "paths": {"/x": {"post": {"responses": answers}}}}
    [found], _ = shaping.shaped(read(json.dumps(said)))
    return found


def answer(kind: str = "application/json", **schema: Any) -> dict[str, Any]:
    return {"description": "", "content": {kind: {"schema": schema or {"type": "string"}}}}


def test_types_have_the_names_of_their_schemas() -> None:
    _, types = shaping.shaped(read_file(OURS))
    names = [one.name for one in types]
    assert len(names) == len(set(names))
    assert {"PointDataRecord", "Acknowledgement", "ActionType", "Pool"} <= set(names)
    # Each is there once, however often it is referred to.
    assert not [one for one in names if str(one).endswith("_2")]


def test_alternatives_are_named_by_their_schemas() -> None:
    _, types = shaping.shaped(read_file(OURS))
    [notification] = [one for one in types if one.name == "ChargingNotification_V1.1_body"]
    assert isinstance(notification, Alternatives)
    assert [one.element for one in notification.members] == [
        "NotificationStart", "NotificationProgress", "NotificationEnd", "NotificationError",
    ]  # fmt: skip
    assert list(notification.mapping)[:4] == ["Start", "Progress", "End", "Error"]


@pytest.mark.parametrize(
    ("schema", "xsd"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "date-time"}, "dateTime"),
        ({"type": "string", "format": "date"}, "date"),
        ({"type": "string", "format": "byte"}, "base64Binary"),
        ({"type": "string", "contentEncoding": "base64"}, "base64Binary"),
        ({"type": "string", "format": "uri"}, "anyURI"),
        ({"type": "string", "format": "of our own"}, "string"),
        ({"type": "string", "format": "time"}, "string"),
        ({"type": "integer"}, "integer"),
        ({"type": "integer", "format": "int32"}, "int"),
        ({"type": "integer", "format": "int64"}, "long"),
        ({"type": "number"}, "decimal"),
        ({"type": "number", "format": "float"}, "float"),
        ({"type": "number", "format": "double"}, "double"),
        ({"type": "boolean"}, "boolean"),
    ],
)
def test_formats_have_types_of_xsd(schema: Any, xsd: str) -> None:
    [operation], _ = shaping.shaped(with_schema(schema))
    shape = operation.request.members[0].shape
    assert isinstance(shape, Scalar)
    assert shape.xsd == xsd


def test_what_is_read_only_need_not_be_sent() -> None:
    schema = {
        "type": "object",
        "required": ["id", "name"],
        "properties": {"id": {"type": "string", "readOnly": True}, "name": {"type": "string"}},
    }
    _, [made, _] = shaping.shaped(with_schema(schema))
    assert isinstance(made, Structure)
    assert [(one.name, one.required) for one in made.members] == [("id", False), ("name", True)]


def test_answers_that_look_the_same_share_a_member() -> None:
    found = shaped_of({"200": answer(), "201": answer(type="integer"), "404": answer()})
    assert [one.name for one in found.answer.members] == ["body", "body201"]
    assert [one.required for one in found.answer.members] == [False, False]
    assert found.body_of(200) is found.answer.members[0]
    assert found.body_of(201) is found.answer.members[1]
    assert found.body_of(202) is None


@pytest.mark.parametrize("said", ["200", "2XX", "2xx", "default"])
def test_the_one_answer_of_an_operation_is_required(said: str) -> None:
    found = shaped_of({said: answer()})
    assert [(one.name, one.required) for one in found.answer.members] == [("body", True)]
    assert found.body_of(200) is found.answer.members[0]


def test_an_answer_without_a_body_has_no_member() -> None:
    assert shaped_of({"204": {"description": ""}}).answer.members == ()


@pytest.mark.parametrize(
    ("kind", "xsd"),
    [("text/csv", "string"), ("application/xml", "string"), ("image/png", "base64Binary")],
)
def test_what_is_not_json_is_text_or_bytes(kind: str, xsd: str) -> None:
    shape = shaped_of({"200": answer(kind)}).answer.members[0].shape
    assert isinstance(shape, Scalar)
    assert shape.xsd == xsd


def test_what_only_browsers_write_is_not_for_soap() -> None:
    said: Any = {"content": {"multipart/form-data": {"schema": {"type": "object"}}}}
    paths = {"/x": {"post": {"requestBody": said}, "get": {}, "head": {}, "options": {}}}
    found, _ = shaping.shaped(read(json.dumps({"openapi": "3.1.0", "paths": paths})))
    assert [one.operation.method for one in found] == ["GET"]


def test_names_that_are_one_in_xml_are_told_apart() -> None:
    properties = {"a": {"type": "string"}, "entry": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "additionalProperties": {}}
    _, [made, _] = shaping.shaped(with_schema(schema))
    assert isinstance(made, Structure)
    assert made.entry_element == "entry_2"


def test_an_array_of_itself_is_a_type() -> None:
    schemas: dict[str, Any] = {
        "Tree": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}
    }
    _, types = shaping.shaped(with_schema({"$ref": "#/components/schemas/Tree"}, **schemas))
    [tree] = types
    assert isinstance(tree, Listing)
    assert tree.item.shape is tree


def test_a_long_chain_of_types_is_no_deep_one() -> None:
    schemas: dict[str, Any] = {
        f"A{n}": {"properties": {"next": {"$ref": f"#/components/schemas/A{n + 1}"}}}
        for n in range(1_500)
    }
    schemas["A1500"] = {"type": "string"}
    _, types = shaping.shaped(with_schema({"$ref": "#/components/schemas/A0"}, **schemas))
    assert len(types) == 1_500


def test_choices_that_multiply_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shaping, "MOST_TYPES", 20)
    deep: Any = {"type": "string"}
    for level in range(30):
        deep = {"type": "object", "properties": {f"p{level}": deep}}
    with pytest.raises(BadDocument) as refused:
        shaping.shaped(with_schema(deep))
    assert "types" in str(refused.value.rule)


@settings(max_examples=60, deadline=None)
@given(some.data())
def test_a_document_with_nonsense_anywhere_in_it_is_read_or_refused(data: some.DataObject) -> None:
    said: Any = parsing.parse(OURS.name, OURS.read_bytes())
    node = said
    nonsense: Any = data.draw(NONSENSE)
    while True:
        names = list(node) if isinstance(node, dict) else list(range(len(node)))
        name = data.draw(some.sampled_from(names))
        if not node[name] or not isinstance(node[name], dict | list) or data.draw(STOP):
            node[name] = nonsense
            break
        node = node[name]
    refused = refusal_of(json.dumps(said))
    if refused is not None:
        assert refused.rule
        assert str(refused.field).startswith("api.yaml")


def refusal_of(text: str) -> BadDocument | None:
    try:
        shaping.shaped(read(text))
    except BadDocument as refused:
        return refused
    return None


STOP = some.integers(0, 4).map(lambda number: number == 0)
NONSENSE: Any = some.sampled_from(
    [None, True, 5, -1.5, "", "x", "#/components/schemas/Pool", [], [[]], [None], {}, {"a": 1},
     {"$ref": "#/components/schemas/Pool"}, {"$ref": 5}, {"type": "array"}, {"type": []},
     {"allOf": [{}]}, {"oneOf": []}, {"oneOf": [{}, {}]}, {"enum": []}, {"enum": [[], {}]}]
)  # fmt: skip
