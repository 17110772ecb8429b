"""How records reach their EVSP. No transaction is open while a partner is spoken to."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from clearinghouse.forwarding.model import (
    DeadLetter,
    Nothing,
    UnknownDeadLetter,
    Verdict,
    verdict,
)
from clearinghouse.forwarding.ports import PURPOSE, Endpoints, Outbox, Sender
from kit.clock import Clock
from roaming.party import PartyId

MOST_IN_A_DELIVERY = 100


class Progress(Enum):
    """What one step came to, and so when the next one is due."""

    NOTHING_TO_DO = auto()
    UNFINISHED_BEFORE = auto()
    WENT_ON = auto()
    FAILED = auto()


async def forward(
    evsp: PartyId,
    *,
    holder: str,
    outbox: Outbox,
    endpoints: Endpoints,
    sender: Sender,
    clock: Clock,
) -> Progress:
    """Send an EVSP its next records, and keep what came of it."""
    endpoint = await endpoints.of(evsp, PURPOSE)
    if endpoint is None:
        return Progress.NOTHING_TO_DO
    delivery = await outbox.next(evsp, holder=holder, most=MOST_IN_A_DELIVERY, now=clock())
    if isinstance(delivery, Nothing):
        return Progress.UNFINISHED_BEFORE if delivery.unfinished else Progress.NOTHING_TO_DO
    reply = await sender.send(endpoint, delivery)
    match verdict(reply):
        case Verdict.DELIVERED:
            await outbox.delivered(delivery, clock())
        case Verdict.REFUSED if len(delivery.cdrs) > 1:
            await outbox.split(delivery)
        case Verdict.REFUSED:
            await outbox.bury(delivery, reply, clock())
        case Verdict.RETRY:
            await outbox.failed(delivery, reply.says)
            return Progress.FAILED
    return Progress.WENT_ON


async def list_dead_letters(
    evsp: PartyId, *, after: int, limit: int, outbox: Outbox
) -> Sequence[DeadLetter]:
    return await outbox.dead_letters(evsp, after=after, limit=limit)


async def replay(evsp: PartyId, dead_letter_id: int, *, outbox: Outbox, clock: Clock) -> DeadLetter:
    """Have a dead letter of the caller's sent again. Raises UnknownDeadLetter."""
    found = await outbox.ask_replay(evsp, dead_letter_id, clock())
    if found is None:
        raise UnknownDeadLetter(
            f"no dead letter {dead_letter_id}", field="dead_letter_id", value=dead_letter_id
        )
    return found
