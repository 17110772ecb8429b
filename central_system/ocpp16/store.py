"""The journal on PostgreSQL: messages of many stations, what they change and how they are
answered, in one commit.

Law: an answer leaves only after the commit that holds the message, its changes and the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from central_system.cards.model import spelt
from central_system.ocpp16.ports import Entry, Sealer
from central_system.stations.model import Boot, StatusChange
from central_system.stations.store import take_boots, take_signs_of_life, take_statuses
from central_system.transactions import flows as charges
from central_system.transactions.model import CdrState, Kept, Readings, Start, Stop
from central_system.transactions.store import begin, end, take_readings
from kit import event_log
from kit.batching import Batcher
from kit.database import Database, Hot
from kit.event_log import NewEvent
from roaming.events import EventType

MOST_AT_ONCE = 200

Effects = TypeVar("Effects")
# A place in a body where a card is named: the member's holder, its name, and the card.
Place = tuple[dict[str, Any], str, str]


class SqlJournal:
    """Writes batches. `on_waiting` is called when a record has come to wait for being sent."""

    def __init__(
        self, database: Database, sealer: Sealer, *, on_waiting: Callable[[], None]
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._on_waiting = on_waiting
        self._batches: Batcher[Entry, Mapping[str, Any] | None] = Batcher(
            self._write, most=MOST_AT_ONCE
        )

    async def close(self) -> None:
        await self._batches.close()

    async def write(self, entry: Entry) -> Mapping[str, Any] | None:
        return await self._batches.put(entry)

    async def _write(self, entries: Sequence[Entry]) -> Sequence[Mapping[str, Any] | None]:
        async with self._database.hot() as connection:
            kept = await self._take_effects(connection, entries)
            answers = [
                None if entry.answer is None else entry.answer(one)
                for entry, one in zip(entries, kept, strict=True)
            ]
            await self._tell(connection, entries, kept, answers)
        if any(one is not None and _waits(one) for one in kept):
            self._on_waiting()
        return answers

    async def _take_effects(self, connection: Hot, entries: Sequence[Entry]) -> list[Kept | None]:
        kept: list[Kept | None] = [None] * len(entries)
        now = max(entry.received_at for entry in entries)
        if boots := _of(entries, Boot):
            await take_boots(connection, [(entries[n].ref, one) for n, one in boots], now)
        if alive := [entry.ref for entry in entries if entry.alive]:
            await take_signs_of_life(connection, alive, now)
        if statuses := _of(entries, StatusChange):
            await take_statuses(connection, [(entries[n].ref, one) for n, one in statuses])
        if starts := _of(entries, Start):
            begun = await begin(connection, [one for _, one in starts])
            for (n, _), charge in zip(starts, begun, strict=True):
                kept[n] = charge
        if told := _of(entries, Readings):
            await take_readings(connection, [one for _, one in told])
        if stops := _of(entries, Stop):
            ended = await end(connection, [one for _, one in stops])
            for (n, _), over in zip(stops, ended, strict=True):
                kept[n] = over
        return kept

    async def _tell(
        self,
        connection: Hot,
        entries: Sequence[Entry],
        kept: Sequence[Kept | None],
        answers: Sequence[Mapping[str, Any] | None],
    ) -> None:
        events: list[NewEvent] = []
        places: list[Place] = []
        for entry, one, answer in zip(entries, kept, answers, strict=True):
            heard = _copied(entry.heard, entry.personal, places)
            events.append(_message(entry, {"direction": "in", **heard}))
            if one is not None and one.changed:
                happened = charges.started_event if _runs(one) else charges.stopped_event
                events.append(happened(one.charge, entry.unique_id))
            if answer is not None:
                said = {"direction": "out", "action": entry.heard.get("action"), **answer}
                events.append(_message(entry, {"unique_id": entry.unique_id, **said}))
        if places:
            sealed = await self._sealer.seal_many(connection, [card for _, _, card in places])
            for (holder, name, _), text in zip(places, sealed, strict=True):
                holder[name] = text
        await event_log.append(connection, events)


def _of(entries: Sequence[Entry], kind: type[Effects]) -> list[tuple[int, Effects]]:
    return [(n, one.effect) for n, one in enumerate(entries) if isinstance(one.effect, kind)]


def _runs(kept: Kept) -> bool:
    return kept.charge.stopped_at is None


def _waits(kept: Kept) -> bool:
    return kept.changed and kept.charge.cdr_state is CdrState.WAITING


def _message(entry: Entry, body: Mapping[str, Any]) -> NewEvent:
    return NewEvent(
        stream=entry.ref.stream,
        type=EventType.OCPP_MESSAGE,
        party=entry.ref.operator,
        body=body,
        occurred_at=entry.received_at,
        correlation_id=entry.unique_id,
    )


def _copied(
    body: Mapping[str, Any], personal: frozenset[str], places: list[Place]
) -> Mapping[str, Any]:
    """The body, copied if it names cards; where it does is noted in `places`."""
    return _copy_of(body, personal, places) if personal else body


def _copy_of(node: Any, personal: frozenset[str], places: list[Place]) -> Any:
    if isinstance(node, Mapping):
        copy: dict[str, Any] = {}
        for name, value in node.items():
            if name.lower() in personal and not _is_empty(value):
                # The one spelling by which the clearing house knows the card, and forgets it.
                copy[name] = None
                places.append((copy, name, spelt(str(value))))
            else:
                copy[name] = _copy_of(value, personal, places)
        return copy
    if isinstance(node, str) or not isinstance(node, Iterable):
        return node
    return [_copy_of(one, personal, places) for one in node]


def _is_empty(value: object) -> bool:
    return value is None or value == ""
