"""What access needs: clients, keys and revocations kept, and the token server that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol

from marketplace.access.model import Certificate, Client, Revocations, SigningKey
from marketplace.services.model import Environment
from roaming.party import PartyId


class Keeper(Protocol):
    """Clients, keys and revocations, in one transaction."""

    async def client(self, client_id: str, now: datetime) -> Client | None:
        """An active client of an active partner, with its secrets in force."""
        ...

    async def clients_of(self, party: PartyId, now: datetime) -> Sequence[Client]: ...

    async def add_key_client(
        self,
        client_id: str,
        party: PartyId,
        keys: Sequence[Mapping[str, Any]] | None,
        certificates: Sequence[Certificate],
        now: datetime,
        environment: Environment,
    ) -> None: ...

    async def add_secret(
        self, party: PartyId, secret_hash: str, now: datetime, environment: Environment
    ) -> str:
        """A further secret for the party's secret client, made if need be: its client id."""
        ...

    async def client_to_change(
        self, party: PartyId, client_id: str, now: datetime
    ) -> Client | None:
        """Nobody else changes it until we are done. None: the party has no such client."""
        ...

    async def change(self, client: Client, now: datetime) -> None:
        """Its name, its end and its keys."""
        ...

    async def end_secret(self, client: Client, secret_id: int, now: datetime) -> None: ...

    async def revoke_client(self, party: PartyId, client_id: str, now: datetime) -> bool:
        """End the party's client and its tokens. False: the party has no such client."""
        ...

    async def use_assertion(self, client_id: str, jti: str, until: datetime) -> bool:
        """Remember an assertion until it expires. False: it was used before."""
        ...

    async def revoke_token(
        self, jti: str, client_id: str, party: PartyId, until: datetime, now: datetime
    ) -> None: ...

    async def revocations(self, now: datetime) -> Revocations: ...

    async def lock_keys(self) -> None:
        """Nobody else makes or drops signing keys until we are done."""
        ...

    async def keys(self) -> Sequence[SigningKey]: ...

    async def add_key(self, key: SigningKey, now: datetime) -> None: ...

    async def drop_keys(self, kids: Sequence[str]) -> None: ...

    async def forget_expired(self, now: datetime) -> None: ...


class Access(Protocol):
    def open(self) -> AbstractAsyncContextManager[Keeper]: ...


class Checker(Protocol):
    async def matches(self, secret: str, hashes: Sequence[str]) -> bool: ...

    async def hash(self, secret: str) -> str: ...


class Box(Protocol):
    def seal(self, plain: bytes, *, purpose: str) -> bytes: ...

    def unseal(self, sealed: bytes, *, purpose: str) -> bytes: ...
