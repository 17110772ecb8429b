"""At which EVSE a card is held to the reader, and what is remembered of it."""

from __future__ import annotations

from datetime import UTC, datetime

from central_system.hub.model import Decision
from central_system.ocpp16.conversation import DECISIONS_MOST, Conversation, Remembered
from central_system.stations.model import StationRef
from roaming.evse_id import EvseId
from tests.central_system.fakes import OPERATOR

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
LEFT, RIGHT = EvseId("FR*PD1*E1"), EvseId("FR*PD1*E2")


def conversation(*evses: EvseId) -> Conversation:
    return Conversation(
        StationRef(OPERATOR, "CP1"), {number: evse for number, evse in enumerate(evses, 1)}
    )


def test_a_card_belongs_where_the_driver_was_last_seen_to_prepare() -> None:
    talk = conversation(LEFT, RIGHT)
    assert talk.evse_of_card() == LEFT
    talk.note_status(2, "Preparing")
    assert talk.evse_of_card() == RIGHT
    talk.note_status(1, "Preparing")
    assert talk.evse_of_card() == LEFT
    talk.note_status(1, "Charging")
    assert talk.evse_of_card() == RIGHT
    talk.note_status(2, "Available")
    assert talk.evse_of_card() == LEFT


def test_the_only_connector_is_the_one_whatever_its_number() -> None:
    talk = Conversation(StationRef(OPERATOR, "CP1"), {3: RIGHT})
    assert talk.evse_of_card() == RIGHT


def test_a_station_without_the_connector_has_no_evse_for_a_card() -> None:
    talk = Conversation(StationRef(OPERATOR, "CP1"), {2: LEFT, 3: RIGHT})
    assert talk.evse_of_card() is None


def test_memory_of_cards_is_short_and_keeps_the_latest() -> None:
    talk = conversation(LEFT)
    for number in range(DECISIONS_MOST + 5):
        talk.remember(f"CARD{number}", LEFT, Remembered(Decision(True), NOON))
    assert len(talk.decisions) == DECISIONS_MOST
    assert (f"CARD{DECISIONS_MOST + 4}", LEFT) in talk.decisions
    assert ("CARD0", LEFT) not in talk.decisions
