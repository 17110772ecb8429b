"""Operations are read out of an OpenAPI document as a patient reader would, and are found fast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bridge.document import BadDocument
from bridge.openapi import RestInterface, RestOperation
from bridge.xml_names import is_name
from tests.bridge.interfaces import LARGE, OURS, document, read, read_file, with_schema


def of_paths(paths: Any, **more: Any) -> RestInterface:
    return read(json.dumps({"openapi": "3.1.0", "paths": paths, **more}))


def refused(text: str, **more: str) -> BadDocument:
    with pytest.raises(BadDocument) as error:
        read(text, **more)
    return error.value


def found(interface: RestInterface, method: str, path: str) -> str | None:
    operation = interface.find(method, path)
    return operation.name if operation else None


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.name)
def test_large_documents_of_partners_are_read_whole(path: Path) -> None:
    interface = read_file(path)
    assert len(interface.operations) >= 12
    for name, operation in interface.operations.items():
        assert operation.name == name
        assert is_name(name)
        filled = operation.path.replace("{operatorID}", "DE*ABC").replace("{", "").replace("}", "")
        assert interface.find(operation.method, filled) is operation
        assert all(one.schema is not None for one in operation.parameters)


def test_an_operation_is_told_of_with_all_that_it_takes_and_gives() -> None:
    operation = read_file(OURS).operations["PullPointData_V1.2"]
    assert (operation.method, operation.path) == (
        "POST",
        "/pointpull/v12/providers/{providerID}/data-records",
    )
    assert [(one.member, one.place, one.required) for one in operation.parameters] == [
        ("providerID", "path", True),
        ("page", "query", False),
        ("size", "query", False),
        ("sort", "query", False),
    ]
    assert operation.body is not None
    assert operation.body.required
    assert operation.body.media_type == "application/json"
    assert list(operation.answers) == ["200"]
    assert operation.summary == "PullPointData_V1.2"


def test_an_operation_without_a_good_name_gets_one_that_stays() -> None:
    answers = {"responses": {"204": {"description": ""}}}
    interface = of_paths(
        {
            "/sites/{site-id}/evses": {"get": answers, "post": {"operationId": "3 ü/x", **answers}},
            "/a": {"get": {"operationId": "same"}, "put": {"operationId": "same"}},
            "/a/{x}:start": {"post": {}},
        }
    )
    assert list(interface.operations) == [
        "getSitesBySiteIdEvses",
        "_3_ü_x",
        "same",
        "putA",
        "postAByXStart",
    ]


def test_two_generated_names_are_never_one() -> None:
    interface = of_paths({"/a-b": {"get": {}}, "/a_b": {"get": {}}, "/a.b": {"get": {}}})
    assert list(interface.operations) == ["getAB", "getAB_2", "getAB_3"]


def test_parameters_that_share_a_name_are_told_apart() -> None:
    parameters = [
        {"name": name, "in": place, "schema": {"type": "string"}}
        for name, place in [("id", "query"), ("id", "header"), ("body", "query"), ("id", "path")]
    ]
    [operation] = of_paths({"/x/{id}": {"get": {"parameters": parameters}}}).operations.values()
    assert [(one.member, one.name, one.place) for one in operation.parameters] == [
        ("id", "id", "path"),
        ("id_query", "id", "query"),
        ("id_header", "id", "header"),
        ("body_query", "body", "query"),
    ]


def test_parameters_of_the_path_are_overridden_by_those_of_the_operation() -> None:
    [operation] = of_paths(
        {
            "/x": {
                "parameters": [{"name": "a", "in": "query"}, {"name": "s", "in": "cookie"}],
                "get": {"parameters": [{"name": "a", "in": "query", "required": True}]},
            }
        }
    ).operations.values()
    assert [(one.name, one.required) for one in operation.parameters] == [("a", True)]


def test_what_documents_get_wrong_and_can_be_understood_is_read() -> None:
    text = """
openapi: 3.0
paths:
  x-note: none
  /sites/{id}:
    get:
      parameters:
        - {name: nowhere, in: path, required: true}
        - {name: Authorization, in: header}
      responses: {200: {content: {'application/json; charset=utf-8': {}}}}
"""
    [operation] = read(text).operations.values()
    assert [one.name for one in operation.parameters] == ["id"]
    answer = operation.answers["200"]
    assert answer is not None
    assert answer.media_type == "application/json"


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (["text/xml", "application/json"], "application/json"),
        (["text/plain", "application/vnd.x+json"], "application/vnd.x+json"),
        (
            ["multipart/form-data", "application/x-www-form-urlencoded"],
            "application/x-www-form-urlencoded",
        ),
        (["*/*"], "application/json"),
        (["image/png"], "image/png"),
    ],
)
def test_of_several_media_types_the_one_that_says_most_is_taken(
    offered: list[str], taken: str
) -> None:
    body: Any = {"content": {one: {"schema": {}} for one in offered}}
    [operation] = of_paths({"/x": {"post": {"requestBody": body}}}).operations.values()
    assert operation.body is not None
    assert operation.body.media_type == taken


def test_an_operation_is_found_by_the_most_particular_path() -> None:
    paths = ["/a/{x}", "/a/b", "/a/{x}/c", "/a/b/{y}", "/a/v{x}", "/z/{x}.{y}", "/z/{x}.{y}.json"]
    interface = of_paths({path: {"get": {"operationId": f"p{n}"}} for n, path in enumerate(paths)})
    wanted = {
        "/a/b": "p1",
        "/a/7": "p0",
        "/a/v7": "p4",
        "/a/v": "p0",
        "/a/7/c": "p2",
        "/a/b/c": "p3",
        "/z/a.b": "p5",
        "/z/a.b.c.json": "p6",
        "/z/ab": None,
        "/a/": None,
        "/a/7/": None,
        "/": None,
    }
    assert {path: found(interface, "GET", path) for path in wanted} == wanted
    assert found(interface, "get", "/a/b") == "p1"
    assert found(interface, "POST", "/a/b") is None


@given(some.lists(some.text("ab-._~%2A", min_size=1, max_size=5), min_size=2, max_size=2))
def test_every_filled_template_leads_to_its_operation(values: list[str]) -> None:
    [operation] = TEMPLATE.operations.values()
    one, other = values
    assert TEMPLATE.find("GET", f"/x/{one}-{other}/y") is operation


TEMPLATE = of_paths({"/x/{a}-{b}/y": {"get": {}}})


def test_a_path_made_to_be_hard_to_match_is_matched_in_one_walk() -> None:
    hard = of_paths({"/{a}-{b}-{c}-{d}-{e}x": {"get": {}}})
    assert found(hard, "GET", "/" + "-" * 8_000) is None


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("[]", "api.yaml", "object"),
        ("", "api.yaml", "object"),
        ("swagger: '2.0'", "api.yaml", "3.1"),
        ("openapi: 3.2.0\npaths: {/x: {get: {}}}", "api.yaml", "3.1"),
        ("openapi: 3.1.0", "api.yaml", "one operation"),
        ("openapi: 3.1.0\npaths: []", "api.yaml#/paths", "object"),
        ("openapi: 3.1.0\npaths: {x: {}}", "api.yaml#/paths/x", "slash"),
        ("openapi: 3.1.0\npaths: {/x: 5}", "api.yaml#/paths/~1x", "object"),
        (
            "openapi: 3.1.0\npaths: {'/x/{a}/{a}': {get: {}}}",
            "api.yaml#/paths/~1x~1{a}~1{a}",
            "name",
        ),
        (
            "openapi: 3.1.0\npaths: {/x: {get: {parameters: [{name: a}]}}}",
            "api.yaml#/paths/~1x/get/parameters/0",
            "`in`",
        ),
        (
            "openapi: 3.1.0\npaths: {/x: {get: {}}}\ncomponents: {schemas: {A: {$ref: '#/B'}}}",
            "api.yaml#/components/schemas/A/$ref",
            "there",
        ),
        (
            "openapi: 3.1.0\npaths: {/x: {$ref: 'https://far.example/x.yaml'}}",
            "api.yaml#/paths/~1x/$ref",
            "nothing is fetched",
        ),
        ("openapi: 3.1.0\npaths: {/x: {get: 1}}", "api.yaml#/paths/~1x/get", "object"),
        (
            "openapi: 3.1.0\npaths: {/x: {get: {parameters: [{name: 'a: b', in: header}]}}}",
            "api.yaml#/paths/~1x/get/parameters/0",
            "HTTP",
        ),
    ],
    ids=lambda one: None,
)
def test_a_broken_document_is_refused_with_place_and_rule(text: str, place: str, says: str) -> None:
    error = refused(text)
    assert error.field == place
    assert says in str(error.rule)


def test_too_many_operations_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.openapi.MOST_OPERATIONS", 1)
    assert "operations" in str(refused("openapi: 3.1.0\npaths: {/x: {get: {}, put: {}}}").rule)


def test_schemas_that_refer_around_to_each_other_are_fine() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Node"}}}
    assert with_schema({"$ref": "#/components/schemas/Node"}, Node=node).find("POST", "/send")


def test_data_that_looks_like_a_reference_is_none() -> None:
    schema = {"type": "object", "example": {"a": {"$ref": "http://x.example"}}}
    assert isinstance(with_schema(schema).operations["Send"], RestOperation)


def test_a_document_of_several_files_is_one() -> None:
    root = """
openapi: 3.1.0
paths:
  /sites: {$ref: 'paths/sites.yaml'}
"""
    sites = "get: {operationId: Sites, parameters: [{$ref: '../common.json#/page'}]}"
    page = '{"page": {"name": "page", "in": "query", "schema": {"type": "integer"}}}'
    interface = RestInterface.read(
        document({"api.yaml": root, "paths/sites.yaml": sites, "common.json": page})
    )
    assert interface.operations["Sites"].parameters[0].name == "page"
