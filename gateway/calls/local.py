"""The way to a service of the hub itself: an ASGI application in this process."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.types import ASGIApp

from gateway.calls.model import Call
from gateway.calls.ports import Answer, Body, Carry
from kit.actor import acting_as
from kit.http import CALLER, Caller


def local_service(app: ASGIApp) -> Carry:
    """The application sees the path behind the service's name, and who is calling in its scope."""

    async def carry(call: Call, body: Body, answer: Answer) -> None:
        assert call.party is not None
        assert call.client_id is not None
        asked = call.scope
        scope = dict(asked)
        outside = str(asked["path"])
        rest = call.rest
        scope["path"] = unquote(rest) if "%" in rest else rest
        scope["raw_path"] = rest.encode("ascii")
        scope["root_path"] = call.root
        scope["gridroam.path"] = outside
        scope["gridroam.request_id"] = call.request_id
        caller = Caller(
            call.party, call.roles, call.client_id, call.contract_id, call.request_id, call.person
        )
        scope[CALLER] = caller
        with acting_as(caller.actor):
            await app(scope, body.receive, answer.send)
        if call.status == 0:
            raise RuntimeError(f"{call.service_name} gave no answer to {call.method} {rest}")

    return carry
