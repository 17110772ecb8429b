"""A service's face in SOAP by a WSDL that was written by hand, where one generated from an OpenAPI
document would not be what its callers know.

For each operation of the WSDL two functions say how its payload is asked for in REST, and how the
answer is told in SOAP's words. The codec is that of every other WSDL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from bridge.document import Document, Kind
from bridge.payload import BadAnswer, BadPayload, UnknownOperation, read_json, write_json
from bridge.wsdl import SoapInterface

JSON = "application/json"
_PROBLEM = ("type", "title", "status", "detail", "request_id", "field", "value", "rule")
_ADDRESS = re.compile(rb'(<soap(?:12)?:address location=")[^"]*(")')


@dataclass(frozen=True, slots=True)
class Asked:
    """A call in REST. `path` is percent-encoded; `query` and `body` are not yet."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """How an operation is asked, and its answer told. `name`: in contracts, as in REST."""

    name: str
    ask: Callable[[Any], Asked]
    tell: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Request:
    """A question in REST, ready to be sent."""

    method: str
    path: str
    query: str
    content_type: str
    content: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Told:
    """An envelope for the caller. `fault` None: it is no fault; else whether the caller is to
    blame."""

    fault: bool | None
    content: bytes


class WrittenFace:
    """Satisfies what the gateway asks of a face. Nothing of it waits."""

    def __init__(self, wsdl: bytes, spoken: Mapping[str, Spoken]) -> None:
        """`spoken` by the WSDL's names of operations: all of them, and no others."""
        self._wsdl = wsdl
        self._interface = SoapInterface.read(Document(Kind.WSDL, "wsdl", {"wsdl": wsdl}))
        assert self._interface.operations.keys() == spoken.keys()
        self._spoken = spoken
        self._by_tag = {
            operation.request.tag: name for name, operation in self._interface.operations.items()
        }

    def operation(self, tag: str | None, action: str | None) -> tuple[str, str | None]:
        """The name that contracts know. Raises UnknownOperation."""
        name = self._by_tag.get(tag)
        if name is None:
            raise UnknownOperation(
                "the service has no operation of this element",
                field="body",
                value=str(tag)[:200],
                rule="one of: " + ", ".join(sorted(map(str, self._by_tag))),
            )
        return self._spoken[name].name, None

    def request(self, content: bytes, action: str | None) -> Request:
        """Raises BadEnvelope, BadPayload, UnknownOperation."""
        question = self._interface.question(content, action)
        asked = self._spoken[question.operation].ask(question.payload)
        if "" in asked.path.split("/")[1:]:
            # It would lead to another place than the operation's.
            raise BadPayload("a name is empty", value="", rule="at least one character")
        body = b"" if asked.body is None else write_json(asked.body)
        return Request(
            asked.method, asked.path, urlencode(asked.query), JSON if body else "", body, {}
        )

    def answer(
        self, operation: str, version: str, status: int, content_type: str, content: bytes
    ) -> Told:
        """Raises BadAnswer. `operation`: by the name that contracts know."""
        told = _read(content)
        if not 200 <= status < 300:
            return self._refused(version, status, told)
        name = next(name for name, spoken in self._spoken.items() if spoken.name == operation)
        return Told(None, self._interface.envelope(name, self._spoken[name].tell(told), version))

    def _refused(self, version: str, status: int, told: object) -> Told:
        members = told if isinstance(told, dict) else {}
        detail = {name: members[name] for name in _PROBLEM if members.get(name) is not None}
        client = status < 500
        content = self._interface.fault(
            version,
            "Client" if client else "Server",
            str(members.get("detail", f"the service answered {status}")),
            {"problem": detail},
        )
        return Told(client, content)

    def wsdl(self, address: str) -> bytes:
        """The interface, to be called at this address."""
        return _ADDRESS.sub(
            rb"\g<1>" + address.encode().replace(b"\\", b"") + rb"\g<2>", self._wsdl
        )


def _read(content: bytes) -> object:
    try:
        return read_json(content)
    except BadPayload as error:
        raise BadAnswer(f"the service answered {error.detail}") from None


_UPPER = re.compile(r"([A-Z])")
_LOWER = re.compile(r"_([a-z0-9])")


def snake(payload: Any, names: Mapping[str, str]) -> Any:
    """`evseId` as `evse_id`, at any depth; what `names` knows (`service`), as it says."""
    if isinstance(payload, dict):
        return {
            names.get(key) or _UPPER.sub(r"_\1", key).lower(): snake(value, names)
            for key, value in payload.items()
        }
    if isinstance(payload, list):
        return [snake(one, names) for one in payload]
    return payload


def camel(told: Any, names: Mapping[str, str]) -> Any:
    """The inverse of `snake`; what is null is left out, as XML does."""
    if isinstance(told, dict):
        return {
            names.get(key) or _LOWER.sub(lambda found: found[1].upper(), key): camel(value, names)
            for key, value in told.items()
            if value is not None
        }
    if isinstance(told, list):
        return [camel(one, names) for one in told]
    return told


def inverse(names: Mapping[str, str]) -> dict[str, str]:
    """`names` the other way round, for `camel`."""
    return {value: key for key, value in names.items()}
