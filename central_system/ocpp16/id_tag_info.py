"""A decision about a card in OCPP's words (OCPP 1.6, sections 7.2 and 7.27)."""

from __future__ import annotations

import hashlib
from datetime import datetime

from ocpp.v16 import datatypes
from ocpp.v16.enums import AuthorizationStatus

from central_system.cards import flows
from central_system.cards.model import Question, spelt
from central_system.hub.model import Decision
from central_system.ocpp16.conversation import Conversation, Desk, Remembered
from central_system.ocpp16.wire import shown_moment
from roaming.evse_id import EvseId

# What is not named here is Invalid: unknown, without agreement, or not to be checked just now.
_STATUS = {
    "contract-blocked": AuthorizationStatus.blocked,
    "card-blocked": AuthorizationStatus.blocked,
    "contract-expired": AuthorizationStatus.expired,
    "card-expired": AuthorizationStatus.expired,
}


def id_tag_info(decision: Decision) -> datatypes.IdTagInfo:
    if not decision.accepted:
        return datatypes.IdTagInfo(
            status=_STATUS.get(decision.reason or "", AuthorizationStatus.invalid)
        )
    until = decision.valid_until
    return datatypes.IdTagInfo(
        status=AuthorizationStatus.accepted,
        expiry_date=None if until is None else shown_moment(until),
    )


async def decide(
    id_tag: str,
    evse_id: EvseId | None,
    at: datetime | None,
    conversation: Conversation,
    desk: Desk,
) -> Decision:
    """Ask about a card, and remember the answer for as long as the connection lasts.

    A question about a fact with a time is the same question when it comes again, so it gets the
    same decision of the clearing house; one about this moment is a new one each time.
    """
    tag = spelt(id_tag)
    question = Question(
        operator=conversation.ref.operator,
        evse_id=evse_id,
        id_tag=tag,
        charge_id=None if at is None else _charge_id(conversation, tag, evse_id, at),
        at=at,
    )
    decision = await flows.authorise(question, cards=desk.cards, clearing_house=desk.clearing_house)
    reference = at or conversation.station_time or desk.clock()
    conversation.remember(tag, evse_id, Remembered(decision, reference))
    return decision


def _charge_id(conversation: Conversation, tag: str, evse_id: EvseId | None, at: datetime) -> str:
    content = "\n".join([conversation.ref.charge_point, tag, evse_id or "", at.isoformat()])
    return hashlib.sha256(content.encode()).hexdigest()[:32]
