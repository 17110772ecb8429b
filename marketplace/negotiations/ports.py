"""What negotiating needs: negotiations kept, what they are about, and who the two sides are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from marketplace.contracts.ports import Desk as ContractDesk
from marketplace.framework.document import OnPaper
from marketplace.framework.model import Clauses, Library
from marketplace.negotiations.history import Entry
from marketplace.negotiations.model import Negotiation, Signed, State
from marketplace.offerings.model import Offering
from marketplace.services.model import Service
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Told:
    """How far a move has come to a party: a message's state, or that it waits in own-events."""

    number: int
    party: PartyId
    state: str


class Desk(Protocol):
    """Negotiations, in one transaction with the contracts that come of them."""

    @property
    def contracts(self) -> ContractDesk: ...

    async def lock(self, requester: PartyId, provider: PartyId) -> None:
        """Nobody else begins a negotiation of these two until we are done."""
        ...

    async def service(self, name: str, major: int) -> Service | None: ...

    async def offering(self, offering_id: str) -> Offering | None: ...

    async def roles_of(self, party: PartyId) -> frozenset[str] | None:
        """None: it takes no part in this market."""
        ...

    async def open_between(
        self, requester: PartyId, provider: PartyId, service: str, major: int
    ) -> Sequence[Negotiation]:
        """Those that have had their first proposal, and nothing since."""
        ...

    async def add(self, negotiation: Negotiation) -> None: ...

    async def find(self, negotiation_id: str, party: PartyId) -> Negotiation | None:
        """One of this party's."""
        ...

    async def find_to_change(self, negotiation_id: str, party: PartyId) -> Negotiation | None:
        """As `find`, and nobody else changes it until we are done."""
        ...

    async def find_to_lapse(self, negotiation_id: str) -> Negotiation | None:
        """Whosever it is; None where somebody is at work on it."""
        ...

    async def save(self, before: Negotiation, after: Negotiation) -> None:
        """Keep what is new, and tell both sides of each move."""
        ...

    async def document(self, negotiation_id: str) -> bytes | None: ...

    async def keep_document(self, negotiation_id: str, body: bytes) -> None: ...

    async def library(self) -> Library:
        """The modules that clauses are made of."""
        ...

    async def clauses(self, digest: bytes | None) -> Clauses | None: ...

    async def file(
        self, contract_id: str, body: bytes, signatures: Sequence[Signed], now: datetime
    ) -> None:
        """The contract's document and who signed it, where contracts' documents are."""
        ...

    async def about(self, contract_id: str) -> Sequence[str]:
        """The negotiations that a contract came of, or was to be replaced by."""
        ...

    async def entries(self, subjects: Sequence[str]) -> Sequence[Entry]:
        """What the log has of these, in its order."""
        ...

    async def told(self, negotiation_id: str) -> Sequence[Told]: ...

    async def page(
        self,
        party: PartyId,
        *,
        state: State | None,
        service: str | None,
        other: PartyId | None,
        after: str | None,
        limit: int,
    ) -> Sequence[Negotiation]:
        """The party's own, on either side, oldest first."""
        ...


class Negotiations(Protocol):
    def open(self) -> AbstractAsyncContextManager[Desk]: ...

    async def over(self, now: datetime, limit: int) -> Sequence[str]:
        """Those that are open and whose time is over."""
        ...


class Registry(Protocol):
    """Who the parties are. Asked before a transaction, never within one."""

    async def on_paper(self, party: PartyId, at: datetime) -> OnPaper: ...

    async def keys_of(self, party: PartyId) -> Sequence[Mapping[str, Any]]:
        """The public keys (JWK) of the party's own live clients."""
        ...


class Witness(Protocol):
    """The hub's own key."""

    def sign(
        self, header: Mapping[str, Any], content: bytes, at: datetime
    ) -> tuple[str, Mapping[str, Any]]:
        """A detached JWS, and the public key that it holds by."""
        ...
