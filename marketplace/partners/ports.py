"""What registration needs: the partners kept, and what a newcomer gets on its first day."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from marketplace.partners.model import Endpoint, Partner, Purpose
from marketplace.partners.standing import Action
from roaming.party import PartyId


class Register(Protocol):
    """The partners, in one transaction."""

    async def find(self, party: PartyId) -> Partner | None: ...

    async def find_to_change(self, party: PartyId) -> Partner | None:
        """As `find`, and nobody else registers this party until we are done."""
        ...

    async def page(self, after: PartyId | None, limit: int) -> Sequence[Partner]: ...

    async def save(self, partner: Partner, now: datetime, *, changed: bool) -> None:
        """Keep the partner; when `changed`, tell it in the log."""
        ...

    async def ids_of(self, main: PartyId) -> Sequence[PartyId]:
        """All party ids of the partner that is known by `main`, in order; its own among them."""
        ...

    async def change_standing(
        self, partner: Partner, action: Action, role: str | None, by: PartyId, now: datetime
    ) -> None:
        """Keep the partner's new standing, and tell it and its counterparties of it."""
        ...

    async def leavers(self, now: datetime, limit: int) -> Sequence[PartyId]:
        """Partners whose notice has run, and of whom nobody has taken leave yet."""
        ...

    async def take_leave(self, partner: Partner, now: datetime) -> None:
        """What it offers is withdrawn, and its counterparties are told that it has gone."""
        ...

    async def notice_days(self, party: PartyId, now: datetime) -> int:
        """The longest notice that a contract of the partner's asks for."""
        ...

    async def end_contracts(self, party: PartyId, ends: datetime, now: datetime) -> None:
        """Terminate, at `ends`, all contracts of the partner's that would last longer."""
        ...

    async def add_client_secret(self, party: PartyId, secret_hash: str, now: datetime) -> str:
        """A further secret for the party's own API client, made first if need be: the client id."""
        ...

    async def end_tokens(self, party: PartyId, now: datetime) -> None:
        """Refuse the access tokens that the party's clients hold: their roles have changed."""
        ...

    async def accept_public_offerings(self, partner: Partner, now: datetime) -> Sequence[str]:
        """The hub's public offerings that fit the partner's roles become contracts: their ids."""
        ...

    async def endpoint(self, party: PartyId, purpose: Purpose) -> Endpoint | None: ...

    async def endpoints(self, party: PartyId) -> Sequence[Endpoint]: ...

    async def endpoints_for(
        self, parties: Collection[PartyId], purpose: Purpose
    ) -> Sequence[Endpoint]:
        """Those that `parties` have given for `purpose`."""
        ...

    async def save_endpoint(self, endpoint: Endpoint, now: datetime) -> None: ...


class Partners(Protocol):
    def open(self) -> AbstractAsyncContextManager[Register]: ...


class Hasher(Protocol):
    async def hash(self, secret: str) -> str:
        """The hash to keep of a client secret."""
        ...


class Contracts(Protocol):
    async def refresh(self) -> None:
        """See in this process what has just been committed."""
        ...
