"""What keeping customer contracts asks of the outside world."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from clearinghouse.customers.model import CustomerContract, Kept, Mode, Upload
from kit.event_log import NewEvent
from roaming.contract_id import ContractId
from roaming.party import PartyId
from roaming.token import TokenUid


class NotAllNew(Exception):
    """Of contracts taken for new ones, one or a token uid is known; the transaction is lost."""


class Book(Protocol):
    """One EVSP's contracts in one open transaction. Leaving it commits, an exception undoes it."""

    async def find(self, contract_id: ContractId) -> CustomerContract | None: ...

    async def held_elsewhere(self, uids: Sequence[TokenUid]) -> frozenset[TokenUid]:
        """Those of `uids` that contracts of other EVSPs hold."""

    async def add(self, contracts: Sequence[CustomerContract], at: datetime) -> Kept:
        """Write contracts that are all new, with uids that nobody holds, faster than `keep` does;
        raises NotAllNew where one is not, and the whole transaction is to be done otherwise."""

    async def keep(self, contracts: Sequence[CustomerContract], at: datetime) -> Kept:
        """Write contracts, each id at most once; of two that name one uid the later has it.

        Raises TokensRaced when another EVSP took a uid since `held_elsewhere` was asked.
        """

    async def remove(self, contract_ids: Sequence[ContractId], at: datetime) -> int:
        """Take contracts out of use, and their uids from them; how many were in use."""

    async def upload(self, upload_id: str) -> Upload | None: ...

    async def begin_upload(self, upload_id: str, mode: Mode, at: datetime) -> Upload:
        """A new upload. A full list takes the place of one that was never completed."""

    async def save_upload(self, upload: Upload) -> None: ...

    async def list_named(self, upload: Upload, contract_ids: Sequence[ContractId]) -> None:
        """Remember that a full list names these contracts."""

    async def count_unlisted(self, upload: Upload) -> int:
        """How many active contracts are older than the upload, and not named by it."""

    async def end_unlisted(self, upload: Upload, at: datetime) -> None:
        """Block those."""

    async def tell(self, event: NewEvent) -> None: ...


class Customers(Protocol):
    def write(self, evsp: PartyId) -> AbstractAsyncContextManager[Book]:
        """Open the book of one EVSP; its writers wait for one another."""

    async def find(self, evsp: PartyId, contract_id: ContractId) -> CustomerContract | None: ...

    async def find_upload(self, evsp: PartyId, upload_id: str) -> Upload | None: ...

    async def page(
        self, evsp: PartyId, *, after: ContractId | None, limit: int
    ) -> Sequence[CustomerContract]:
        """Up to `limit` contracts of the EVSP in order of their id, beginning behind `after`."""
