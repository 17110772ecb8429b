"""What closing a month asks of the outside world."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from clearinghouse.periods.model import Month, Period, Total
from kit.event_log import NewEvent


class Book(Protocol):
    """Months in one open transaction. Leaving it commits; an exception undoes it."""

    async def find(self, month: Month) -> Period:
        """The month as it stands; open where nothing was ever kept about it."""

    async def keep(self, period: Period, event: NewEvent) -> None: ...

    async def known(self) -> Sequence[Period]:
        """Every month that anything was ever posted to, or that was closed, oldest first."""

    async def totals(self, month: Month) -> Sequence[Total]:
        """What the ledger says that the month came to, by currency."""

    async def post_closing(self, month: Month, now: datetime) -> None:
        """What the house posts when no more charges come: its fees."""


class Books(Protocol):
    def read(self) -> AbstractAsyncContextManager[Book]: ...

    def alone(self) -> AbstractAsyncContextManager[Book]:
        """No posting is under way anywhere until it is left."""

    def closing(self, month: Month) -> AbstractAsyncContextManager[Book]:
        """For who closes this month; who closes any waits. Postings to other months go on."""
