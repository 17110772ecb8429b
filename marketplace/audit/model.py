"""What is told of an event to somebody, and to whom it is told.

A party sees what the log tells to it, which is its own affairs and both sides' steps in its
contracts and negotiations, and besides what becomes of the services that it has contracts on and
of the packs that are bought of it. The hub's operator sees all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from roaming.events import EventType
from roaming.party import PartyId
from roaming.refusal import Malformed, NotYours

MOST_AT_ONCE = 1_000
SEEN_BESIDE = (
    EventType.SERVICE_STATUS_CHANGED,
    EventType.SERVICE_INTERFACE_CHANGED,
    EventType.PACK_BOUGHT,
)
"""What others do that a party sees without its being told: of a service nothing that is its
provider's alone, such as where it is answered."""
_LARGEST = 1 << 63


class BadQuestion(Malformed):
    """A question to the audit that cannot be answered."""


class NotYourAudit(NotYours):
    """Only the hub's operator asks about another party."""


class Place(NamedTuple):
    """Where an event stands in the log."""

    xid: int
    position: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.position}"


END = Place(_LARGEST - 1, _LARGEST - 1)


def place_of(text: str) -> Place:
    """A cursor as a page tells it; BadQuestion for anything else."""
    xid, dash, position = text.partition("-")
    numbers = (xid, position)
    if dash and all(one.isascii() and one.isdigit() and len(one) < 20 for one in numbers):
        place = Place(int(xid), int(position))
        if max(place) < _LARGEST:
            return place
    raise BadQuestion("this is no cursor", field="cursor", value=text[:50], rule="as a page has it")


@dataclass(frozen=True, slots=True)
class Question:
    """Which events, the newest first. `party` None: everybody's.

    `reader` None: the hub's operator, who hears every name. Of others' actors anybody else hears
    the kind alone, so an `actor` of another party finds nothing, as one that does not exist.
    """

    party: PartyId | None
    reader: PartyId | None
    since: datetime | None = None
    until: datetime | None = None
    types: tuple[EventType, ...] = ()
    actor: str | None = None
    stream: str | None = None
    before: Place = END
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One event: what happened, to whom it was told, who did it (`actor`), and for which party
    (`on_behalf_of`; None: the hub itself, or nobody knows)."""

    place: Place
    type: str
    party: str
    stream: str
    occurred_at: datetime
    recorded_at: datetime
    correlation_id: str | None
    actor: str | None
    actor_name: str | None
    on_behalf_of: str | None
    body: Mapping[str, Any]


def asked_by(caller: PartyId, party: PartyId | None, *, hub: PartyId) -> PartyId | None:
    """Whose audit it is that this caller is shown; None: everybody's. NotYourAudit."""
    if caller == hub:
        return party
    if party not in (None, caller):
        raise NotYourAudit("a party sees what concerns itself", field="party", value=party)
    return caller


def told_to(entry: Entry, reader: PartyId | None) -> Entry:
    """What this one may know: of who acts for another party it hears the kind, not the name."""
    if reader is None or entry.on_behalf_of in (None, reader):
        return entry
    kind = None if entry.actor is None else entry.actor.partition(":")[0]
    return replace(entry, actor=kind, actor_name=None)
