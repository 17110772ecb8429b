"""DataTransfer (OCPP 1.6, section 4.3): what OCPP has no word for.

`org.gridroam`, `LastRefusal`: why was the last card refused? `data` in is the card; `data` out is
`{"reason", "authorisation_id"}`, so that a display can say more than "Invalid".
"""

from __future__ import annotations

from ocpp.v16 import call, call_result
from ocpp.v16.enums import DataTransferStatus

from central_system.cards.model import spelt
from central_system.ocpp16.conversation import Conversation, Desk, Work
from kit.encoding import encode_json

VENDOR = "org.gridroam"
LAST_REFUSAL = "LastRefusal"
_PERSONAL = frozenset({"data"})


async def handle(request: call.DataTransfer, conversation: Conversation, _: Desk) -> Work:
    if request.vendor_id != VENDOR:
        return _answered(call_result.DataTransfer(status=DataTransferStatus.unknown_vendor_id))
    if request.message_id != LAST_REFUSAL:
        return _answered(call_result.DataTransfer(status=DataTransferStatus.unknown_message_id))
    refused = conversation.last_refusal
    if refused is None or refused.id_tag != spelt(request.data or ""):
        return _answered(call_result.DataTransfer(status=DataTransferStatus.rejected))
    told = {
        "reason": refused.decision.reason,
        "authorisation_id": refused.decision.authorisation_id,
    }
    return _answered(
        call_result.DataTransfer(
            status=DataTransferStatus.accepted, data=encode_json(told).decode()
        )
    )


def _answered(result: call_result.DataTransfer) -> Work:
    return Work(reply=lambda _: result, personal=_PERSONAL)
