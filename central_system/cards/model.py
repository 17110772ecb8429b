"""A card of the operator's own: staff, fleet, neighbours. Its charges are nobody else's affair."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.refusal import Malformed

LONGEST_TAG = 20
CARDS_AT_ONCE = 5_000


class BadCard(Malformed):
    """A card that breaks a rule of its own."""


class CardStatus(StrEnum):
    ACCEPTED = "accepted"
    BLOCKED = "blocked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Card:
    id_tag: str
    status: CardStatus

    @classmethod
    def of(cls, id_tag: str, status: CardStatus) -> Card:
        """Raises BadCard. OCPP 1.6 section 7.28: an IdToken is a CiString20Type."""
        tag = spelt(id_tag)
        if not 0 < len(tag) <= LONGEST_TAG or not tag.isprintable() or not tag.isascii():
            raise BadCard(
                "no tag that a charge point could send",
                field="id_tag",
                value=f"{len(id_tag)} characters",
                rule=f"1 to {LONGEST_TAG} printable ASCII characters",
            )
        return cls(tag, status)


@dataclass(frozen=True, slots=True)
class Question:
    """May the holder of `id_tag` charge at `evse_id`? `at` is the time of the fact, if known.

    `evse_id` is None where the operator has enrolled no EVSE for the connector.
    """

    operator: PartyId
    evse_id: EvseId | None
    id_tag: str
    charge_id: str | None = None
    at: datetime | None = None


def spelt(id_tag: str) -> str:
    """The one spelling of a tag; it is case insensitive (OCPP 1.6, section 7.28)."""
    return id_tag.strip().upper() if id_tag.isascii() else id_tag.strip()
