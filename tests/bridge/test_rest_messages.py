"""A payload becomes one request of HTTP that means the same, or is refused with its place."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bridge import rest_messages
from bridge.openapi import RestOperation
from bridge.payload import BadAnswer, BadPayload
from bridge.rest_messages import Answer, Problem, RestRequest
from tests.bridge.interfaces import read

TEXT = some.text(some.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


def operation(path: str = "/x", parameters: Any = (), body: Any = None) -> RestOperation:
    said: dict[str, Any] = {"parameters": list(parameters)}
    if body is not None:
        said["requestBody"] = {"required": True, "content": {body: {"schema": {}}}}
    interface = read(json.dumps({"openapi": "3.1.0", "paths": {path: {"post": said}}}))
    [found] = interface.operations.values()
    return found


def parameter(place: str, **more: Any) -> dict[str, Any]:
    return {"name": "p", "in": place, "schema": {}} | more


def request(one: RestOperation, **payload: object) -> RestRequest:
    return rest_messages.request(one, payload)


def refused(one: RestOperation, **payload: object) -> BadPayload:
    with pytest.raises(BadPayload) as error:
        rest_messages.request(one, payload)
    return error.value


IN_PATH = operation("/a/{p}/b", [parameter("path")])


@given(TEXT.filter(lambda text: text not in (".", "..")))
def test_a_value_in_the_path_stays_in_its_segment(value: str) -> None:
    path = request(IN_PATH, p=value).path
    assert path.isascii()
    [empty, a, told, b] = path.split("/")
    assert (empty, a, unquote(told), b) == ("", "a", value, "b")


@pytest.mark.parametrize("value", [".", "..", ""])
def test_a_value_that_would_lead_elsewhere_is_refused(value: str) -> None:
    assert refused(IN_PATH, p=value).rule


@given(some.lists(TEXT, min_size=1, max_size=3))
def test_values_in_the_query_come_out_as_they_were(values: list[str]) -> None:
    asked = request(operation(parameters=[parameter("query")]), p=values)
    assert parse_qs(asked.query, keep_blank_values=True) == {"p": values}


@pytest.mark.parametrize(
    ("more", "value", "query"),
    [
        ({}, 5, "p=5"),
        ({}, True, "p=true"),
        ({}, Decimal("19.90"), "p=19.90"),
        ({}, Decimal("1E+3"), "p=1000"),
        ({}, {"a": 1, "b": "x y"}, "a=1&b=x%20y"),
        ({"explode": False}, ["a", "b,c"], "p=a,b%2Cc"),
        ({"explode": False}, {"a": 1}, "p=a,1"),
        ({"style": "pipeDelimited", "explode": False}, [1, 2], "p=1%7C2"),
        ({"style": "spaceDelimited", "explode": False}, [1, 2], "p=1%202"),
        ({"style": "deepObject"}, {"a": 1, "b": 2}, "p%5Ba%5D=1&p%5Bb%5D=2"),
        ({"schema": None, "content": {"application/json": {}}}, {"a": [1]}, None),
        ({}, None, ""),
        ({}, [], ""),
    ],
)
def test_a_query_is_spelled_as_the_document_says(more: Any, value: Any, query: str | None) -> None:
    asked = request(operation(parameters=[parameter("query", **more)]), p=value).query
    if query is None:
        [(_, told)] = parse_qsl(asked)
        assert json.loads(told) == value
    else:
        assert asked == query


@pytest.mark.parametrize(
    ("more", "value", "path"),
    [
        ({}, [1, "a,b"], "/a/1,a%2Cb/b"),
        ({"explode": True}, {"k": 1}, "/a/k=1/b"),
        ({"style": "label"}, "x", "/a/.x/b"),
        ({"style": "matrix"}, "x", "/a/;p=x/b"),
    ],
)
def test_a_path_is_spelled_as_the_document_says(more: Any, value: Any, path: str) -> None:
    assert request(operation("/a/{p}/b", [parameter("path", **more)]), p=value).path == path


def test_headers_carry_values_and_nothing_else() -> None:
    one = operation(parameters=[parameter("header", name="X-P")])
    assert request(one, **{"X-P": [1, "b"]}).headers == {"X-P": "1,b"}
    for value in ("a\r\nHost: evil", "a\nb", "\x00", "ü"):
        assert refused(one, **{"X-P": value}).field == "$.X-P"


@pytest.mark.parametrize(
    "name", ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Cookie", "Authorization"]
)
def test_headers_of_the_connection_are_no_parameters(name: str) -> None:
    one = operation(parameters=[parameter("header", name=name)])
    assert request(one, **{name: "x"}).headers == {}


@pytest.mark.parametrize(
    ("media_type", "body", "content"),
    [
        ("application/json", {"a": Decimal("19.90"), "b": None}, b'{"a":19.90,"b":null}'),
        ("application/merge-patch+json", None, b"null"),
        ("application/x-www-form-urlencoded", {"a": [1, "x y"], "b": None}, b"a=1&a=x+y&b="),
        ("text/plain", "ü", b"\xc3\xbc"),
        ("application/xml", "<a/>", b"<a/>"),
        ("image/png", "AP8=", b"\x00\xff"),
    ],
)
def test_a_body_is_written_in_its_media_type(media_type: str, body: object, content: bytes) -> None:
    asked = request(operation(body=media_type), body=body)
    assert (asked.content_type, asked.content) == (media_type, content)


def test_without_a_body_there_is_no_content() -> None:
    asked = request(operation())
    assert (asked.content_type, asked.content) == ("", b"")


@pytest.mark.parametrize(
    ("media_type", "payload", "field"),
    [
        ("application/json", {}, "$.body"),
        ("image/png", {"body": "!"}, "$.body"),
        ("image/png", {"body": 5}, "$.body"),
        ("application/x-www-form-urlencoded", {"body": {"a": {"b": 1}}}, "$.body"),
        ("application/x-www-form-urlencoded", {"body": 5}, "$.body"),
    ],
)
def test_a_body_of_another_form_is_refused(media_type: str, payload: Any, field: str) -> None:
    assert refused(operation(body=media_type), **payload).field == field


def test_what_is_missing_or_of_another_form_is_named() -> None:
    assert refused(IN_PATH).field == "$.p"
    assert refused(IN_PATH, p={"a": {"b": 1}}).field == "$.p"
    with pytest.raises(BadPayload):
        rest_messages.request(IN_PATH, "text")


@pytest.mark.parametrize(
    ("content_type", "content", "payload"),
    [
        ("application/json", b'{"a": 1.50}', {"a": Decimal("1.50")}),
        ("Application/JSON; charset=utf-8", b"null", None),
        ("application/hal+json", b"[]", []),
        ("text/plain", "fünf".encode(), "fünf"),
        ("text/plain; charset=latin-1", "fünf".encode("latin-1"), "fünf"),
        ("text/plain; charset=nonsense", b"a", "a"),
        ("application/xml", b"<a/>", "<a/>"),
        ("image/png", b"\x00\xff", "AP8="),
        ("", b"x", "eA=="),
    ],
)
def test_an_answer_is_read_by_its_media_type(
    content_type: str, content: bytes, payload: object
) -> None:
    assert rest_messages.answer(200, content_type, content) == Answer(payload)


def test_an_answer_without_content_is_empty() -> None:
    assert rest_messages.answer(204, "", b"") == Answer(empty=True)


def test_an_answer_that_is_not_json_although_it_says_so_is_refused() -> None:
    with pytest.raises(BadAnswer) as error:
        rest_messages.answer(200, "application/json", b"<html>")
    assert error.value.field == "body"


def problem(status: int, content_type: str, content: bytes) -> Problem:
    found = rest_messages.answer(status, content_type, content)
    assert isinstance(found, Problem)
    return found


@pytest.mark.parametrize(
    ("status", "content_type", "content", "members", "extension"),
    [
        (404, "application/problem+json", b'{"title": "T", "detail": "D", "x": 1}',
         {"title": "T", "detail": "D", "status": 404}, {"x": 1}),
        (422, "application/json", b'{"message": "M"}',
         {"title": "Unprocessable Entity", "detail": "M", "status": 422}, {"message": "M"}),
        (500, "application/json", b'["a"]',
         {"title": "Internal Server Error", "status": 500}, {"items": ["a"]}),
        (500, "application/json", b"{", {"title": "Internal Server Error", "status": 500}, {}),
        (400, "text/plain", b"bad\n", {"title": "Bad Request", "detail": "bad", "status": 400}, {}),
        (502, "text/html", b"<html>", {"title": "Bad Gateway", "status": 502}, {}),
        (599, "", b"", {"title": "The provider says no", "status": 599}, {}),
    ],
)  # fmt: skip
def test_an_answer_that_says_no_is_a_problem(
    status: int, content_type: str, content: bytes, members: Any, extension: Any
) -> None:
    found = problem(status, content_type, content)
    assert dict(found.members) == members
    assert found.extension == extension
    assert found.client is (status < 500)


def test_a_redirection_is_the_providers_fault() -> None:
    found = problem(302, "text/html", b"")
    assert not found.client
    assert "elsewhere" in str(found.members["title"])
