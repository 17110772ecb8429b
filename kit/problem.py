"""Every "no" over HTTP as RFC 9457 problem details: what was wrong, where, what would be right.

A refusal names its kind and no status; the one table from kind to status is here. A bug tells the
caller nothing but a reference number, and the log everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import structlog
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from kit.encoding import encode_json
from roaming.refusal import (
    Clash,
    Malformed,
    NotYours,
    Refusal,
    TooLarge,
    TooMuch,
    Unauthenticated,
    Unavailable,
    Unknown,
)

log = structlog.get_logger(__name__)

TYPE_ROOT = "https://gridroam.org/problems/"
MEDIA_TYPE = "application/problem+json"

_STATUS: Mapping[type[Refusal], int] = {
    Malformed: 422,
    Unknown: 404,
    NotYours: 403,
    Clash: 409,
    TooLarge: 413,
    TooMuch: 429,
    Unauthenticated: 401,
    Unavailable: 503,
    Refusal: 409,
}


def status_of(refusal: Refusal) -> int:
    """The HTTP status of a refusal's nearest kind."""
    return next(_STATUS[kind] for kind in type(refusal).__mro__ if kind in _STATUS)


def type_of(name: str) -> str:
    """`NoRoamingAgreement` becomes the stable URI `…/no-roaming-agreement`."""
    return TYPE_ROOT + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


def body_of(
    status: int, name: str, detail: str, *, request_id: str | None = None, **more: Any
) -> dict[str, Any]:
    """The problem document; members that say nothing are left out."""
    members = {
        "type": type_of(name),
        "title": re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).capitalize(),
        "status": status,
        "detail": detail,
        "request_id": request_id,
        **more,
    }
    return {key: value for key, value in members.items() if value is not None}


def problem_response(
    status: int,
    name: str,
    detail: str,
    *,
    request_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """A response that says no; `name` is the class-like name of the problem's type."""
    body = body_of(status, name, detail, request_id=request_id, **more)
    return Response(
        encode_json(body), status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {})
    )


def told_of(refusal: Refusal, request_id: str | None = None) -> dict[str, Any]:
    """A refusal as a problem document: the whole answer, or one of many in it."""
    return body_of(
        status_of(refusal),
        type(refusal).__name__,
        refusal.detail,
        request_id=request_id,
        field=refusal.field,
        value=None if refusal.value is None else str(refusal.value)[:200],
        rule=refusal.rule,
    )


def refusal_response(refusal: Refusal, request_id: str | None = None) -> Response:
    """A refusal in HTTP's words."""
    told = told_of(refusal, request_id)
    headers = {"WWW-Authenticate": "Bearer"} if told["status"] == 401 else {}
    return Response(
        encode_json(told), status_code=told["status"], media_type=MEDIA_TYPE, headers=headers
    )


def bug_response(request: Request, error: Exception) -> Response:
    """Our own fault: a reference number for the caller, all of it for the log."""
    request_id = request_id_of(request)
    log.error("unexpected", request_id=request_id, path=request.url.path, exc_info=error)
    return problem_response(
        500,
        "InternalError",
        "Something went wrong on our side. Tell us the request_id.",
        request_id=request_id,
    )


def bad_text(error: Exception) -> Malformed | None:
    """What a caller did wrong where PostgreSQL has no such text as it was given, which is none of
    ours: one with a NUL or half a surrogate pair in it. None for any other error."""
    told = error.orig if isinstance(error, DBAPIError) else error
    no_utf_8 = told is not None and isinstance(told.__cause__, UnicodeEncodeError)
    if not no_utf_8 and getattr(told, "sqlstate", None) not in _NO_SUCH_TEXT:
        return None
    return Malformed("a text that cannot be kept or looked for", rule="UTF-8 without NUL")


_NO_SUCH_TEXT = (
    asyncpg.CharacterNotInRepertoireError.sqlstate,
    asyncpg.UntranslatableCharacterError.sqlstate,
)


def unlike_its_schema(errors: Sequence[Mapping[str, Any]]) -> Malformed:
    """What pydantic found first, in our words: which member, and what would be right."""
    # Of one thing or many, the other one that it is not tells nothing.
    first = next((one for one in errors if not _is_another_kind(one)), errors[0])
    alike = [one for one in errors if _place(one)[1] == _place(first)[1]]
    place, _ = _place(first)
    field, more = ".".join(place), f" ({len(alike)} in all)" if len(alike) > 1 else ""
    kind, said = first["type"], first["msg"].removeprefix("Value error, ")
    value = first.get("input")
    if kind == "missing":
        return Malformed(
            f"something is missing{more}", field=field, rule=f"{place[-1]} is required"
        )
    if kind == "extra_forbidden":
        rule = "a member that the schema in /openapi.json names"
        return Malformed(
            f"nothing is known by this name{more}", field=field, value=value, rule=rule
        )
    if kind == "json_invalid":
        why = f"{first.get('ctx', {}).get('error', said)} at character {place[-1]}"
        return Malformed(f"the body is no JSON: {why}", field="body", rule="JSON in UTF-8")
    if place == ["body"] and kind in _NO_OBJECT:
        rule = "a JSON object, announced by Content-Type: application/json"
        return Malformed("the body is no JSON object", field="body", value=value, rule=rule)
    rule = said.removeprefix("Input should be ")
    return Malformed(f"{said}{more}", field=field, value=value, rule=rule)


def _is_another_kind(error: Mapping[str, Any]) -> bool:
    return _place(error)[0] == ["body"] and error["type"] in (*_NO_OBJECT, "list_type")


_NO_OBJECT = ("model_attributes_type", "model_type", "dict_type")
# Where a body is one of several types, pydantic names the type that it held it to behind `body`.
_TYPE_NAME = re.compile(r"[A-Z][a-z]+[A-Za-z]*|.*\[.*")


def _place(error: Mapping[str, Any]) -> tuple[list[str], str]:
    """Where in the request, and which of several types it was held to there."""
    place = [str(part) for part in error["loc"]]
    if len(place) > 1 and place[0] == "body" and _TYPE_NAME.fullmatch(place[1]):
        return [place[0], *place[2:]], place[1]
    return place, ""


def request_id_of(request: Request) -> str | None:
    """The id that the outermost layer gave this request, if it did."""
    found = request.scope.get("gridroam.request_id")
    return str(found) if found else None


class DatabaseAway(Unavailable):
    """PostgreSQL is down, or is starting or ending."""


def away(error: Exception) -> DatabaseAway | None:
    """What a caller is told while nothing can be read or written; None: it is another error."""
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error.__context__, Exception):
        # The block that was to end a transaction found the connection gone already.
        return away(error.__context__)
    told = error.orig if isinstance(error, DBAPIError) else error
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    # See kit.server_away.
    lost |= isinstance(error, asyncpg.InternalClientError)
    if not (lost or isinstance(told, ConnectionError) or getattr(told, "sqlstate", "") in _AWAY):
        return None
    return DatabaseAway("the database does not answer", rule="try again shortly")


_AWAY = frozenset(
    kind.sqlstate
    for kind in (
        asyncpg.AdminShutdownError,
        asyncpg.CrashShutdownError,
        asyncpg.CannotConnectNowError,
        asyncpg.PostgresConnectionError,
        asyncpg.ConnectionDoesNotExistError,
        asyncpg.ConnectionFailureError,
    )
)


def install(app: Starlette) -> None:
    """Teach an application (Starlette or FastAPI) to say no in problem details."""

    async def on_refusal(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return refusal_response(error, request_id_of(request))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        name = {404: "NoSuchPath", 405: "MethodNotAllowed"}.get(error.status_code, "HttpError")
        return problem_response(
            error.status_code,
            name,
            f"{request.method} {request.url.path}: {error.detail}",
            request_id=request_id_of(request),
            headers=error.headers,
        )

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return refusal_response(unlike_its_schema(error.errors()), request_id_of(request))

    async def on_database(request: Request, error: Exception) -> Response:
        refusal = bad_text(error) or away(error)
        if refusal is None:
            raise error
        if isinstance(refusal, DatabaseAway):
            log.warning("database away", path=request.url.path, error=repr(error)[:300])
        return refusal_response(refusal, request_id_of(request))

    async def on_bug(request: Request, error: Exception) -> Response:
        return bug_response(request, error)

    app.add_exception_handler(Refusal, on_refusal)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    # Nothing that our routes call but the database raises a bare ConnectionError.
    for kind in (
        *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
        *(DBAPIError, ConnectionError),
    ):
        app.add_exception_handler(kind, on_database)
    app.add_exception_handler(Exception, on_bug)
