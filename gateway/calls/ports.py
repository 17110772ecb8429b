"""What the door needs from elsewhere: who is calling, the catalogue, the contracts, the books."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from starlette.types import Message, Receive

from gateway.calls.model import Allowance, Call, Denial, Grant, Lease, Quota, RefusedCall, Service
from gateway.usage.model import UsageRecord
from roaming.party import PartyId
from roaming.refusal import Refusal


class Identity(Protocol):
    """Whom an access token stands for."""

    @property
    def party(self) -> PartyId: ...
    @property
    def roles(self) -> frozenset[str]: ...
    @property
    def client_id(self) -> str: ...

    @property
    def scopes(self) -> frozenset[str]:
        """What the token is good for (RFC 6749, section 3.3)."""
        ...

    @property
    def sandbox(self) -> bool:
        """Whether it tries things out: it reaches sandboxes, and nothing that counts."""
        ...

    @property
    def certificate(self) -> str | None:
        """The thumbprint of the certificate that its bearer has to show, where it is bound."""
        ...

    @property
    def person(self) -> str | None:
        """Whose log-in it is, where it is no program's."""
        ...

    @property
    def duties(self) -> frozenset[str]:
        """What a person does for its party."""
        ...


class Verifier(Protocol):
    def verify(self, token: str) -> Identity:
        """Raises Unauthenticated for a token that is forged, expired or revoked."""
        ...


class Signer(Protocol):
    """Signs in the hub's name, with the key whose public half it publishes."""

    def sign_jwt(self, kind: str, claims: Mapping[str, Any], at: datetime) -> str:
        """A JWT whose header says `typ: kind`."""
        ...


class Assertions(Protocol):
    def credentials(self, call: Call) -> str:
        """By what a provider knows who calls and what for: its `Authorization` header."""
        ...


class Catalogue(Protocol):
    def find_service(self, name: str, major: int) -> Service | None: ...


class Contracts(Protocol):
    """All contracts in force, in memory. No method may wait."""

    def find(
        self, requester: PartyId, service: str, major: int, operation: str, at: datetime
    ) -> Grant | Denial: ...

    def find_to_try(
        self, requester: PartyId, service: str, major: int, operation: str, at: datetime
    ) -> Grant | Denial:
        """For a call of the sandbox: a contract for that, else the live one. What it grants has
        neither a price nor a quota.
        """
        ...

    def age_s(self, now: datetime) -> float:
        """Seconds since the contracts (and the catalogue) were last known to be current."""
        ...


class Quotas(Protocol):
    """Exact counts of calls, shared by all processes."""

    async def reserve(self, contract_id: str, quota: Quota, at: datetime) -> Allowance:
        """Take one call. Raises QuotaExceeded, PackUsedUp, QuotaUnreadable; then none is taken."""
        ...

    def release(self, leases: Sequence[Lease]) -> None:
        """Give a call back that came to nothing."""
        ...


class Meter(Protocol):
    """Where usage is written, once for each call."""

    @property
    def full(self) -> bool:
        """More is waiting to be written than may be lost; let nothing more through."""
        ...

    def note(self, record: UsageRecord) -> None:
        """Write it soon."""
        ...

    async def commit(self, record: UsageRecord) -> None:
        """Write it, and return when it is durable. Raises NotRecorded."""
        ...


class Refusals(Protocol):
    def note(self, refused: RefusedCall) -> None:
        """Keep it in the log. Must never wait, and never grow with the number of refusals."""
        ...


class Body(Protocol):
    """What the caller sends along. Reading raises BodyTooLarge or CallerGone."""

    @property
    def empty(self) -> bool: ...

    @property
    def receive(self) -> Receive:
        """The same, as ASGI messages."""
        ...

    async def small(self, most_bytes: int) -> bytes | None:
        """All of it where it is announced to be that small; else None, and nothing is read."""
        ...

    async def read(self) -> bytes:
        """The next piece; empty at the end."""
        ...

    async def gone(self) -> None:
        """Return when the caller has gone away. Only once all of the body has been read."""
        ...


Words = Callable[[int, Mapping[str, Any]], tuple[int, str, bytes]]
"""Put a no into words: (status, members of the problem) -> (status, media type, content)."""


class Answer(Protocol):
    """What the caller is told, in order: `start`, then `write` until `more` is False.

    A no is told in `words`: a problem document, unless the caller speaks otherwise.
    """

    words: Words

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None: ...
    async def write(self, chunk: bytes, *, more: bool) -> None: ...

    async def send(self, message: Message) -> None:
        """The same, as ASGI messages."""
        ...

    async def refuse(self, refusal: Refusal) -> None:
        """Say no; an answer that has begun is cut off instead, so that nobody takes it as whole."""
        ...


Carry = Callable[[Call, Body, Answer], Awaitable[None]]
"""Bring a permitted call to its service, and the answer back. Raises ForwardFailed."""
