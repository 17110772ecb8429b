"""What calling the hub needs: a way there, a client for each operator, and a place for its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kit.http import Answer
from roaming.party import PartyId


class Transport(Protocol):
    """The way to the hub. HubAway when there is no answer."""

    async def call(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> Answer: ...


class Clients(Protocol):
    """The hub's register of OAuth 2 clients."""

    async def ensure(self, operator: PartyId, public_jwk: Mapping[str, Any]) -> str:
        """The client id under which `operator` signs with this key; the same key, the same id."""
        ...


@dataclass(frozen=True, slots=True)
class Key:
    """An operator's private key, as JWK, and the client id that the hub knows it by."""

    private_jwk: Mapping[str, Any]
    client_id: str | None


class Keys(Protocol):
    async def load(self, operator: PartyId) -> Key | None: ...

    async def keep(self, operator: PartyId, private_jwk: Mapping[str, Any]) -> Key:
        """Keep this key unless there is one already; the key that is kept."""
        ...

    async def name(self, operator: PartyId, client_id: str) -> None: ...


class Box(Protocol):
    """kit.secrets.SecretBox: seals what is kept on disk."""

    def seal(self, plain: bytes, *, purpose: str) -> bytes: ...

    def unseal(self, sealed: bytes, *, purpose: str) -> bytes: ...
