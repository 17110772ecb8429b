"""What packs need: the contract that they belong to, and the books that they stand in."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gateway.packs.model import Balance, Bargain, Purchase
from roaming.party import PartyId


class Bargains(Protocol):
    async def find(self, party: PartyId, contract_id: str) -> Bargain:
        """A contract of this party's, as it is now; raises Unknown for one between others."""
        ...


class Book(Protocol):
    """Purchases and balances, in one transaction."""

    async def buy(self, bought: Purchase, bargain: Bargain, key: str | None) -> Purchase:
        """Keep a purchase, tell of it, and let its calls be made. The same key buys once: what was
        bought with it before is what comes back.
        """
        ...

    async def balance(self, contract_id: str) -> Balance: ...

    async def purchases(
        self, contract_id: str, *, before: str | None, limit: int
    ) -> Sequence[Purchase]:
        """The latest first; `before` is the last one of the page before."""
        ...


class Books(Protocol):
    def open(self) -> AbstractAsyncContextManager[Book]: ...
