"""What is told in the log about charges; nothing of it names a card."""

from __future__ import annotations

from typing import Any

from central_system.transactions.model import Charge
from kit.event_log import NewEvent
from roaming.events import EventType


def started_event(charge: Charge, correlation_id: str) -> NewEvent:
    """A charge began, by the charge point's clock."""
    start = charge.start
    body = {
        **_which(charge),
        "meter_start_wh": start.meter_start_wh,
        "accepted": start.decision.accepted,
        "reason": start.decision.reason,
    }
    return NewEvent(
        stream=start.ref.stream,
        type=EventType.CHARGE_STARTED,
        party=start.ref.operator,
        body=body,
        occurred_at=start.started_at,
        correlation_id=correlation_id,
    )


def stopped_event(charge: Charge, correlation_id: str) -> NewEvent:
    """A charge ended, by the charge point's clock."""
    assert charge.stopped_at is not None
    start = charge.start
    body = {
        **_which(charge),
        "end": charge.stopped_at,
        "energy_wh": charge.energy_wh,
        "reason": charge.stop_reason,
    }
    return NewEvent(
        stream=start.ref.stream,
        type=EventType.CHARGE_STOPPED,
        party=start.ref.operator,
        body=body,
        occurred_at=charge.stopped_at,
        correlation_id=correlation_id,
    )


def _which(charge: Charge) -> dict[str, Any]:
    start = charge.start
    return {
        "charge_point": start.ref.charge_point,
        "connector_id": start.connector_id,
        "evse_id": None if start.evse_id is None else start.evse_id.display,
        "transaction_id": charge.transaction_id,
        "start": start.started_at,
    }
