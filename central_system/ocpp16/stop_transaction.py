"""StopTransaction (OCPP 1.6, section 4.10): a charge is over, and becomes a record."""

from __future__ import annotations

import structlog
from ocpp.v16 import call, call_result

from central_system.cards.model import spelt
from central_system.ocpp16.authorize import PERSONAL
from central_system.ocpp16.conversation import Conversation, Desk, Work
from central_system.ocpp16.id_tag_info import id_tag_info
from central_system.ocpp16.meter_values import readings_of
from central_system.ocpp16.wire import moment
from central_system.transactions.model import Kept, Stop

log = structlog.get_logger(__name__)

# Section 6.49: what is left out was an ordinary end at the charge point.
DEFAULT_REASON = "Local"


async def handle(request: call.StopTransaction, conversation: Conversation, _: Desk) -> Work:
    """A charge point cannot be kept from stopping: what it says is taken down and confirmed, even
    of a charge that nobody knows."""
    stopped_at = conversation.station_time = moment("timestamp", request.timestamp)
    stop = Stop(
        ref=conversation.ref,
        transaction_id=request.transaction_id,
        stopped_at=stopped_at,
        meter_stop_wh=int(request.meter_stop),
        reason=request.reason or DEFAULT_REASON,
        readings=readings_of(request.transaction_data or [], "transactionData"),
    )

    def reply(kept: Kept | None) -> call_result.StopTransaction:
        if kept is None:
            log.warning(
                "stop of an unknown charge",
                operator=stop.ref.operator,
                charge_point=stop.ref.charge_point,
                transaction_id=stop.transaction_id,
            )
            return call_result.StopTransaction()
        start = kept.charge.start
        if request.id_tag is None or spelt(request.id_tag) != start.id_tag:
            return call_result.StopTransaction()
        return call_result.StopTransaction(id_tag_info=id_tag_info(start.decision))

    return Work(reply, effect=stop, personal=PERSONAL)
