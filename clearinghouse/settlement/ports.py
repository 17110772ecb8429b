"""What statements ask of the outside world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

from clearinghouse.netting.model import Obligation, Period
from clearinghouse.settlement.model import Item
from roaming.party import PartyId


class After(NamedTuple):
    """Where a page of items goes on: behind this charge."""

    value_at: datetime
    position: int


class Book(Protocol):
    async def obligations(
        self, period: Period, currency: str, party: PartyId | None
    ) -> Sequence[Obligation]:
        """What is owed for charges of the period, by value date; None is everybody's."""

    async def items(
        self, party: PartyId, period: Period, currency: str, *, after: After | None, limit: int
    ) -> Sequence[Item]:
        """The party's own charges of the period, by their value date."""


class Directory(Protocol):
    async def names(self) -> Mapping[str, str]:
        """What partners are called, by party."""


class Books(Protocol):
    def read(self) -> AbstractAsyncContextManager[Book]: ...
