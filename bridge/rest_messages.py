"""One call of a REST operation: its payload to a request of HTTP, and an answer to a payload.

The payload of a request is an object with a member for each parameter (`Parameter.member`) and
`body`. That of an answer is the JSON of its body; other content is a string, of text or of Base64.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from bridge.openapi import Content, Parameter, RestOperation, is_json
from bridge.payload import BadAnswer, BadPayload, read_json, write_json

_FORM = "application/x-www-form-urlencoded"
_NO_HEADER = re.compile(r"[^\x20-\x7e]")
# RFC 9457's own members, and those that this house adds.
_OWN_MEMBERS = ("type", "title", "status", "detail", "field", "value", "rule", "request_id")
_LONGEST_DETAIL = 2_000


@dataclass(frozen=True, slots=True)
class RestRequest:
    """`path` and `query` are percent-encoded; `headers` are those of the operation's parameters.
    Without a body, the content and its type are empty."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of a 2xx. `empty`: the provider says no more than the status."""

    payload: object = None
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that says no: RFC 9457's members, and all others that came in `extension`."""

    status: int
    members: Mapping[str, object]
    extension: Mapping[str, object]

    @property
    def client(self) -> bool:
        """The caller is at fault; else it is the provider."""
        return 400 <= self.status < 500


# --- requests ---


def request(operation: RestOperation, payload: object) -> RestRequest:
    """Raises BadPayload."""
    if not isinstance(payload, dict):
        raise BadPayload("no object", value=payload, rule="an object of parameters and body")
    path = operation.path
    query: list[str] = []
    headers: dict[str, str] = {}
    for parameter in operation.parameters:
        value = payload.get(parameter.member)
        if value is None:
            if parameter.required:
                rule = f"{parameter.member} is required"
                raise BadPayload("something is missing", value=None, rule=rule).below(
                    parameter.member
                )
            continue
        try:
            if parameter.place == "path":
                path = path.replace("{" + parameter.name + "}", _in_path(parameter, value))
            elif parameter.place == "query":
                query.extend(_in_query(parameter, value))
            else:
                headers[parameter.name] = _in_header(parameter, value)
        except BadPayload as bad:
            raise bad.below(parameter.member) from None
    _check_path(path)
    body = payload.get("body")
    content = operation.body if "body" in payload else None
    if operation.body is not None and operation.body.required and content is None:
        raise BadPayload("something is missing", value=None, rule="body is required").below("body")
    return RestRequest(
        method=operation.method,
        path=path,
        query="&".join(query),
        headers=headers,
        content_type="" if content is None else content.media_type,
        content=b"" if content is None else _encoded(content, body),
    )


def _check_path(path: str) -> None:
    # They would lead to another place of the provider than the operation's.
    if {".", ".."} & set(path.split("/")):
        raise BadPayload("no path", value=path, rule="values that make no segment of dots alone")


def _text(value: object) -> str:
    """A scalar as it stands in a path, a query or a header."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < 400:
        return f"{value:f}"
    if isinstance(value, int | float):
        return str(value)
    raise BadPayload("a value is not of its type", value=value, rule="a string, number or boolean")


def _quoted(value: object) -> str:
    return quote(_text(value), safe="")


def _simple(value: object, told: Callable[[object], str], explode: bool) -> str:
    """Style `simple`: the values of an array or object, with commas between."""
    if isinstance(value, list):
        return ",".join(map(told, value))
    if isinstance(value, dict):
        between = "=" if explode else ","
        return ",".join(f"{told(key)}{between}{told(one)}" for key, one in value.items())
    return told(value)


def _in_path(parameter: Parameter, value: object) -> str:
    if parameter.in_json:
        return quote(write_json(value), safe="")
    text = _simple(value, _quoted, parameter.explode)
    if not text:
        raise BadPayload(
            "no value", value=value, rule="a value that is not empty: it is in the path"
        )
    if parameter.style == "label":
        return "." + text
    return f";{quote(parameter.name, safe='')}={text}" if parameter.style == "matrix" else text


_SEPARATORS = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}


def _in_query(parameter: Parameter, value: object) -> Iterator[str]:
    name = quote(parameter.name, safe="")
    if parameter.in_json:
        yield f"{name}={quote(write_json(value), safe='')}"
    elif isinstance(value, dict):
        if parameter.style == "deepObject":
            yield from (f"{name}%5B{_quoted(key)}%5D={_quoted(one)}" for key, one in value.items())
        elif parameter.explode:
            yield from (f"{_quoted(key)}={_quoted(one)}" for key, one in value.items())
        else:
            yield f"{name}={_simple(value, _quoted, False)}"
    elif isinstance(value, list) and not parameter.explode:
        yield f"{name}=" + _SEPARATORS.get(parameter.style, ",").join(map(_quoted, value))
    else:
        several = value if isinstance(value, list) else [value]
        yield from (f"{name}={_quoted(one)}" for one in several)


def _in_header(parameter: Parameter, value: object) -> str:
    if parameter.in_json:
        return write_json(value).decode("ascii", "backslashreplace")
    text = _simple(value, _text, parameter.explode)
    if _NO_HEADER.search(text):
        raise BadPayload("no header", value=text, rule="printable characters of ASCII")
    return text


def _encoded(content: Content, body: object) -> bytes:
    try:
        if is_json(content.media_type):
            return write_json(body)
        if content.media_type == _FORM:
            return urlencode(list(_fields(body))).encode()
        if not isinstance(body, str):
            raise BadPayload("a value is not of its type", value=body, rule="a string")
        if _is_text(content.media_type):
            return body.encode()
        return _unpacked(body)
    except BadPayload as bad:
        raise bad.below("body") from None


def _fields(body: object) -> Iterator[tuple[str, str]]:
    if not isinstance(body, dict):
        raise BadPayload("a value is not of its type", value=body, rule="an object of fields")
    for name, value in body.items():
        for one in value if isinstance(value, list) else [value]:
            yield name, "" if one is None else _text(one)


def _unpacked(body: str) -> bytes:
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except ValueError:
        raise BadPayload("no content", value=body, rule="Base64") from None


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type.endswith(("/xml", "+xml"))


# --- answers ---


def answer(status: int, content_type: str, content: bytes) -> Answer | Problem:
    """What a provider says. Raises BadAnswer."""
    media_type, _, parameters = content_type.partition(";")
    media_type = media_type.strip().lower()
    if status >= 300:
        return problem(status, _said(media_type, content))
    if not content:
        return Answer(empty=True)
    if is_json(media_type):
        return Answer(_json(content, content_type))
    if _is_text(media_type):
        return Answer(_decoded(content, parameters))
    return Answer(base64.b64encode(content).decode())


def _json(content: bytes, content_type: str) -> object:
    try:
        return read_json(content)
    except BadPayload as bad:
        raise BadAnswer(
            f"the provider's answer is not what it says: {bad.detail}",
            field="body",
            value=content_type[:100],
            rule="JSON in UTF-8",
        ) from None


def _decoded(content: bytes, parameters: str) -> str:
    found = re.search(r"charset=\"?([\w-]+)", parameters, re.IGNORECASE)
    try:
        return content.decode(found[1] if found else "utf-8", "replace")
    except LookupError:
        return content.decode("utf-8", "replace")


def _said(media_type: str, content: bytes) -> object:
    """What an answer that says no has to tell: an object, or a line of text."""
    if is_json(media_type):
        try:
            return read_json(content)
        except BadPayload:
            return None
    if media_type == "text/plain":
        return content[:_LONGEST_DETAIL].decode("utf-8", "replace").strip()
    # A page for people, of a proxy most often: nothing that a program should be told.
    return None


def problem(status: int, said: object) -> Problem:
    """A problem of what was said, by a provider or by this house: RFC 9457's members if they are
    there, and a title in any case."""
    told: Mapping[str, Any] = said if isinstance(said, dict) else {}
    members: dict[str, object] = {key: told[key] for key in _OWN_MEMBERS if key in told}
    members["status"] = status
    members.setdefault("title", _title(status))
    if isinstance(said, str) and said:
        members["detail"] = said[:_LONGEST_DETAIL]
    if "detail" not in members:
        found = next((told[key] for key in ("message", "error_description") if key in told), None)
        if isinstance(found, str):
            members["detail"] = found
    extension = {key: value for key, value in told.items() if key not in _OWN_MEMBERS}
    if isinstance(said, list):
        extension = {"items": said}
    return Problem(status, members, extension)


def _title(status: int) -> str:
    if 300 <= status < 400:
        return "The provider leads elsewhere, where no call is sent"
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "The provider says no"
