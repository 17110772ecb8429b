"""The hub's other roots: in with a token, out without."""

from __future__ import annotations

import pytest
from starlette.types import Receive, Scope, Send

from gateway.calls.guard import authenticate
from kit.http import CALLER, Caller, call_asgi
from tests.gateway.calls.fakes import OPERATOR, Known, Tokens


class Inside:
    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})


async def ask(inside: Inside, path: str, token: str | None, **scope: object) -> int:
    tokens = Tokens()
    for name in ("events", "marketplace", "services"):
        tokens.known[name] = Known(OPERATOR, scopes=frozenset({name}))
    tokens.known["sandbox"] = Known(OPERATOR, sandbox=True)
    guarded = authenticate(
        inside, tokens, ["/health/live", "/oauth/"], new_request_id=lambda: "r-1"
    )
    headers = {} if token is None else {"authorization": f"bearer {token}"}
    answer = await call_asgi(guarded, "GET", path, headers=headers, extra_scope=scope)
    if answer.status == 401:
        error = "" if token is None else ' error="invalid_token"'
        assert answer.headers["www-authenticate"] == f"Bearer{error}"
        assert b'"request_id":"r-1"' in answer.body
    return answer.status


async def test_a_good_token_says_who_is_calling() -> None:
    inside = Inside()
    assert await ask(inside, "/marketplace/contracts", "operator") == 200
    assert inside.scopes[0][CALLER] == Caller(
        OPERATOR, frozenset({"evse-operator"}), "client-1", None, "r-1"
    )


async def test_without_a_good_token_nobody_comes_in() -> None:
    inside = Inside()
    for token in (None, "", "forged"):
        assert await ask(inside, "/marketplace/contracts", token) == 401
    assert inside.scopes == []


async def test_public_paths_are_open_and_nothing_beside_them() -> None:
    inside = Inside()
    assert await ask(inside, "/health/live", None) == 200
    assert await ask(inside, "/oauth/token", None) == 200
    assert await ask(inside, "/health/live/x", None) == 401
    assert await ask(inside, "/oauth", None) == 401
    assert all(CALLER not in scope for scope in inside.scopes)


async def test_no_caller_comes_from_outside() -> None:
    inside = Inside()
    forged = Caller(OPERATOR, frozenset(), "x", None, "x")
    assert await ask(inside, "/health/live", None, **{CALLER: forged}) == 200
    assert CALLER not in inside.scopes[0]


async def test_the_request_id_of_an_outer_layer_is_kept() -> None:
    inside = Inside()
    await ask(inside, "/x", "operator", **{"gridroam.request_id": "outer"})
    assert inside.scopes[0][CALLER].request_id == "outer"


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/marketplace/contracts", "marketplace"),
        ("/events", "events"),
        ("/topics/cdrs", "events"),
        ("/commands/reset", "services"),
        ("/central-system/stations", "services"),
    ],
)
async def test_a_token_opens_the_roots_of_its_scopes_and_no_others(path: str, scope: str) -> None:
    inside = Inside()
    for held in ("events", "marketplace", "services"):
        assert await ask(inside, path, held) == (200 if held == scope else 403)
    assert len(inside.scopes) == 1


async def test_a_token_of_the_sandbox_opens_no_root_whatever_its_scopes() -> None:
    inside = Inside()
    for path in ("/marketplace/usage", "/events", "/central-system/stations", "/nothing/here"):
        assert await ask(inside, path, "sandbox") == 403
    assert inside.scopes == []
    assert await ask(inside, "/oauth/token", "sandbox") == 200


async def test_what_is_public_is_open_to_any_token() -> None:
    inside = Inside()
    assert await ask(inside, "/oauth/token", "services") == 200
    assert await ask(inside, "/nothing/here", "services") == 200
