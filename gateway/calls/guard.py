"""Who is calling the hub's other roots (`/marketplace`, `/events`, …): a token, or no entry.

A token whose client asked for some scopes alone opens no root of another scope: what a charge
point's system calls services with cannot accept contracts. One of the sandbox opens none at all.
A token of scope `marketplace:read` reads there, and changes nothing.
A person's token opens what is among the person's duties.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.calls.duties import require
from gateway.calls.flows import SERVICES, holds
from gateway.calls.ports import Verifier
from gateway.calls.refusals import DutyMissing, SandboxNotServed, ScopeMissing
from kit.actor import acting_as
from kit.http import CALLER, Caller
from kit.problem import refusal_response
from roaming.refusal import Unauthenticated

MARKETPLACE, EVENTS = "marketplace", "events"
ROOTS: Mapping[str, str] = {
    "marketplace": MARKETPLACE,
    "events": EVENTS,
    "topics": EVENTS,
    "commands": SERVICES,
    "central-system": SERVICES,
}
"""The scope that a token must hold, by the first part of the path."""


def authenticate(
    app: ASGIApp,
    verifier: Verifier,
    public_paths: Collection[str],
    *,
    new_request_id: Callable[[], str],
    own_doors: Collection[str] = (),
) -> ASGIApp:
    """Let requests with a good token in, with `Caller` in their scope; `contract_id` is None.

    A public path is let in without one; one that ends in `/` stands for all below it. So is one of
    `own_doors`, behind which something else than a token is asked for; but a token that comes there
    has to be good. The scope's `gridroam.request_id` is kept where an outer layer has given one.
    """
    asks = _paths(own_doors)
    public = _paths(public_paths)

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        request_id = scope.setdefault("gridroam.request_id", new_request_id())
        # Nobody but this layer says who is calling.
        scope.pop(CALLER, None)
        try:
            scope[CALLER] = _caller(scope, verifier, request_id)
        except (Unauthenticated, ScopeMissing, SandboxNotServed, DutyMissing) as refusal:
            path = scope["path"]
            if not public(path) and not (asks(path) and not _is_bearer(_credentials(scope))):
                await _refuse(refusal, request_id, scope, receive, send)
                return
        caller = scope.get(CALLER)
        with acting_as(None if caller is None else caller.actor):
            await app(scope, receive, send)

    return guarded


def _paths(given: Collection[str]) -> Callable[[str], bool]:
    exact = frozenset(path for path in given if not path.endswith("/"))
    below = tuple(path for path in given if path.endswith("/"))
    return lambda path: path in exact or path.startswith(below)


def _credentials(scope: Scope) -> bytes:
    return b"".join(value for name, value in scope["headers"] if name == b"authorization")


def _is_bearer(credentials: bytes) -> bool:
    return credentials[:7].lower() == b"bearer "


def _caller(scope: Scope, verifier: Verifier, request_id: str) -> Caller:
    credentials = _credentials(scope)
    if not _is_bearer(credentials):
        raise Unauthenticated(
            "the request carries no access token",
            field="Authorization",
            rule="Authorization: Bearer <token>, with a token from /oauth/token",
        )
    identity = verifier.verify(credentials[7:].decode("latin-1"))
    if identity.certificate is not None:
        holds(identity.certificate, scope)
    if identity.sandbox:
        raise SandboxNotServed(
            "a token of the sandbox calls services, and opens nothing else",
            field="environment",
            value="sandbox",
            rule="a token of a client whose environment is live",
        )
    needed = ROOTS.get(scope["path"].lstrip("/").partition("/")[0])
    if needed is not None and identity.scopes.isdisjoint({needed, _reading(scope, needed)}):
        raise ScopeMissing(needed)
    if identity.person is not None:
        require(scope.get("method", "GET"), scope["path"], identity.duties)
    return Caller(
        identity.party,
        identity.roles,
        identity.client_id,
        None,
        request_id,
        identity.person,
        identity.duties,
    )


def _reading(scope: Scope, needed: str) -> str:
    """The scope that is good for this request as well, where it changes nothing."""
    reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    return f"{needed}:read" if reads else needed


async def _refuse(
    refusal: Unauthenticated | ScopeMissing | SandboxNotServed | DutyMissing,
    request_id: str,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    response = refusal_response(refusal, request_id)
    if response.status_code == 401 and any(
        name == b"authorization" for name, _ in scope["headers"]
    ):
        # RFC 6750, section 3.1: what came without a token is told of no error.
        response.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    await response(scope, receive, send)
