"""What the roaming market needs: offers and partners as they are kept, contracts in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from marketplace.contracts.model import Agreed
from marketplace.roaming.model import Offer, OpenOffer
from roaming.party import PartyId


class Market(Protocol):
    """Roaming offers, at one moment."""

    async def offers(
        self,
        evsp: PartyId,
        roles: Collection[str],
        now: datetime,
        *,
        operator: PartyId | None,
        currency: str | None,
        accepted: bool | None,
        after: str | None,
        limit: int,
    ) -> Sequence[Offer]:
        """What is offered to an EVSP and has not run out, oldest first. Offers on the same terms
        hold the same object."""
        ...

    async def offering(self, party: PartyId | None, roles: Collection[str]) -> Collection[PartyId]:
        """The operators that offer roaming to this party, and the party itself if it does; of None:
        all that offer it."""
        ...

    async def open_offers(
        self, operators: Collection[PartyId], now: datetime
    ) -> Sequence[OpenOffer]: ...

    async def accepted(
        self, offering_ids: Collection[str], now: datetime
    ) -> Collection[tuple[str, PartyId]]:
        """Which of these offerings have a contract, with whom."""
        ...

    async def evsps(self) -> Mapping[PartyId, Collection[str]]:
        """All EVSPs with their roles."""
        ...

    async def asked(self, party: PartyId | None) -> Mapping[tuple[PartyId, PartyId], Sequence[str]]:
        """By operator and EVSP, the negotiations in which the EVSP waits for an offer; those of a
        party, or of None: all."""
        ...


class Markets(Protocol):
    def open(self) -> AbstractAsyncContextManager[Market]: ...


class Book(Protocol):
    """Contracts in memory."""

    def roamers(self) -> Mapping[PartyId, Collection[PartyId]]:
        """With whom each operator has, had or will have agreed on roaming."""
        ...

    def agreed(self, operator: PartyId, evsp: PartyId, at: datetime) -> Agreed | None: ...
