"""Heartbeat (OCPP 1.6, section 4.6): the charge point is there, and sets its clock by ours."""

from __future__ import annotations

from ocpp.v16 import call, call_result

from central_system.ocpp16.conversation import Conversation, Desk, Work
from central_system.ocpp16.wire import shown_moment


async def handle(_: call.Heartbeat, __: Conversation, desk: Desk) -> Work:
    return Work(reply=lambda _: call_result.Heartbeat(current_time=shown_moment(desk.clock())))
