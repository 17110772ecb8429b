"""What applications need: applications kept, and the books that an approval writes in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from marketplace.applications.model import Application, RoleStatus
from marketplace.business.ports import File
from marketplace.partners.ports import Register
from roaming.party import PartyId


class Kept(Protocol):
    """An application as it is kept: with what repeats and readers are known by."""

    @property
    def application(self) -> Application: ...

    @property
    def content(self) -> bytes:
        """The digest of all that it says."""
        ...

    @property
    def secret_hash(self) -> str | None: ...


class Desk(Protocol):
    """Applications, in one transaction."""

    @property
    def register(self) -> Register:
        """The partners, in the same transaction."""
        ...

    @property
    def file(self) -> File:
        """Business details, in the same transaction."""
        ...

    async def lock(self, content: bytes) -> None:
        """Nobody else hands this in until we are done."""
        ...

    async def known_by_key(self, key: bytes) -> Kept | None:
        """What was handed in with this Idempotency-Key, which is known by its digest."""
        ...

    async def known_by_content(self, content: bytes) -> Kept | None:
        """What says the same, the latest of them."""
        ...

    async def waiting(self) -> int:
        """How many applications have a role to be decided."""
        ...

    async def add(
        self, asked: Application, content: bytes, *, key: bytes | None, secret_hash: str | None
    ) -> None: ...

    async def find(self, application_id: str) -> Kept | None: ...

    async def find_to_change(self, application_id: str) -> Application | None:
        """The application, and nobody else decides it until we are done."""
        ...

    async def save(self, asked: Application, now: datetime) -> None:
        """Keep what was decided, and tell it."""
        ...

    async def page(
        self,
        *,
        status: RoleStatus | None,
        applicant: PartyId | None,
        after: str | None,
        limit: int,
    ) -> Sequence[Application]:
        """In the order in which they came."""
        ...

    async def owners(self, parties: Collection[PartyId]) -> Mapping[PartyId, PartyId]:
        """Of those party ids that are a partner's: by which id that partner is known."""
        ...


class Applications(Protocol):
    def open(self) -> AbstractAsyncContextManager[Desk]: ...


class Checker(Protocol):
    async def matches(self, secret: str, hashes: Sequence[str]) -> bool: ...

    async def hash(self, secret: str) -> str: ...


class Secrets(Protocol):
    def of(self, key: str, content: bytes) -> str:
        """The secret that goes with an Idempotency-Key and what was handed in with it: the same
        each time, so that it need not be kept to be told again."""
        ...


class Memory(Protocol):
    async def refresh(self) -> None:
        """See in this process what has just been committed."""
        ...
