"""What taking in files asks of the outside world."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from clearinghouse.cdr_files.model import File, LineOutcome, Reckoning
from clearinghouse.cdrs.wire import CdrAnswer
from roaming.party import PartyId


class Intake(Protocol):
    async def take(
        self, operator: PartyId, raws: Sequence[bytes]
    ) -> Sequence[tuple[CdrAnswer, bool]]:
        """Take in an operator's records; each one's answer, and whether it was known already."""


class Files(Protocol):
    async def begin(self, operator: PartyId, file_id: str, now: datetime) -> str:
        """Room for a file that comes in now; the id of this attempt."""

    async def stage(
        self, upload_id: str, lines: Sequence[tuple[int, bytes]], now: datetime
    ) -> None:
        """Keep lines until the whole file is there."""

    async def close(self, upload_id: str, reckoned: Reckoning, now: datetime) -> File:
        """The file is in: it is to be booked, or refused, or one that was taken before.

        Of two attempts with one file_id that end at the same time, one is first.
        """

    async def forget(self, upload_id: str) -> None:
        """An attempt that broke off."""

    async def forget_broken(self, before: datetime) -> None:
        """Attempts of which nothing has been heard since `before`."""

    async def next_to_book(self, now: datetime) -> File | None:
        """A file with records to book: the one that has waited longest."""

    async def to_book(self, upload_id: str, most: int) -> Sequence[tuple[int, bytes]]:
        """The first of its records that are not booked."""

    async def settle(self, upload_id: str, outcomes: Sequence[LineOutcome]) -> None:
        """What became of records; one that is settled already is not counted again."""

    async def finish(self, file: File, now: datetime) -> None:
        """All is booked: the file's end, and its event."""

    async def find(self, operator: PartyId, file_id: str) -> File | None:
        """The file that was taken under this id, else the last attempt."""

    async def lines(
        self, upload_id: str, *, after: int, state: str | None, limit: int
    ) -> Sequence[LineOutcome]: ...
