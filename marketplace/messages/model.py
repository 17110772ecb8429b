"""A message: one fact, told to one party, until that party has it.

Law: a fact that concerns two parties is a message to each of them, written in the transaction of
the fact itself. A message is acknowledged by the party's endpoint or by a call of the party's; of
one subject a later one is not sent before the earlier ones are acknowledged or given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from roaming.events import EventType
from roaming.party import PartyId
from roaming.refusal import Clash, Unknown


class UnknownMessage(Unknown):
    """No such message is to the caller."""


class NotADeadLetter(Clash):
    """Only what was given up is sent again by request; the rest goes by itself."""


OWN_EVENTS = "in-own-events"


class State(StrEnum):
    MUST_BE_SENT = "must-be-sent"
    ACKNOWLEDGED = "acknowledged"
    DEAD_LETTER = "dead-letter"


class Way(StrEnum):
    """How an acknowledgement came."""

    ENDPOINT = "endpoint"
    CALL = "call"


@dataclass(frozen=True, slots=True)
class Fact:
    """What happened to a subject (a stream of the log), by whom, and whom it concerns."""

    subject: str
    type: EventType
    by: PartyId
    parties: tuple[PartyId, ...]
    body: Mapping[str, Any]
    at: datetime

    @property
    def hearers(self) -> list[PartyId]:
        """Each party once, the one that acted first."""
        return sorted(set(self.parties), key=lambda party: (party != self.by, party))


@dataclass(frozen=True, slots=True)
class Message:
    """`position` is its place among all messages. `has_endpoint`: whether there is anywhere to send
    it; where there is not, it is read in the topic own-events, or by asking for it."""

    message_id: str
    position: int
    party: PartyId
    subject: str
    type: str
    body: Mapping[str, Any]
    occurred_at: datetime
    state: State
    has_endpoint: bool
    attempts: int = 0
    failing_since: datetime | None = None
    next_attempt_at: datetime | None = None
    says: str | None = None
    settled_at: datetime | None = None
    way: Way | None = None

    @property
    def reached(self) -> str:
        """How far it has come: its state, or that it lies in own-events for want of an endpoint."""
        if self.state is State.MUST_BE_SENT and not self.has_endpoint:
            return OWN_EVENTS
        return self.state.value


@dataclass(frozen=True, slots=True)
class Reply:
    """What an endpoint said: an HTTP status, or None where none came; and a few words."""

    status: int | None
    says: str


class Verdict(StrEnum):
    DELIVERED = "delivered"
    REFUSED = "refused"
    RETRY = "retry"


# These speak of the address, the access or the moment, not of the message.
_NOT_ABOUT_CONTENT = frozenset({401, 402, 403, 404, 405, 407, 408, 410, 421, 423, 425, 426, 429})


def verdict(reply: Reply) -> Verdict:
    """Whether a message has arrived, is refused for what it says, or must be sent again."""
    if reply.status is None:
        return Verdict.RETRY
    if 200 <= reply.status < 300:
        return Verdict.DELIVERED
    if 400 <= reply.status < 500 and reply.status not in _NOT_ABOUT_CONTENT:
        return Verdict.REFUSED
    return Verdict.RETRY


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait after failures in a row, doubling; and when to give up."""

    first_s: float = 1.0
    most_s: float = 300.0
    give_up_after: timedelta = timedelta(days=7)

    def pause_s(self, failures: int, chance: float) -> float:
        """Between half and all of the doubled time; `chance` in [0, 1) spreads the herd."""
        full = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 32))
        return full * (0.5 + chance / 2)

    def hopeless(self, failing_since: datetime | None, now: datetime) -> bool:
        return failing_since is not None and now - failing_since >= self.give_up_after
