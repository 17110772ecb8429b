"""Authorize (OCPP 1.6, section 4.1): a card is held to the reader."""

from __future__ import annotations

from ocpp.v16 import call, call_result

from central_system.ocpp16.conversation import Conversation, Desk, Work
from central_system.ocpp16.id_tag_info import decide, id_tag_info

PERSONAL = frozenset({"idtag"})


async def handle(request: call.Authorize, conversation: Conversation, desk: Desk) -> Work:
    at = conversation.station_time if desk.trust_station_time else None
    evse_id = conversation.evse_of_card()
    decision = await decide(request.id_tag, evse_id, at, conversation, desk)
    return Work(
        reply=lambda _: call_result.Authorize(id_tag_info=id_tag_info(decision)),
        personal=PERSONAL,
    )
