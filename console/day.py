"""The picture of the day: what the log tells, added up for the eye. Pure; rebuilt from event 0.

Everything here can be dropped and made again from the log, which is why nothing else is asked.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kit.event_log import Event
from roaming.events import EventType
from roaming.money import Money

SHOWN_REFUSALS = 60

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

    clock: str | None = None
    authorised: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    refusals: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=SHOWN_REFUSALS))
    charging: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    cdrs: int = 0
    rejected: int = 0
    delivered: int = 0
    energy_wh: int = 0
    # (debtor, creditor, currency) -> [amount_minor excluding VAT, number of CDRs]
    debts: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    # currency -> the clearing run with the latest multilateral payments
    cleared: dict[str, str] = field(default_factory=dict)

    def apply(self, event: Event) -> dict[str, Any] | None:
        """Take one event in; the message for the open pages, or None when nothing changed."""
        body = event.body
        handler = _HANDLERS.get(event.type)
        if handler is None:
            return None
        if event.type in _MOVES_CLOCK:
            self.clock = event.occurred_at.isoformat()
        told = handler(self, body)
        return None if told is None else {"clock": self.clock, **told}

    def state(self) -> dict[str, Any]:
        """All that a page needs when it opens."""
        return {
            "clock": self.clock,
            "authorised": self.authorised,
            "refused": dict(self.refused),
            "refusals": list(self.refusals),
            "charging": sorted(self.charging),
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


def _decided(day: Day, body: Mapping[str, Any]) -> dict[str, Any]:
    if body["decision"] == "accepted":
        day.authorised += 1
        day.used.add(body["evse_id"])
        return {"kind": "authorised", "evse": body["evse_id"]}
    day.refused[body["reason"]] += 1
    refusal = {
        "clock": day.clock,
        "evse": body["evse_id"],
        "reason": body["reason"],
        "evsp": body["evsp"],
    }
    day.refusals.appendleft(refusal)
    return {"kind": "refused", **refusal}


def _started(day: Day, body: Mapping[str, Any]) -> dict[str, Any]:
    day.charging.add(body["evse_id"])
    return {"kind": "started", "evse": body["evse_id"]}


def _stopped(day: Day, body: Mapping[str, Any]) -> dict[str, Any]:
    day.charging.discard(body["evse_id"])
    return {"kind": "stopped", "evse": body["evse_id"]}


def _accepted(day: Day, body: Mapping[str, Any]) -> dict[str, Any]:
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
        "evse": body["evse_id"],
        "debtor": key[0],
        "creditor": key[1],
        "currency": key[2],
        "amount_minor": amount_minor,
        "energy_wh": body["energy_wh"],
    }


def _rejected(day: Day, _: Mapping[str, Any]) -> dict[str, Any]:
    day.rejected += 1
    return {"kind": "rejected"}


def _delivered(day: Day, body: Mapping[str, Any]) -> dict[str, Any]:
    day.delivered += body["cdrs"]
    return {"kind": "delivered", "count": body["cdrs"]}


def _cleared(day: Day, body: Mapping[str, Any]) -> dict[str, Any] | None:
    if body["strategy"] != "multilateral":
        return None
    day.cleared[body["currency"]] = body["run_id"]
    return {"kind": "cleared", "currency": body["currency"], "run_id": body["run_id"]}


_HANDLERS: dict[str, Callable[[Day, Mapping[str, Any]], dict[str, Any] | None]] = {
    EventType.AUTHORISATION_DECIDED: _decided,
    EventType.CHARGE_STARTED: _started,
    EventType.CHARGE_STOPPED: _stopped,
    EventType.CDR_ACCEPTED: _accepted,
    EventType.CDR_REJECTED: _rejected,
    EventType.CDRS_DELIVERED: _delivered,
    EventType.CLEARING_RUN_RECORDED: _cleared,
}
# The day's clock is that of charges, not of our own book-keeping about them.
_MOVES_CLOCK = {
    EventType.AUTHORISATION_DECIDED,
    EventType.CHARGE_STARTED,
    EventType.CHARGE_STOPPED,
    EventType.CDR_ACCEPTED,
}
