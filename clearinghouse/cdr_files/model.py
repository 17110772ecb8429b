"""What a file of records must be to be taken, and what becomes of it.

As in telecom clearing (TAP3 and RAP), a fault of the file is fatal: the file goes back and nothing
of it is booked. A fault of a record is severe: that record goes back, and the file is taken.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from roaming.money import BadMoney, Money
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, Unknown


class FileRefused(Malformed):
    """A fatal fault: the file is returned, and nothing of it is booked."""


class FileIdTaken(Clash):
    """Another file was taken under this id; it stands."""


class UnknownFile(Unknown):
    """The caller has sent no file of this id."""


class State(StrEnum):
    """`receiving` until the last line is in; `refused` and `booked` are the ends."""

    RECEIVING = "receiving"
    REFUSED = "refused"
    BOOKING = "booking"
    BOOKED = "booked"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a file as a whole, and on which line, where it is one."""

    name: str
    says: str
    line: int | None = None


FATAL: Mapping[str, str] = {
    "no-header": "the first line is the header: file_id and sender",
    "file-id-differs": "the header names the file_id of the path",
    "sender-is-not-the-caller": "the sender is the party that calls",
    "line-unreadable": "every line is a JSON object, of at most 256 KiB",
    "no-trailer": "the last line is the trailer: records, energy_wh, totals",
    "records-mismatch": "the trailer counts the records of the file",
    "energy-mismatch": "the trailer adds up energy_wh of all records",
    "totals-mismatch": "the trailer adds up total_cost of all records, by currency",
    "file-id-taken": "one file under one file_id; a file that was refused may come again",
}
"""Every fatal fault, and the rule that it breaks."""
MOST_FAULTS = 100


@dataclass(frozen=True, slots=True)
class Header:
    file_id: str
    sender: str


@dataclass(frozen=True, slots=True)
class Trailer:
    """What the sender says is in the file. `totals`: amounts as texts, by currency."""

    records: int
    energy_wh: int
    totals: Mapping[str, str] | None


@dataclass(slots=True)
class Reckoning:
    """Adds up a file while it comes in, and notes what is wrong with it."""

    file_id: str
    caller: PartyId
    records: int = 0
    energy_wh: int = 0
    minor_by_currency: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    _hash: Any = field(default_factory=hashlib.sha256)

    def saw(self, line: bytes) -> None:
        """A line of the file, of whatever kind: files are told apart by all of them."""
        self._hash.update(line)
        self._hash.update(b"\n")

    @property
    def digest(self) -> bytes:
        found: bytes = self._hash.digest()
        return found

    def fault(self, name: str, says: str, line: int | None = None) -> None:
        assert name in FATAL
        if len(self.faults) < MOST_FAULTS:
            # It may quote the file, and PostgreSQL keeps no NUL in a text.
            self.faults.append(Fault(name, says.replace("\0", "\ufffd"), line))

    def opens(self, header: Header) -> None:
        if header.file_id != self.file_id:
            self.fault("file-id-differs", f"the header names {header.file_id[:64]}", 1)
        try:
            sender: str = PartyId(header.sender)
        except Malformed:
            sender = header.sender
        if sender != self.caller:
            self.fault("sender-is-not-the-caller", f"the header names {sender[:64]}", 1)

    def add(self, energy_wh: object, currency: object, excl_vat: object) -> None:
        """A record, as far as it can be read: one that is malformed adds what it tells."""
        self.records += 1
        if type(energy_wh) is int:
            self.energy_wh += energy_wh
        try:
            cost = Money.parse(f"{excl_vat} {currency}")
        except BadMoney:
            return
        self.minor_by_currency[cost.currency] += cost.minor

    def closes(self, trailer: Trailer, line: int) -> None:
        if trailer.records != self.records:
            says = f"the trailer says {trailer.records}, the file has {self.records}"
            self.fault("records-mismatch", says, line)
        if trailer.energy_wh != self.energy_wh:
            says = f"the trailer says {trailer.energy_wh} Wh, the file has {self.energy_wh} Wh"
            self.fault("energy-mismatch", says, line)
        if trailer.totals is None:
            return
        try:
            told = {one: Money.parse(f"{text} {one}") for one, text in trailer.totals.items()}
        except BadMoney as bad:
            self.fault("totals-mismatch", bad.detail, line)
            return
        for currency in sorted({*told, *self.minor_by_currency}):
            said = told.get(currency, Money.zero(currency))
            found = Money(self.minor_by_currency[currency], currency)
            if said != found:
                says = f"the trailer says {said}, the file has {found}"
                self.fault("totals-mismatch", says, line)

    @property
    def totals(self) -> dict[str, str]:
        return {
            currency: Money(minor, currency).figure
            for currency, minor in sorted(self.minor_by_currency.items())
        }


@dataclass(frozen=True, slots=True)
class File:
    """A file as the house keeps it. The counts grow while it is booked."""

    upload_id: str
    operator: PartyId
    file_id: str
    state: State
    begun_at: datetime
    finished_at: datetime | None
    digest: bytes | None
    records: int
    energy_wh: int
    totals: Mapping[str, str]
    faults: Sequence[Fault]
    accepted: int
    flagged: int
    rejected: int


@dataclass(frozen=True, slots=True)
class LineOutcome:
    """What became of one record of a file; `state` is None until it is booked."""

    line: int
    cdr_id: str | None
    state: str | None
    reasons: Sequence[tuple[str, str]]


def refusal_of(faults: Sequence[Fault], file_id: str) -> FileRefused | FileIdTaken:
    """The refusal of a file, by its first fault."""
    first = faults[0]
    kind = FileIdTaken if first.name == "file-id-taken" else FileRefused
    more = f" (and {len(faults) - 1} more: read the file's report)" if len(faults) > 1 else ""
    place = f"line {first.line}: " if first.line is not None else ""
    return kind(
        f"{first.name}: {place}{first.says}{more}",
        field="file_id" if first.line is None else f"line {first.line}",
        value=file_id,
        rule=FATAL[first.name],
    )
