"""StartTransaction (OCPP 1.6, section 4.8): a charge has begun, now or while offline."""

from __future__ import annotations

from datetime import datetime, timedelta

from ocpp.v16 import call, call_result

from central_system.cards.model import spelt
from central_system.hub.model import HUB_AWAY, Decision
from central_system.ocpp16.authorize import PERSONAL
from central_system.ocpp16.conversation import Conversation, Desk, Work
from central_system.ocpp16.id_tag_info import decide, id_tag_info
from central_system.ocpp16.wire import moment
from central_system.transactions.model import Kept, Start
from roaming.evse_id import EvseId

# A driver plugs in within this of holding the card to the reader.
DECISION_HOLDS = timedelta(minutes=15)


async def handle(request: call.StartTransaction, conversation: Conversation, desk: Desk) -> Work:
    """The card is verified again (a charge point may have let it in by an outdated list), unless
    the answer to its Authorize has just been given for the same EVSE."""
    started_at = moment("timestamp", request.timestamp)
    evse_id = conversation.evses.get(request.connector_id)
    decision = _just_given(conversation, request.id_tag, evse_id, started_at)
    if decision is None:
        decision = await decide(request.id_tag, evse_id, started_at, conversation, desk)
    conversation.station_time = started_at

    def reply(kept: Kept | None) -> call_result.StartTransaction:
        assert kept is not None
        # A start that came before keeps the answer that it got then.
        return call_result.StartTransaction(
            transaction_id=kept.charge.transaction_id,
            id_tag_info=id_tag_info(kept.charge.start.decision),
        )

    start = Start(
        ref=conversation.ref,
        connector_id=request.connector_id,
        evse_id=evse_id,
        id_tag=spelt(request.id_tag),
        started_at=started_at,
        meter_start_wh=int(request.meter_start),
        decision=decision,
    )
    return Work(reply, effect=start, personal=PERSONAL)


def _just_given(
    conversation: Conversation, id_tag: str, evse_id: EvseId | None, started_at: datetime
) -> Decision | None:
    known = conversation.decisions.get((spelt(id_tag), evse_id))
    if known is None or abs(started_at - known.at) > DECISION_HOLDS:
        return None
    # That nobody could be asked was no decision about the card.
    return None if known.decision.reason == HUB_AWAY else known.decision
