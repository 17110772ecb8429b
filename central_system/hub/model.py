"""What the hub tells an operator, and the two ways in which it fails to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from roaming.refusal import Refusal, Unavailable

HUB_AWAY = "hub-unreachable"


class HubAway(Unavailable):
    """No answer to rely on: no connection, too slow, or the hub itself in trouble. Ask again."""


class HubRefused(Refusal):
    """The hub understood and said no; `kind` is the last part of its problem's type."""

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(detail, value=status, rule=kind)
        self.status = status
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Decision:
    """May this card charge? `reason` is the clearing house's word, or ours; None when accepted.

    `by_hub` is False where the operator's own list of cards answered.
    """

    accepted: bool
    reason: str | None = None
    authorisation_id: str | None = None
    valid_until: datetime | None = None
    by_hub: bool = True


@dataclass(frozen=True, slots=True)
class CdrAnswer:
    """What became of a record at the clearing house."""

    cdr_id: str | None
    state: str
    reasons: tuple[str, ...]
