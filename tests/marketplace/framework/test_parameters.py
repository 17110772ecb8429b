"""Parameters are held to their module's schema."""

from __future__ import annotations

from typing import Any

import pytest

from marketplace.framework import parameters
from marketplace.framework.model import BadClause, BadModule
from tests.marketplace.framework.modules import module, told


def schema(**other: Any) -> dict[str, Any]:
    whole: dict[str, Any] = told()["schema"]
    return whole | other


def test_what_the_schema_takes_is_taken() -> None:
    parameters.check(module(), {"hours": 3, "days": ["Monday"]}, "clauses.parking")


@pytest.mark.parametrize(
    ("told", "field", "value"),
    [
        ({}, "clauses.parking.hours", None),
        ({"hours": 49}, "clauses.parking.hours", "49"),
        ({"hours": "3"}, "clauses.parking.hours", "3"),
        ({"hours": 3, "colour": "red"}, "clauses.parking.colour", None),
        ({"hours": 3, "days": ["Monday", 2]}, "clauses.parking.days.1", "2"),
        ({"hours": 3, "note": "\x00"}, "clauses.parking.note", None),
        ({"hours": 2**60}, "clauses.parking.hours", None),
        ({"hours": 3, "days": ["x" * 9_000] * 4}, "clauses.parking", None),
    ],
)
def test_what_breaks_the_schema_is_told_with_path_value_and_rule(
    told: dict[str, Any], field: str, value: str | None
) -> None:
    with pytest.raises(BadClause) as refused:
        parameters.check(module(), told, "clauses.parking")
    assert (refused.value.field, refused.value.value) == (field, value)
    assert refused.value.rule


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (schema(type="array"), "schema"),
        (schema(additionalProperties=True), "schema"),
        (schema(properties=[]), "schema.properties"),
        (schema(properties={"a-b": {}}), "schema.properties.a-b"),
        (schema(properties={"version": {}}), "schema.properties.version"),
        (schema(required=3), "schema"),
        (schema(properties={"a": {"type": "no-such"}}), "schema"),
        (schema(properties={"a": {"pattern": "("}}), "schema"),
        (schema(properties={"a": {"$ref": "http://127.0.0.1:9/x"}}), "schema.properties.a.$ref"),
        (schema(properties={"a": {"$ref": "#/$defs/none"}}), "schema"),
        (schema(**{"$id": "http://127.0.0.1:9/x"}), "schema.$id"),
    ],
)
def test_a_schema_that_is_none_or_looks_elsewhere_is_not_published(
    broken: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadModule) as refused:
        parameters.check_schema(module(schema=broken))
    assert refused.value.field == field


def test_a_schema_may_refer_to_itself() -> None:
    own = schema(**{"$defs": {"h": {"maximum": 2}}}, properties={"hours": {"$ref": "#/$defs/h"}})
    one = module(schema=own)
    parameters.check_schema(one)
    with pytest.raises(BadClause):
        parameters.check(one, {"hours": 3}, "clauses.parking")


def test_a_standard_form_that_breaks_its_own_schema_is_not_published() -> None:
    with pytest.raises(BadModule) as refused:
        parameters.check_standard(module(standard={"hours": 0}))
    assert refused.value.field == "standard.hours"
    with pytest.raises(BadModule) as refused:
        parameters.check_standard(module(template="{{ note }}"))
    assert refused.value.field == "standard"
