"""What reports need: contracts as far as they are concerned, and the records of calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Protocol

from gateway.reports.model import Agreement, Counts, Key, Listed, Question, Spending
from gateway.usage.model import UsageRecord


class Agreements(Protocol):
    async def concerning(self, question: Question) -> Sequence[Agreement]:
        """The contracts that a question is about and that have a price or a level agreed, as far
        as they are in force in that time.
        """
        ...

    def listed(self, question: Question) -> AsyncIterator[Sequence[Listed]]:
        """All contracts that a question is about, so many at a time."""
        ...


class Records(Protocol):
    async def counted(self, question: Question) -> Sequence[tuple[Key, Counts]]:
        """What became of calls, in steps; never older than the records. TooMuchToReckon."""
        ...

    async def spent(
        self, question: Question, *, by_quarter: Collection[str], packs: Collection[str]
    ) -> Mapping[str, Spending]:
        """By contract, what its price goes by, from the first day of the first month on.

        `by_quarter`, `packs`: the contracts where that is to be told too.
        """
        ...

    def calls(self, question: Question) -> AsyncIterator[Sequence[UsageRecord]]:
        """A party's own records, in the order of their calls, so many at a time."""
        ...
