"""The log of all that happened, from the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridroam.office import open_core
from kit import event_log
from kit.event_log import START, Cursor, Event
from roaming.events import EventType
from roaming.party import PartyId
from roaming.refusal import Malformed

EVENTS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class EventsAsked:
    """Which events; no types and no party: all of them. `limit` None: to the end of the log."""

    after: Cursor = START
    types: Sequence[EventType] = ()
    party: PartyId | None = None
    limit: int | None = None


def cursor_of(said: str | None) -> Cursor:
    if said is None:
        return START
    try:
        cursor = Cursor.parse(said)
        if not all(0 <= number < 1 << 63 for number in cursor):
            raise ValueError(said)
    except ValueError:
        raise Malformed(
            f"{said!r} is no cursor", field="--after", value=said, rule="as an event shows it"
        ) from None
    return cursor


def types_named(names: Sequence[str]) -> list[EventType]:
    for name in names:
        if name not in set(EventType):
            raise Malformed(
                f"there are no {name!r} events",
                field="--type",
                value=name,
                rule=", ".join(EventType),
            )
    return [EventType(name) for name in names]


async def tell_events(
    home: Path, database_url: str | None, asked: EventsAsked, tell: Callable[[Any], None]
) -> None:
    """The log behind a cursor, oldest first, up to its present end or `limit`."""
    left, after = asked.limit, asked.after
    async with open_core(home, database_url) as parts:
        while left is None or left > 0:
            async with parts.database.hot() as connection:
                page = await event_log.read(
                    connection,
                    after,
                    limit=EVENTS_AT_ONCE if left is None else min(left, EVENTS_AT_ONCE),
                    types=asked.types or None,
                    party=asked.party,
                )
            if not page:
                return
            for event in page:
                tell(_event_shown(event))
            after = page[-1].cursor
            left = None if left is None else left - len(page)


def _event_shown(event: Event) -> dict[str, Any]:
    return {
        "cursor": str(event.cursor),
        "type": event.type,
        "party": event.party,
        "occurred_at": event.occurred_at,
        "recorded_at": event.recorded_at,
        "stream": event.stream,
        "version": event.version,
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id,
        "body": event.body,
    }
