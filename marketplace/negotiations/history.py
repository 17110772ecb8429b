"""A contract's history: its negotiation, its agreement and what became of it, in one order.

It is read from the log, where each fact stands once for each party that it concerns; here it stands
once. Both sides are shown the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """A fact as the log has it. `hash` is that of the log's chain, so that none can be taken out or
    changed unseen."""

    subject: str
    type: str
    occurred_at: datetime
    data: Mapping[str, Any]
    hash: bytes


def told_once(entries: Sequence[Entry]) -> list[Entry]:
    """Without what stands there again for the other side, right after it in its stream."""
    kept: list[Entry] = []
    before: dict[str, Entry] = {}
    for one in entries:
        known = before.get(one.subject)
        if known is not None and _fact(known) == _fact(one):
            # A third time it is another fact.
            del before[one.subject]
            continue
        before[one.subject] = one
        kept.append(one)
    return kept


def _fact(one: Entry) -> tuple[str, datetime, Mapping[str, Any]]:
    return one.type, one.occurred_at, one.data
