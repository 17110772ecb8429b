"""May this card charge? The operator's own list answers first, the clearing house all others."""

from __future__ import annotations

import structlog

from central_system.cards.model import CardStatus, Question, spelt
from central_system.cards.ports import Cards, ClearingHouse
from central_system.hub.model import HUB_AWAY, Decision, HubAway, HubRefused

log = structlog.get_logger(__name__)

NO_EVSE = "connector-not-enrolled"


async def authorise(question: Question, *, cards: Cards, clearing_house: ClearingHouse) -> Decision:
    """Always a decision. Policy: who cannot be checked, since the hub is away, is refused.

    Energy that nobody has promised to pay for would be the operator's loss; the driver may hold
    the card to the reader again.
    """
    known = await cards.find(question.operator, spelt(question.id_tag))
    if known is not None:
        accepted = known.status is CardStatus.ACCEPTED
        return Decision(accepted, None if accepted else f"card-{known.status}", by_hub=False)
    if question.evse_id is None:
        return Decision(False, NO_EVSE)
    try:
        return await clearing_house.authorise(
            question.operator,
            evse_id=question.evse_id,
            id_tag=question.id_tag,
            charge_id=question.charge_id,
            at=question.at,
        )
    except HubAway as away:
        log.warning("hub away", operator=question.operator, error=away.detail)
        return Decision(False, HUB_AWAY)
    except HubRefused as refused:
        log.warning("hub refused a question", operator=question.operator, error=refused.detail)
        return Decision(False, refused.kind)
