"""How events reach a webhook. No transaction is open while a subscriber is spoken to.

Law: an event is never sent while an older one of its stream is neither taken nor a dead letter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from gateway.topics import flows, wire
from gateway.topics.desk import Desk
from gateway.topics.model import (
    MOST_BLOCKED,
    BackOff,
    Delivery,
    Kind,
    Nothing,
    NotSubscribable,
    Paused,
    Reply,
    Subscription,
    TopicSuspended,
    UnknownTopic,
    Verdict,
    verdict,
)
from gateway.topics.ports import Outbox, Sender
from roaming.refusal import Unavailable

# A contract that is suspended or being renewed is asked after so often.
ASK_AGAIN = timedelta(seconds=2)


class Step(NamedTuple):
    """`more`: go on at once. Else `until`: when there will be something to do, if that is known."""

    more: bool
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Post:
    """What sending works with. `holder` tells this process from others."""

    desk: Desk
    outbox: Outbox
    sender: Sender
    back_off: BackOff
    holder: str


async def send_next(subscription_id: str, *, post: Post, chance: float) -> Step:
    """Send a subscription its next events, and keep what came of it.

    `chance` in [0, 1) spreads the pauses after failures. They go on from the attempts on record, so
    that a restart of ours makes nobody's bad day worse.
    """
    desk, outbox = post.desk, post.outbox
    subscription = await outbox.look(subscription_id)
    if subscription is None:
        return Step(more=False)
    now = desk.clock()
    if subscription.next_attempt_at is not None and subscription.next_attempt_at > now:
        return Step(more=False, until=subscription.next_attempt_at)
    try:
        access = flows.permit(subscription.party, subscription.topic, market=desk.market, at=now)
    except (NotSubscribable, TopicSuspended, UnknownTopic, Unavailable):
        # Nothing is sent and nothing is lost.
        return Step(more=False, until=now + ASK_AGAIN)
    delivery = await outbox.next(subscription, holder=post.holder, now=now)
    if isinstance(delivery, Nothing):
        return Step(more=False, until=delivery.until)
    delivery = replace(delivery, events=await desk.for_others(delivery.events))
    if not delivery.events:
        await outbox.delivered(delivery, holder=post.holder, now=now)
        return Step(more=True)
    content = wire.batch(delivery.events, desk.url)
    assert subscription.wish.url is not None, "a webhook has a URL"
    reply = await post.sender.send(subscription.wish.url, content)
    found = verdict(reply)
    if found is Verdict.DELIVERED:
        await desk.meter_delivery(
            access,
            subscription.party,
            to=subscription_id,
            events=delivery.events,
            bytes_out=len(content),
            way="webhook",
            began_at=now,
        )
        await outbox.delivered(delivery, holder=post.holder, now=desk.clock())
        return Step(more=True)
    desk.metrics.failed(subscription.topic, found.value)
    return await _not_taken(delivery, found, reply, post, chance)


async def _not_taken(
    delivery: Delivery, found: Verdict, reply: Reply, post: Post, chance: float
) -> Step:
    outbox, now = post.outbox, post.desk.clock()
    if found is Verdict.GONE:
        await outbox.pause(delivery.subscription, Paused.GONE, _said(reply), now=now)
        return Step(more=False)
    if found is Verdict.UNREACHABLE:
        return await _wait(delivery.subscription, reply, post, chance, now)
    if len(delivery.events) > 1:
        await outbox.one_by_one(delivery, holder=post.holder)
        return Step(more=True)
    held = delivery.held
    since = None if held is None else held.failing_since
    if (
        found is Verdict.REFUSED
        or delivery.kind is Kind.REPLAY
        or post.back_off.hopeless(since, now)
    ):
        await outbox.bury(delivery, reply, holder=post.holder, now=now)
        return Step(more=True)
    if held is None and delivery.blocked >= MOST_BLOCKED:
        return await _wait(delivery.subscription, reply, post, chance, now)
    failures = 1 if held is None else held.attempts + 1
    again_at = now + timedelta(seconds=post.back_off.pause_s(failures, chance))
    await outbox.hold(delivery, _said(reply), again_at, holder=post.holder, now=now)
    return Step(more=True)


async def _wait(
    subscription: Subscription, reply: Reply, post: Post, chance: float, now: datetime
) -> Step:
    """The endpoint takes nothing: all of the subscription waits; in the end, to be resumed."""
    if post.back_off.hopeless(subscription.failing_since, now):
        await post.outbox.pause(subscription, Paused.UNREACHABLE, _said(reply), now=now)
        return Step(more=False)
    pause_s = post.back_off.pause_s(subscription.attempts + 1, chance)
    again_at = now + timedelta(seconds=pause_s)
    await post.outbox.failed(subscription, _said(reply), again_at, now=now)
    return Step(more=False, until=again_at)


def _said(reply: Reply) -> str:
    return reply.says if reply.status is None else f"{reply.status}: {reply.says}"
