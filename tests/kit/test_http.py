"""Bodies with a limit, callers that were let in, and calls inside the process."""

from __future__ import annotations

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kit import problem
from kit.http import CALLER, Caller, call_asgi, caller_of, decode, json_response, read_body
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed

ALFA = Caller(PartyId("NL*ALF"), frozenset({"evsp"}), "client-1", None, "req-1")


class Question(msgspec.Struct):
    evse_id: str
    services: list[str] = []


async def echo(request: Request) -> Response:
    body = await read_body(request, 20)
    return json_response({"party": caller_of(request).party, "body": body.decode()}, 201)


async def clash(_: Request) -> Response:
    raise Clash("two of one", field="cdr_id", value="7", rule="once")


async def bug(_: Request) -> Response:
    raise RuntimeError("the password is hunter2")


def app() -> Starlette:
    made = Starlette(
        routes=[
            Route("/echo", echo, methods=["POST"]),
            Route("/clash", clash),
            Route("/bug", bug),
        ]
    )
    problem.install(made)
    return made


async def test_a_call_in_the_process_is_answered_like_one_over_a_socket() -> None:
    answer = await call_asgi(app(), "POST", "/echo", body=b"hello", extra_scope={CALLER: ALFA})
    assert (answer.status, answer.headers["content-type"]) == (201, "application/json")
    assert msgspec.json.decode(answer.body) == {"party": "NL*ALF", "body": "hello"}


async def test_nobody_passes_without_a_caller() -> None:
    answer = await call_asgi(app(), "POST", "/echo", body=b"hello")
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_over_its_limit_is_refused_with_the_limit() -> None:
    answer = await call_asgi(app(), "POST", "/echo", body=b"x" * 21, extra_scope={CALLER: ALFA})
    told = msgspec.json.decode(answer.body)
    assert (answer.status, told["field"], told["value"]) == (413, "body", "21")
    assert "20 bytes" in told["rule"]


async def test_a_refusal_says_what_was_wrong_and_where() -> None:
    answer = await call_asgi(app(), "GET", "/clash", extra_scope={"gridroam.request_id": "r-9"})
    assert msgspec.json.decode(answer.body) == {
        "type": "https://gridroam.org/problems/clash",
        "title": "Clash",
        "status": 409,
        "detail": "two of one",
        "request_id": "r-9",
        "field": "cdr_id",
        "value": "7",
        "rule": "once",
    }


async def test_a_bug_tells_the_caller_nothing_but_a_reference() -> None:
    with pytest.raises(RuntimeError, match="hunter2"):
        await call_asgi(app(), "GET", "/bug")
    assert "hunter2" not in str(problem.body_of(500, "InternalError", "Something went wrong"))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b'{"evse_id": 5}', "evse_id"),
        (b'{"evse_id":"a","services":[1]}', "services[0]"),
    ],
)
def test_a_wrong_body_names_the_field(body: bytes, field: str) -> None:
    with pytest.raises(Malformed) as refused:
        decode(body, Question)
    assert refused.value.field is not None
    assert field.split("[")[0] in refused.value.field
