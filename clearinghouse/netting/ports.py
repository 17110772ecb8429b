"""What netting asks of the outside world."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from clearinghouse.netting.model import ClearingRun, Obligation, Period
from kit.event_log import NewEvent
from roaming.party import PartyId


class Book(Protocol):
    """One open transaction. Leaving it commits; an exception undoes it."""

    async def obligations(
        self, period: Period, currency: str, party: PartyId | None
    ) -> Sequence[Obligation]:
        """What the ledger says is owed for charges of the period, by their value date.

        `party` None: everybody's. One obligation for each debtor and creditor.
        """

    async def record(self, run: ClearingRun, event: NewEvent) -> None: ...

    async def find(self, run_id: str) -> ClearingRun | None: ...

    async def runs(self, requested_by: Sequence[PartyId], limit: int) -> Sequence[ClearingRun]:
        """The latest runs that these parties asked for, newest first, without their lines."""


class Books(Protocol):
    def open(self) -> AbstractAsyncContextManager[Book]: ...
