"""MeterValues (OCPP 1.6, section 4.7): readings while a car charges, or of the station itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ocpp.v16 import call, call_result

from central_system.ocpp16.conversation import Conversation, Desk, Work
from central_system.ocpp16.wire import moment
from central_system.transactions.model import Reading, Readings, register_wh


async def handle(request: call.MeterValues, conversation: Conversation, _: Desk) -> Work:
    """All of it is in the log; of a charge's readings the energy register is kept for its CDR."""
    readings = readings_of(request.meter_value, "meterValue")
    conversation.station_time = moment("meterValue.timestamp", request.meter_value[-1]["timestamp"])
    effect = None
    if request.transaction_id is not None and readings:
        effect = Readings(conversation.ref, request.transaction_id, readings)
    return Work(reply=lambda _: call_result.MeterValues(), effect=effect)


def readings_of(values: Sequence[Mapping[str, Any]], field: str) -> tuple[Reading, ...]:
    """The energy register of each moment. CallRefused names a timestamp that is none."""
    readings = []
    for value in values:
        at = moment(f"{field}.timestamp", value["timestamp"])
        for sample in value["sampledValue"]:
            energy_wh = register_wh(sample)
            if energy_wh is not None:
                readings.append(Reading(at, energy_wh))
                break
    return tuple(readings)
