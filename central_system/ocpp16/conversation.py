"""What is remembered of a charge point while it is connected, and what its messages may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from central_system.cards.ports import Cards, ClearingHouse
from central_system.hub.model import Decision
from central_system.ocpp16.ports import Effect
from central_system.stations.model import Station, StationRef
from central_system.transactions.model import Kept
from kit.clock import Clock
from roaming.evse_id import EvseId

# More cards than this are not held to one reader before one of them starts to charge.
DECISIONS_MOST = 16


@dataclass(frozen=True, slots=True)
class Remembered:
    """A decision, and when it was made by the station's clock (by ours if its is not known)."""

    decision: Decision
    at: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """The last card that was refused, and why: a display can say it."""

    id_tag: str
    decision: Decision


@dataclass(slots=True)
class Conversation:
    """One connection's memory. Nothing in it is needed to be right, only to be quick or helpful."""

    ref: StationRef
    evses: dict[int, EvseId] = field(default_factory=dict)
    # Connectors in state Preparing, the latest last.
    preparing: list[int] = field(default_factory=list)
    station_time: datetime | None = None
    decisions: dict[tuple[str, EvseId | None], Remembered] = field(default_factory=dict)
    last_refusal: Refused | None = None

    @classmethod
    def with_station(cls, station: Station) -> Conversation:
        conversation = cls(station.ref)
        conversation.learn(station)
        return conversation

    def learn(self, station: Station) -> None:
        """Take over the connectors as they are enrolled now."""
        self.evses = {
            one.connector_id: one.evse_id for one in station.connectors if one.evse_id is not None
        }
        preparing = [one for one in station.connectors if one.status == "Preparing"]
        preparing.sort(key=lambda one: one.status_at.timestamp() if one.status_at else 0.0)
        self.preparing = [one.connector_id for one in preparing]

    def note_status(self, connector_id: int, status: str) -> None:
        if connector_id in self.preparing:
            self.preparing.remove(connector_id)
        if status == "Preparing" and connector_id in self.evses:
            self.preparing.append(connector_id)

    def evse_of_card(self) -> EvseId | None:
        """At which EVSE a card is held to the reader: Authorize names no connector.

        Where the driver was last seen to prepare, else the only one, else connector 1.
        """
        if self.preparing:
            return self.evses.get(self.preparing[-1])
        if len(self.evses) == 1:
            return next(iter(self.evses.values()))
        return self.evses.get(1)

    def remember(self, id_tag: str, evse_id: EvseId | None, remembered: Remembered) -> None:
        self.decisions.pop((id_tag, evse_id), None)
        self.decisions[id_tag, evse_id] = remembered
        while len(self.decisions) > DECISIONS_MOST:
            del self.decisions[next(iter(self.decisions))]
        if not remembered.decision.accepted:
            self.last_refusal = Refused(id_tag, remembered.decision)


@dataclass(frozen=True, slots=True)
class Desk:
    """What messages may use. With `trust_station_time`, the station's clock is that of the day
    which is played: a card is judged at the time of the station's last message."""

    clock: Clock
    cards: Cards
    clearing_house: ClearingHouse
    heartbeat_interval_s: int = 300
    trust_station_time: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """What a message changes, and the answer (a call_result of the `ocpp` package) once it has."""

    reply: Callable[[Kept | None], Any]
    effect: Effect = None
    personal: frozenset[str] = frozenset()
