"""What every HTTP face shares: who calls, bodies with a limit, hot routes, calls in-process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

import msgspec
from pydantic import AfterValidator, AwareDatetime
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message

from kit import actor
from kit.encoding import encode_json
from roaming.party import PartyId
from roaming.refusal import Malformed, NotYours, TooLarge, Unauthenticated

Shape = TypeVar("Shape")

CALLER = "gridroam.caller"
# msgspec lets bad UTF-8 and too deep a nesting through as Python's own errors.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class RoleMissing(NotYours):
    """The caller is known and does not hold the role that this call is for."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, under which contract. Set once, by the door; trusted behind it.

    `person`: whose log-in it is, where it is no program of the party's, and its duties there.
    """

    party: PartyId
    roles: frozenset[str]
    client_id: str
    contract_id: str | None
    request_id: str
    person: str | None = None
    duties: frozenset[str] = frozenset()

    @property
    def actor(self) -> str:
        """As the log names whoever acts."""
        return actor.client(self.client_id) if self.person is None else actor.person(self.person)

    def must_be(self, *roles: str) -> None:
        """Refuse a caller that holds none of `roles`."""
        if self.roles.isdisjoint(roles):
            raise RoleMissing(
                f"{self.party} holds no role for this call",
                field="role",
                value=", ".join(sorted(self.roles)),
                rule=f"one of: {', '.join(roles)}",
            )


def _in_calendar(at: datetime) -> datetime:
    """The instant in UTC; refused where the calendar has no such day there."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("an instant from the year 1 to 9999 in UTC") from None


Instant = Annotated[AwareDatetime, AfterValidator(_in_calendar)]
"""A moment with its offset, as a caller tells it."""


def caller_of(request: Request) -> Caller:
    """The caller of this request; Unauthenticated where no door has let it in."""
    caller = request.scope.get(CALLER)
    if not isinstance(caller, Caller):
        raise Unauthenticated("no access token", rule="Authorization: Bearer <token>")
    return caller


def caller_with(*roles: str) -> Callable[[Request], Caller]:
    """`caller_of`, where the call is for those alone that hold one of `roles`."""

    def caller(request: Request) -> Caller:
        found = caller_of(request)
        found.must_be(*roles)
        return found

    return caller


class UnknownParameter(Malformed):
    """The query has a parameter that the route does not: a filter spelt wrong would be none."""


def known_query(request: Request) -> None:
    """For routes in a framework, as a dependency. Raises UnknownParameter."""
    if not request.scope["query_string"]:
        return
    known = _parameters(request.scope["route"].dependant)
    for name in request.query_params:
        if name not in known:
            raise UnknownParameter(
                "there is no such parameter",
                field=f"query.{name[:100]}",
                value=request.query_params[name][:100],
                rule="one of: " + ", ".join(sorted(known)) if known else "no parameters here",
            )


def _parameters(dependant: Any) -> set[str]:
    """Those of the query that a route takes, by itself or by what it depends on."""
    found = {one.alias for one in dependant.query_params}
    return found.union(*(_parameters(one) for one in dependant.dependencies))


@dataclass(frozen=True, slots=True)
class HotRoute:
    """A route without a framework around it, described well enough for the OpenAPI document."""

    method: str
    path: str
    handler: Callable[[Request], Awaitable[Response]]
    operation: str
    summary: str
    request_type: Any = None
    response_type: Any = None


def decode(body: bytes, shape: type[Shape]) -> Shape:
    """JSON into a msgspec shape; Malformed names the field and the rule that it breaks."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        rule, _, place = str(error).partition(" - at `")
        raise Malformed(
            str(error), field=place.rstrip("`").removeprefix("$.") or None, rule=rule
        ) from None
    except NOT_JSON as error:
        raise Malformed(f"the body is not JSON: {error}", field="body", rule="RFC 8259") from None


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(
        encode_json(value),
        status_code=status,
        media_type="application/json",
        headers=dict(headers or {}),
    )


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The whole body, or TooLarge as soon as it is longer than `most_bytes`."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most_bytes:
        raise _too_large(int(announced), most_bytes)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise _too_large(size, most_bytes)
        parts.append(part)
    return b"".join(parts)


def _too_large(size: int, most_bytes: int) -> TooLarge:
    return TooLarge(
        f"the body has {size} bytes or more",
        field="body",
        value=size,
        rule=f"at most {most_bytes} bytes; send it in parts",
    )


def page_link(request: Request, next_cursor: str | None, *, name: str = "cursor") -> dict[str, str]:
    """The `Link` header to the next page, or nothing on the last one (RFC 8288)."""
    if next_cursor is None:
        return {}
    query = urlencode([*((k, v) for k, v in request.query_params.multi_items() if k != name)])
    joined = f"{query}&" if query else ""
    path = request.scope.get("gridroam.path") or request.url.path
    return {"Link": f'<{path}?{joined}{urlencode({name: next_cursor})}>; rel="next"'}


@dataclass(slots=True)
class Answer:
    """What came back from a call."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def call_asgi(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    query: str = "",
    extra_scope: Mapping[str, Any] | None = None,
) -> Answer:
    """Call an ASGI application in this process, as an HTTP request without a socket."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in {**(headers or {}), "content-length": str(len(body))}.items()
        ],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        **(extra_scope or {}),
    }
    answer = Answer(status=500)
    parts: list[bytes] = []
    asked = False
    answered = asyncio.Event()

    async def receive() -> Message:
        nonlocal asked
        if asked:
            # A caller in this process stays until it is answered.
            await answered.wait()
            return {"type": "http.disconnect"}
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in message.get("headers", [])
            }
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    answered.set()
    answer.body = b"".join(parts)
    return answer
