"""What Contract Validation needs: contracts in memory, and somebody who signs."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from marketplace.contracts.entries import NotInForce, Standing
from marketplace.offerings.model import Terms
from roaming.party import PartyId


class Book(Protocol):
    """Contracts as this process knows them; a look-up waits for nothing."""

    def standing(
        self,
        requester: PartyId,
        provider: PartyId,
        service: str,
        major: int,
        at: datetime,
        *,
        sandbox: bool,
    ) -> Standing | NotInForce:
        """The contract in force at a moment, or why there is none. `sandbox`: the one for calls
        that are tried, else the live one."""
        ...

    def terms_of(self, standing: Standing) -> Terms: ...

    def age_s(self, now: datetime) -> float:
        """Seconds since this was last known to be current."""
        ...


class Signer(Protocol):
    def sign_compact(self, kind: str, payload: bytes, at: datetime) -> str:
        """A compact JWS (RFC 7515) of type `kind`, by a key that the hub publishes."""
        ...
