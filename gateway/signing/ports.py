"""What signing needs: the caller's keys, the hub's key, and a place where evidence is kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from gateway.signing.model import SignedCall


class Callers(Protocol):
    async def verify(self, client_id: str, signature: str, content: bytes) -> Mapping[str, Any]:
        """The client's public key by which its signature over a body holds.

        Raises SignatureInvalid.
        """
        ...


class Signer(Protocol):
    def sign_detached(self, header: Mapping[str, Any], content: bytes, at: datetime) -> str:
        """The hub's detached JWS over a body, with these members in its protected header."""
        ...


class Evidence(Protocol):
    async def keep(self, signed: SignedCall) -> None:
        """Return when it is durable. Raises NotRecorded."""
        ...
