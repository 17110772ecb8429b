"""What a conversation with a charge point needs: a journal that is durable before any answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from central_system.stations.model import Boot, StationRef, StatusChange
from central_system.transactions.model import Kept, Readings, Start, Stop
from kit.database import Hot

Effect = Start | Stop | Readings | StatusChange | Boot | None
# What the answer is made from: the charge for a start or stop that is known, else None.
Answering = Callable[[Kept | None], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A message in, what it changes, and how it is answered once that is known.

    `heard`: the message as the log keeps it. `answer`: the answer as the log keeps it, with
    `payload` or `error`; None where nothing is answered. `personal`: names of members, in lower
    case, whose values name a card and are sealed in the log. `alive`: worth noting that the
    station was heard of.
    """

    ref: StationRef
    received_at: datetime
    unique_id: str
    heard: Mapping[str, Any]
    effect: Effect
    answer: Answering | None
    personal: frozenset[str]
    alive: bool


class Journal(Protocol):
    async def write(self, entry: Entry) -> Mapping[str, Any] | None:
        """The answer; when this returns, message, changes and answer are on disk."""
        ...


class Sealer(Protocol):
    """kit.personal_data.Vault: the log can forget a person."""

    async def seal_many(self, connection: Hot, uids: Sequence[str]) -> list[str]: ...
