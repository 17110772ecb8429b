"""The picture of the day: what the log tells, added up for the eye. Pure; rebuilt from event 0.

Everything here can be dropped and made again from the log, which is why nothing else is asked.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kit.event_log import Event
from roaming.events import EventType
from roaming.evse_id import EvseId
from roaming.money import Money

SHOWN_REFUSALS = 60
# A card was accepted, and nothing was heard since: nobody charges there any more.
LONGEST_CHARGE = timedelta(hours=24)
# The clock of a day steps over what comes late. Further back than this, another day is played.
LATE = timedelta(hours=24)

# What the page is told about; the rest of the log passes it by.
TOLD = (
    EventType.AUTHORISATION_DECIDED,
    EventType.CDR_ACCEPTED,
    EventType.CDR_REJECTED,
    EventType.CDRS_DELIVERED,
    EventType.CHARGE_STARTED,
    EventType.CHARGE_STOPPED,
    EventType.CLEARING_RUN_RECORDED,
)


@dataclass(slots=True)
class Day:
    """Counters, who charges now, who owes whom, and why some were refused."""

    clock: datetime | None = None
    authorised: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    refusals: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=SHOWN_REFUSALS))
    charging: set[str] = field(default_factory=set)
    # Where only the clearing house hears of charges: accepted, and no record yet, since when.
    expected: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    # Operators whose charge points tell of starts and stops themselves.
    telling: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    cdrs: int = 0
    rejected: int = 0
    delivered: int = 0
    energy_wh: int = 0
    # (debtor, creditor, currency) -> [amount_minor excluding VAT, number of CDRs]
    debts: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    # currency -> the latest multilateral clearing run: its id, and how many CDRs it cleared
    cleared: dict[str, dict[str, Any]] = field(default_factory=dict)

    def apply(self, event: Event) -> dict[str, Any] | None:
        """Take one event in; the message for the open pages, or None when nothing changed.

        Any message may say `lit` (an EVSE where a charge begins) and `dark` (EVSEs where none is).
        """
        handler = _HANDLERS.get(event.type)
        if handler is None:
            return None
        if event.type in _MOVES_CLOCK:
            self._move_clock(event)
        told = handler(self, event)
        return None if told is None else {"clock": _shown(self.clock), **told}

    def _move_clock(self, event: Event) -> None:
        # What a partner says of the future is not yet the time of day.
        at = min(event.occurred_at, event.recorded_at)
        if self.clock is None or at > self.clock or self.clock - at > LATE:
            self.clock = at

    def state(self) -> dict[str, Any]:
        """All that a page needs when it opens."""
        return {
            "clock": _shown(self.clock),
            "authorised": self.authorised,
            "refused": dict(self.refused),
            "refusals": list(self.refusals),
            "charging": sorted(self.charging | self.expected.keys()),
            "used": sorted(self.used),
            "cdrs": self.cdrs,
            "rejected": self.rejected,
            "delivered": self.delivered,
            "energy_wh": self.energy_wh,
            "debts": [
                {
                    "debtor": debtor,
                    "creditor": creditor,
                    "currency": currency,
                    "amount_minor": amount_minor,
                    "cdrs": cdrs,
                }
                for (debtor, creditor, currency), (amount_minor, cdrs) in self.debts.items()
            ],
            "cleared": dict(self.cleared),
        }


def _decided(day: Day, event: Event) -> dict[str, Any]:
    body = event.body
    evse_id = body["evse_id"]
    if body["decision"] == "accepted":
        day.authorised += 1
        day.used.add(evse_id)
        told = {"kind": "authorised", "evse": evse_id}
        if event.party in day.telling:
            return told
        dark = _lapsed(day, event.occurred_at)
        # Put behind those that are waited for already: the dictionary is in order of time.
        day.expected.pop(evse_id, None)
        day.expected[evse_id] = (event.party, event.occurred_at)
        return told | {"lit": evse_id, "dark": dark}
    day.refused[body["reason"]] += 1
    refusal = {
        "at": _shown(event.occurred_at),
        "evse": evse_id,
        "reason": body["reason"],
        "evsp": body["evsp"],
    }
    day.refusals.appendleft(refusal)
    return {"kind": "refused", **refusal}


def _lapsed(day: Day, now: datetime) -> list[str]:
    lapsed = []
    for evse_id, (_, since) in day.expected.items():
        if now - since <= LONGEST_CHARGE:
            break
        lapsed.append(evse_id)
    for evse_id in lapsed:
        del day.expected[evse_id]
    return lapsed


def _started(day: Day, event: Event) -> dict[str, Any] | None:
    dark = []
    if event.party not in day.telling:
        # From now on this operator's charge points say so themselves.
        day.telling.add(event.party)
        dark = [evse for evse, (operator, _) in day.expected.items() if operator == event.party]
        for evse in dark:
            del day.expected[evse]
    evse_id = _evse_of(event.body)
    if evse_id is None:
        return {"kind": "started", "dark": dark} if dark else None
    day.charging.add(evse_id)
    day.used.add(evse_id)
    return {"kind": "started", "lit": evse_id, "dark": [one for one in dark if one != evse_id]}


def _stopped(day: Day, event: Event) -> dict[str, Any] | None:
    evse_id = _evse_of(event.body)
    if evse_id is None:
        return None
    day.charging.discard(evse_id)
    return {"kind": "stopped", "dark": [evse_id]}


def _evse_of(body: Mapping[str, Any]) -> str | None:
    """Charge points tell of themselves in the form that people read; the map has the other."""
    return None if body["evse_id"] is None else str(EvseId(body["evse_id"]))


def _accepted(day: Day, event: Event) -> dict[str, Any]:
    body = event.body
    price = body["price"]
    key = (body["debtor"], body["creditor"], price["currency"])
    debt = day.debts.setdefault(key, [0, 0])
    amount_minor = Money.of(Decimal(price["excl_vat"]), price["currency"]).minor
    debt[0] += amount_minor
    debt[1] += 1
    day.cdrs += 1
    day.energy_wh += body["energy_wh"]
    return {
        "kind": "cdr",
        "dark": _recorded(day, body),
        "debtor": key[0],
        "creditor": key[1],
        "currency": key[2],
        "amount_minor": amount_minor,
        "energy_wh": body["energy_wh"],
    }


def _recorded(day: Day, body: Mapping[str, Any]) -> list[str]:
    return [] if day.expected.pop(body["evse_id"], None) is None else [body["evse_id"]]


def _rejected(day: Day, event: Event) -> dict[str, Any]:
    day.rejected += 1
    return {"kind": "rejected", "dark": _recorded(day, event.body)}


def _delivered(day: Day, event: Event) -> dict[str, Any]:
    day.delivered += event.body["cdrs"]
    return {"kind": "delivered", "count": event.body["cdrs"]}


def _cleared(day: Day, event: Event) -> dict[str, Any] | None:
    body = event.body
    if body["strategy"] != "multilateral":
        return None
    run = {"run_id": body["run_id"], "cdrs": body["cdrs"]}
    day.cleared[body["currency"]] = run
    return {"kind": "cleared", "currency": body["currency"], **run}


def _shown(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


_HANDLERS: dict[str, Callable[[Day, Event], dict[str, Any] | None]] = {
    EventType.AUTHORISATION_DECIDED: _decided,
    EventType.CHARGE_STARTED: _started,
    EventType.CHARGE_STOPPED: _stopped,
    EventType.CDR_ACCEPTED: _accepted,
    EventType.CDR_REJECTED: _rejected,
    EventType.CDRS_DELIVERED: _delivered,
    EventType.CLEARING_RUN_RECORDED: _cleared,
}
# The day's clock is that of cards and plugs; records about them may come hours later.
_MOVES_CLOCK = {
    EventType.AUTHORISATION_DECIDED,
    EventType.CHARGE_STARTED,
    EventType.CHARGE_STOPPED,
}
