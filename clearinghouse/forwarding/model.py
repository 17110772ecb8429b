"""Forwarding: every record to its EVSP, once by its delivery id, however long that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from clearinghouse.cdrs.model import Cdr
from roaming.party import PartyId
from roaming.refusal import Unknown


class UnknownDeadLetter(Unknown):
    """No dead letter by this id that is the caller's."""


class Place(NamedTuple):
    """A place in the log: transaction, position."""

    xid: int
    position: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.position}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """Records that go to an EVSP in one call: those behind `after`, up to `up_to`.

    The same records under the same `delivery_id` as often as it takes. `dead_letter` is the id of
    the dead letter that is sent again, else None. `attempts` counts those that failed.
    """

    delivery_id: str
    evsp: PartyId
    after: Place
    up_to: Place
    cdrs: Sequence[Cdr]
    attempts: int = 0
    dead_letter: int | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing to deliver now. `unfinished`: an older transaction still runs before what is next."""

    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back from an EVSP: an HTTP status, or None where none came; and a few words."""

    status: int | None
    says: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that its EVSP refuses. It keeps its place here until the EVSP asks for it again."""

    dead_letter_id: int
    evsp: PartyId
    operator: PartyId
    cdr_id: str
    status: int
    says: str
    refused_at: datetime
    replay_requested_at: datetime | None
    delivered_at: datetime | None


class Verdict(StrEnum):
    DELIVERED = "delivered"
    REFUSED = "refused"
    RETRY = "retry"


# These speak of the address, the access or the moment, not of the records: nothing is wrong with
# what was sent, and a mended address must find all of it.
_NOT_ABOUT_CONTENT = frozenset({401, 402, 403, 404, 405, 407, 408, 410, 421, 423, 425, 426, 429})


def verdict(reply: Reply) -> Verdict:
    """Whether the records have arrived, are refused for what they say, or must be sent again."""
    if reply.status is None:
        return Verdict.RETRY
    if 200 <= reply.status < 300:
        return Verdict.DELIVERED
    if 400 <= reply.status < 500 and reply.status not in _NOT_ABOUT_CONTENT:
        return Verdict.REFUSED
    return Verdict.RETRY


def delivery_id(evsp: PartyId, after: Place, up_to: Place) -> str:
    """The same for the same records, also in another process after a crash."""
    return f"{evsp.compact}-{after}-{up_to}"


def replay_id(evsp: PartyId, dead_letter_id: int, replays: int) -> str:
    """A new one for each time that the EVSP asks: it would answer the old one as before."""
    return f"{evsp.compact}-again-{dead_letter_id}-{replays}"


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait after failures in a row: doubling from `first_s` to `most_s`."""

    first_s: float = 0.2
    most_s: float = 60.0

    def pause_s(self, failures: int, chance: float) -> float:
        """Between half and all of the doubled time; `chance` in [0, 1) spreads the herd."""
        full = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 32))
        return full * (0.5 + chance / 2)
