"""What offline lists ask of the outside world."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from clearinghouse.offline_lists.model import Consent, Entry, Part, Place, Shares, Version
from kit.event_log import NewEvent
from roaming.party import PartyId
from roaming.token import TokenUid


class Agreements(Protocol):
    """With whom an operator has agreed on roaming at all of its charge points."""

    def partners(self, operator: PartyId, at: datetime) -> Shares: ...


class Lists(Protocol):
    """The lists in one open transaction."""

    async def lock(self, operator: PartyId) -> None:
        """One at a time makes a version of an operator's list."""

    async def consenting(
        self, operator: PartyId, evsps: Collection[PartyId]
    ) -> Collection[PartyId]:
        """Those of `evsps` that let the operator have their lists."""

    async def consents(self, evsp: PartyId) -> Sequence[Consent]: ...

    async def keep_consent(self, evsp: PartyId, consent: Consent, at: datetime) -> bool:
        """Whether it is another one than before."""

    async def newest(self, operator: PartyId) -> Version | None: ...

    async def version(self, operator: PartyId, number: int) -> Version | None: ...

    async def changed_since(self, version: Version, at: datetime) -> bool:
        """Whether a card of those who shared then has come, gone or changed since."""

    async def add_version(self, operator: PartyId, shares: Shares, at: datetime) -> Version:
        """The next version: what is committed by now is in it. The oldest are forgotten."""

    async def read(
        self,
        part: Part,
        place: Place,
        *,
        shares: Shares,
        since: Version | None,
        at: datetime,
        limit: int,
    ) -> tuple[Sequence[Entry], Sequence[TokenUid], Place | None]:
        """Up to `limit` contracts of a stage: cards to accept, cards to forget, how to go on."""

    async def tell(self, event: NewEvent) -> None: ...


class OfflineLists(Protocol):
    def open(self) -> AbstractAsyncContextManager[Lists]:
        """Leaving it commits, an exception undoes it."""
