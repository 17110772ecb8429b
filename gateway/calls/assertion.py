"""What a provider is told of its caller, so that it can check it: a short-lived assertion.

A JWT that the hub signs: `sub` calls the operation of the service of `aud`, under this contract. It
is worth nothing at the hub, at another provider, or a minute later; the caller's own token, which
is, stays here (docs/security.md).

One assertion serves all calls that it is true of, for half its life: signing takes as long as all
of the door's checks do.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.calls.model import Call
from gateway.calls.ports import Signer

TYPE = "gridroam-call+jwt"
LIVES = timedelta(seconds=60)
SERVES = timedelta(seconds=30)
MOST_KEPT = 20_000
# Of a longer operation, which has a long path in it, this much is told: providers bound headers.
LONGEST_OPERATION = 500

_About = tuple[str | None, str | None, str, int, str | None, bool]


@dataclass(frozen=True, slots=True)
class _Kept:
    credentials: str
    until: datetime


class Assertions:
    """Assertions of one issuer, signed when there is need of one."""

    def __init__(self, issuer: str, signer: Signer) -> None:
        self._issuer = issuer
        self._signer = signer
        self._kept: dict[_About, _Kept] = {}

    def credentials(self, call: Call) -> str:
        """The `Authorization` that the provider gets with this call."""
        about = (
            call.party,
            call.contract_id,
            call.service_name,
            call.major,
            call.operation,
            call.sandbox,
        )
        kept = self._kept.get(about)
        if kept is not None and call.at < kept.until:
            return kept.credentials
        if len(call.operation or "") > LONGEST_OPERATION:
            # Signed anew each time: a caller who makes paths up is not to fill the memory.
            return self._signed(call)
        # Last in order, so that the first is the one that was signed longest ago.
        self._kept.pop(about, None)
        while len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        signed = self._signed(call)
        self._kept[about] = _Kept(signed, call.at + SERVES)
        return signed

    def _signed(self, call: Call) -> str:
        assert call.service is not None
        assert call.operation is not None
        claims = {
            "iss": self._issuer,
            "aud": call.service.provider,
            "sub": call.party,
            "contract_id": call.contract_id,
            "service": call.service_name,
            "major": call.major,
            "operation": call.operation[:LONGEST_OPERATION],
            "sandbox": call.sandbox,
            "iat": int(call.at.timestamp()),
            "exp": int((call.at + LIVES).timestamp()),
            "jti": secrets.token_urlsafe(16),
        }
        told = {name: value for name, value in claims.items() if value is not None}
        return f"Bearer {self._signer.sign_jwt(TYPE, told, call.at)}"
