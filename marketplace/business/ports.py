"""What business details need: the details kept, and who is whose contract partner."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from marketplace.business.model import BusinessDetails
from roaming.party import PartyId

CHANNEL = "business_details"
"""NOTIFY when somebody's details change."""


class File(Protocol):
    """Business details, in one transaction."""

    async def is_registered(self, party: PartyId) -> bool: ...

    async def have_a_contract(self, one: PartyId, other: PartyId) -> bool:
        """Whether either has ever been provider or requester of the other."""
        ...

    async def lock(self, party: PartyId) -> None:
        """Nobody else changes this party's details until we are done."""
        ...

    async def find(self, party: PartyId, at: datetime) -> BusinessDetails | None:
        """What holds at a moment."""
        ...

    async def history(self, party: PartyId) -> Sequence[BusinessDetails]:
        """All that was ever told, in the order of telling."""
        ...

    async def add(self, details: BusinessDetails, by: PartyId, now: datetime) -> None: ...


class Files(Protocol):
    def open(self) -> AbstractAsyncContextManager[File]: ...


class Source(Protocol):
    """What the book in memory is read from."""

    async def count(self) -> int:
        """How many details there are. None is ever changed or deleted: the same number, the same
        details."""
        ...

    async def all(self) -> Sequence[BusinessDetails]:
        """All that was ever told, in the order of telling."""
        ...


class Memory(Protocol):
    async def refresh(self) -> None:
        """See in this process what has just been committed."""
        ...
