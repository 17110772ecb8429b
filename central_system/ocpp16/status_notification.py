"""StatusNotification (OCPP 1.6, section 4.9): a connector has become free, busy or faulty."""

from __future__ import annotations

from ocpp.v16 import call, call_result

from central_system.ocpp16.conversation import Conversation, Desk, Work
from central_system.ocpp16.wire import moment
from central_system.stations.model import StatusChange


async def handle(request: call.StatusNotification, conversation: Conversation, desk: Desk) -> Work:
    """The last message holds, whatever its time: they come in the order of events (4.9)."""
    if request.timestamp is None:
        at = desk.clock()
    else:
        at = conversation.station_time = moment("timestamp", request.timestamp)
    conversation.note_status(request.connector_id, request.status)
    return Work(
        reply=lambda _: call_result.StatusNotification(),
        effect=StatusChange(request.connector_id, request.status, request.error_code, at),
    )
