"""BootNotification (OCPP 1.6, section 4.2): a charge point has started and says what it is."""

from __future__ import annotations

from ocpp.v16 import call, call_result
from ocpp.v16.enums import RegistrationStatus

from central_system.ocpp16.conversation import Conversation, Desk, Work
from central_system.ocpp16.wire import shown_moment
from central_system.stations.model import Boot


async def handle(request: call.BootNotification, _: Conversation, desk: Desk) -> Work:
    """Accepted always: whoever is enrolled and knows its password has been accepted before."""
    return Work(
        reply=lambda _: call_result.BootNotification(
            current_time=shown_moment(desk.clock()),
            interval=desk.heartbeat_interval_s,
            status=RegistrationStatus.accepted,
        ),
        effect=Boot(
            request.charge_point_vendor, request.charge_point_model, request.firmware_version
        ),
    )
