"""How a message reaches its party, and how the party says that it has it.

No transaction is open while an endpoint is spoken to. A crash between sending and keeping the
acknowledgement sends it again, under its own id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kit.clock import Clock
from marketplace.messages.model import (
    BackOff,
    Message,
    NotADeadLetter,
    State,
    UnknownMessage,
    Verdict,
    Way,
    verdict,
)
from marketplace.messages.ports import Endpoints, Outbox, Sender
from marketplace.partners.model import Purpose
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Post:
    """What sending works with. `holder` tells this process from others."""

    outbox: Outbox
    endpoints: Endpoints
    sender: Sender
    clock: Clock
    holder: str
    back_off: BackOff


async def send_next(party: PartyId, *, post: Post, chance: float) -> bool:
    """Send a party its next message, and keep what came of it. True: there may be more now."""
    outbox = post.outbox
    message = await outbox.next(party, holder=post.holder, now=post.clock())
    endpoint = await post.endpoints.of(party, Purpose.CONTRACTS)
    if message is None or endpoint is None:
        return False
    reply = await post.sender.send(endpoint, message)
    now = post.clock()
    found = verdict(reply)
    if found is Verdict.DELIVERED:
        await outbox.acknowledged(message, holder=post.holder, now=now)
        return True
    if found is Verdict.REFUSED or post.back_off.hopeless(message.failing_since, now):
        await outbox.bury(message, reply, holder=post.holder, now=now)
        return True
    pause = timedelta(seconds=post.back_off.pause_s(message.attempts + 1, chance))
    await outbox.wait(message, reply, now + pause, holder=post.holder, now=now)
    return False


async def acknowledge(outbox: Outbox, party: PartyId, message_id: str, now: datetime) -> Message:
    """The party has it, whatever its endpoint says. A repeat changes nothing. UnknownMessage."""
    message = await find(outbox, party, message_id)
    if message.state is State.ACKNOWLEDGED:
        return message
    await outbox.settle(message, Way.CALL, now)
    return replace(message, state=State.ACKNOWLEDGED, settled_at=now, way=Way.CALL)


async def send_again(outbox: Outbox, party: PartyId, message_id: str, now: datetime) -> Message:
    """Send a dead letter once more, under its own id. UnknownMessage, NotADeadLetter."""
    message = await find(outbox, party, message_id)
    if message.state is State.ACKNOWLEDGED:
        raise NotADeadLetter(
            "this message has been acknowledged",
            field="message_id",
            value=message_id,
            rule="a message in the state dead-letter",
        )
    if message.state is State.DEAD_LETTER:
        await outbox.send_again(message, now)
    return await find(outbox, party, message_id)


async def find(outbox: Outbox, party: PartyId, message_id: str) -> Message:
    message = await outbox.find(party, message_id)
    if message is None:
        raise UnknownMessage(
            "no such message is to you", field="message_id", value=message_id[:100]
        )
    return message


async def page(
    outbox: Outbox,
    party: PartyId,
    *,
    state: State | None,
    subject: str | None,
    after: int,
    limit: int,
) -> Sequence[Message]:
    """The messages to a party, oldest first."""
    return await outbox.page(party, state=state, subject=subject, after=after, limit=limit)
