"""What exchange asks of the outside world: rates kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from typing import Protocol

from clearinghouse.exchange.model import Rate

Told = tuple[str, str, date]
"""Base, quote and day: what has one rate."""


class Book(Protocol):
    """Rates, in one transaction."""

    async def add(self, rates: Sequence[Rate], now: datetime) -> Mapping[Told, Rate]:
        """Keep those whose day has none yet. What stood there already, by what it is of."""
        ...

    async def around(self, currencies: Collection[str], first: date, last: date) -> Sequence[Rate]:
        """All rates of these days with one of these currencies on either side."""
        ...

    async def latest(self) -> Sequence[Rate]:
        """The last rate of each pair."""
        ...


class Books(Protocol):
    def open(self) -> AbstractAsyncContextManager[Book]: ...
