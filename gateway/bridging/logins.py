"""Logins in WS-Security: the caller's, which stays here, and the one that a provider asks for."""

from __future__ import annotations

import secrets
from datetime import datetime

from bridge import username_token
from bridge.soap_envelope import ENVELOPES
from bridge.username_token import BadUsernameToken, StaleUsernameToken
from gateway.bridging.envelope import Envelope
from gateway.bridging.model import LoginRefused
from gateway.bridging.ports import Login
from gateway.bridging.sides import Desk
from gateway.calls.flows import stand_for
from gateway.calls.model import Call
from gateway.calls.refusals import CallerUnknown

DIGEST = "digest"


async def log_in(call: Call, asked: Envelope, desk: Desk) -> None:
    """1 Who is calling, where no token says so: the envelope's UsernameToken.

    Raises CallerUnknown, ScopeMissing, TooManyAttempts.
    """
    if asked.security is None:
        raise CallerUnknown(
            "the call carries no access token, and its envelope no UsernameToken",
            field="Authorization",
            rule="Authorization: Bearer <token>; or a WS-Security UsernameToken with client id and"
            " secret",
        )
    try:
        token = username_token.read(asked.security)
        identity = await desk.credentials.identify(token.username, token.password, call.address)
        desk.window.check(token, call.at)
    except (BadUsernameToken, StaleUsernameToken, LoginRefused) as refusal:
        raise CallerUnknown(
            refusal.detail,
            field=refusal.field or "UsernameToken",
            value=refusal.value,
            rule=refusal.rule,
        ) from None
    stand_for(call, identity)


def security_for(login: Login, version: str, now: datetime) -> str:
    """The WS-Security header that shows this login to its provider, for a SOAP version."""
    if login.kind == DIGEST:
        token = username_token.digest_token(
            login.username, login.password, nonce=secrets.token_bytes(16), now=now
        )
    else:
        token = username_token.text_token(login.username, login.password)
    return username_token.header(token, ENVELOPES[version])
