"""What people need: their own books, secrets hashed and sealed, and access tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from marketplace.people.model import Credentials, Invitation, Person
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Standing:
    """A person as it logs in: with what it shows itself by, and the roles of its party.

    `roles` None: the party takes no part at present.
    """

    person: Person
    credentials: Credentials
    roles: frozenset[str] | None
    invitation: Invitation | None = None


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A log-in that is under way at an OIDC provider."""

    party: PartyId
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    binding_hash: bytes = field(repr=False)
    until: datetime


class Book(Protocol):
    """People, in one transaction."""

    async def hold(self, party: PartyId) -> None:
        """Nobody else changes the party's people until we are done. UnknownPartner."""
        ...

    async def of(self, party: PartyId) -> Sequence[Person]:
        """Those who have not been removed, by name."""
        ...

    async def find(self, party: PartyId, person_id: str) -> Person | None: ...

    async def standing(self, person_id: str) -> Standing | None:
        """To change: it stays as it is until we are done. Not of a person who was removed."""
        ...

    async def by_email(self, party: PartyId, email: str) -> Standing | None: ...

    async def by_subject(self, party: PartyId, issuer: str, subject: str) -> Standing | None: ...

    async def by_invitation(self, token_hash: bytes) -> Standing | None: ...

    async def invite(self, person: Person, invitation: Invitation) -> None: ...

    async def invite_again(self, person: Person, invitation: Invitation, now: datetime) -> None: ...

    async def start_anew(self, person: Person, invitation: Invitation, now: datetime) -> None:
        """All that it could show and its tokens end; the invitation is what is left."""
        ...

    async def log_ins_ended(self, person: Person, now: datetime) -> None:
        """Its tokens end; it may log in again."""
        ...

    async def change(self, person: Person, now: datetime) -> None:
        """Its name and duties; its tokens end."""
        ...

    async def remove(self, person: Person, now: datetime) -> None:
        """And its tokens and all that it could show."""
        ...

    async def keep(self, person_id: str, credentials: Credentials) -> None: ...

    async def join(self, person: Person, credentials: Credentials, now: datetime, way: str) -> None:
        """It is active after this, its invitation used up, and earlier tokens are ended."""
        ...

    async def bind(self, person: Person, issuer: str, subject: str, now: datetime) -> None: ...

    async def logged_in(self, person: Person, now: datetime, way: str) -> None:
        """It may hold tokens from now on."""
        ...

    async def refused(self, person: Person, now: datetime, why: str) -> None: ...

    async def logged_out(
        self, person: Person, jti: str, until: datetime, now: datetime
    ) -> None: ...

    async def password_changed(
        self, person: Person, credentials: Credentials, now: datetime
    ) -> None:
        """Tokens from before end."""
        ...

    async def begin_login(self, state_hash: bytes, pending: PendingLogin) -> None: ...

    async def take_login(self, state_hash: bytes) -> PendingLogin | None:
        """Once."""
        ...

    async def forget_expired(self, now: datetime) -> None: ...


class People(Protocol):
    def open(self) -> AbstractAsyncContextManager[Book]: ...


class Checker(Protocol):
    async def matches(self, secret: str, hashes: Sequence[str]) -> bool: ...

    async def hash(self, secret: str) -> str: ...


class Box(Protocol):
    def seal(self, plain: bytes, *, purpose: str) -> bytes: ...

    def unseal(self, sealed: bytes, *, purpose: str) -> bytes: ...


class Tokens(Protocol):
    """Access tokens of people."""

    def mint_for_person(
        self,
        person_id: str,
        party: PartyId,
        roles: frozenset[str],
        duties: frozenset[str],
        *,
        logged_in_at: datetime,
        now: datetime,
    ) -> str: ...


class Provider(Protocol):
    """An OpenID provider."""

    @property
    def issuer(self) -> str: ...

    async def authorization_url(self, *, state: str, nonce: str, challenge: str) -> str: ...

    async def claims(
        self, code: str, *, verifier: str, nonce: str, now: datetime
    ) -> Mapping[str, Any]:
        """Of an ID token that holds. LoginRefused, ProviderAway."""
        ...
