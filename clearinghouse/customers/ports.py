"""What keeping customer contracts asks of the outside world."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from clearinghouse.customers.model import CustomerContract, Kept
from kit.event_log import NewEvent
from roaming.contract_id import ContractId
from roaming.party import PartyId
from roaming.token import TokenUid


class Book(Protocol):
    """One EVSP's contracts in one open transaction. Leaving it commits, an exception undoes it."""

    async def find(self, contract_id: ContractId) -> CustomerContract | None: ...

    async def held_elsewhere(self, uids: Sequence[TokenUid]) -> frozenset[TokenUid]:
        """Those of `uids` that contracts of other EVSPs hold."""

    async def keep(self, contracts: Sequence[CustomerContract], at: datetime) -> Kept:
        """Write contracts, each id at most once; of two that name one uid the later has it.

        Raises TokensRaced when another EVSP took a uid since `held_elsewhere` was asked.
        """

    async def tell(self, event: NewEvent) -> None: ...


class Customers(Protocol):
    def write(self, evsp: PartyId) -> AbstractAsyncContextManager[Book]:
        """Open the book of one EVSP; its writers wait for one another."""

    async def find(self, evsp: PartyId, contract_id: ContractId) -> CustomerContract | None: ...

    async def page(
        self, evsp: PartyId, *, after: ContractId | None, limit: int
    ) -> Sequence[CustomerContract]:
        """Up to `limit` contracts of the EVSP in order of their id, beginning behind `after`."""
