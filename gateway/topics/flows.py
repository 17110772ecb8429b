"""What happens to topics: events are published, read and acknowledged; subscriptions come and go.

Nobody gets an event without a contract in force at that moment; its provider alone needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from gateway.calls.model import Denial, Reason
from gateway.calls.refusals import ContractsTooOld
from gateway.topics import model
from gateway.topics.model import (
    DENIALS,
    HUB_TOPICS,
    BadEvent,
    BadEventId,
    Draft,
    EventId,
    Filter,
    NotPulled,
    NotSent,
    NotSubscribable,
    NotYourTopic,
    Page,
    Source,
    Subscription,
    Topic,
    TopicSuspended,
    UnknownDeadLetter,
    UnknownSubscription,
    UnknownTopic,
    Way,
    Wish,
)
from gateway.topics.ports import Log, Market, Outbox, Subscriptions
from kit import message_signature
from kit.outside_url import check_url
from roaming.party import PartyId

MOST_READ_BYTES = 4 * 1024 * 1024
READ_AT_ONCE = 500
# So many events are looked through for those that a filter takes before an answer goes out.
MOST_LOOKED_THROUGH = 5_000
NOW, BEGINNING = "now", "start"


class Access(NamedTuple):
    """Leave to read a topic. `contract_id` None: it is the reader's own."""

    topic: Topic
    contract_id: str | None
    priced: bool


def permit(party: PartyId, name: str, *, market: Market, at: datetime) -> Access:
    """Whether a party may read a topic at this moment, out of memory.

    UnknownTopic, TopicSuspended, NotSubscribable with its reason; or ContractsTooOld: no guess.
    """
    topic = _known(party, name, market, at)
    if topic.provider == party:
        return Access(topic, None, priced=False)
    if topic.suspended:
        raise TopicSuspended(
            f"{name} is suspended by its provider or the hub",
            field="topic",
            value=name,
            rule=f"ask {topic.provider}, its provider; nothing is lost meanwhile",
        )
    found = market.grant(party, topic, at)
    if isinstance(found, Denial):
        raise _denied(party, topic, found)
    return Access(topic, found.contract_id, found.priced)


def _known(party: PartyId, name: str, market: Market, at: datetime) -> Topic:
    age_s = market.age_s(at)
    if age_s > market.oldest_s:
        raise ContractsTooOld(
            f"the contract table was last current {age_s:.0f} seconds ago",
            rule=f"at most {market.oldest_s:g} seconds; try again shortly",
        )
    topic = market.topic(name)
    if topic is None or not (topic.published or topic.provider == party):
        raise UnknownTopic(
            f"there is no topic {name[:100]}",
            field="topic",
            value=name[:100],
            rule="a published service with protocol topic: GET /marketplace/services",
        )
    return topic


def _denied(party: PartyId, topic: Topic, denial: Denial) -> NotSubscribable:
    rule = {
        Reason.NO_CONTRACT: f"agree a contract with {topic.provider}: GET /marketplace/offerings",
        Reason.CONTRACT_SUSPENDED: f"ask {topic.provider} to resume it; nothing is lost meanwhile",
        Reason.CONTRACT_EXPIRED: "agree a new contract: GET /marketplace/offerings",
        Reason.CONTRACT_TERMINATED: "agree a new contract: GET /marketplace/offerings",
        Reason.PARTNER_SUSPENDED: "one of the two is suspended: ask the hub's operator",
        Reason.PARTNER_LEFT: "one of the two has left the market: agree a contract with another",
        Reason.NOT_YET_VALID: "wait until the contract begins",
    }.get(denial.reason, f"agree a contract whose operations include {model.DELIVER}")
    refusal = DENIALS[denial.reason](
        f"{party} gets nothing of {topic.name}: {denial.reason}",
        field="contract",
        value=denial.reason.value,
        rule=rule,
    )
    refusal.contract_id = denial.contract_id
    return refusal


def may_publish(party: PartyId, name: str, *, market: Market, at: datetime) -> Topic:
    """UnknownTopic, NotYourTopic."""
    topic = _known(party, name, market, at)
    if name in HUB_TOPICS:
        raise NotYourTopic(
            "the hub's topics are made of what happens", field="topic", value=name, rule="a topic"
        )
    if topic.provider != party:
        raise NotYourTopic(
            "only its provider publishes on a topic",
            field="topic",
            value=name,
            rule="a topic of your own: POST /marketplace/services with protocol topic",
        )
    return topic


async def publish(
    topic: Topic, drafts: Sequence[tuple[Draft, int]], *, log: Log
) -> Sequence[EventId]:
    """Put events on a topic, all or none; durable when it returns. Each comes with its size.

    BadEvent.
    """
    if not 0 < len(drafts) <= model.MOST_AT_ONCE:
        raise BadEvent(
            f"{len(drafts)} events at once", field="body", rule=f"1 to {model.MOST_AT_ONCE}"
        )
    several = len(drafts) > 1
    checked = [
        model.checked(draft, size, f"{n}." if several else "")
        for n, (draft, size) in enumerate(drafts)
    ]
    return await log.publish(topic.name, topic.provider, checked)


async def place(text: str, *, log: Log, field: str) -> EventId:
    """`start`, `now`, or an id that was given out; BadEventId for one that is yet to come."""
    if text == BEGINNING:
        return model.START
    newest = await log.newest()
    if text == NOW:
        return newest
    asked = model.event_id(text, field)
    if asked > newest:
        raise BadEventId(
            "no event has this id yet",
            field=field,
            value=text,
            rule=f"{BEGINNING}, {NOW}, or the id of an event as it was given out",
        )
    return asked


async def read(source: Source, after: EventId, wanted: Filter, *, log: Log, limit: int) -> Page:
    """The next events that a filter takes, and how far was looked."""
    taken: list[model.Event] = []
    looked = 0
    while looked < MOST_LOOKED_THROUGH:
        asked = min(READ_AT_ONCE, limit)
        found = await log.read(source, after, limit=asked, most_bytes=MOST_READ_BYTES)
        if not found:
            return Page(taken, after)
        looked += len(found)
        after = found[-1].id
        taken += [event for event in found if wanted.takes(event)]
        if taken:
            break
    return Page(taken, after, more=True)


async def subscribe(
    access: Access,
    party: PartyId,
    name: str,
    wish: Wish,
    start: str,
    *,
    log: Log,
    subscriptions: Subscriptions,
    allow_loopback: bool,
    now: datetime,
) -> tuple[Subscription, bool]:
    """Subscribe, or change a subscription and let it go on; whether it is new.

    Where it begins counts for a new one alone, so that asking twice is asking once.
    BadSubscription, BadUrl, BadEventId, TooManySubscriptions.
    """
    model.checked_wish(name, wish)
    if wish.url is not None:
        check_url(wish.url, allow_loopback=allow_loopback)
        wish = replace(wish, url=message_signature.target(wish.url))
    begin = await place(start, log=log, field="from")
    return await subscriptions.keep(party, access.topic.name, name, wish, begin, now)


async def find(
    party: PartyId, topic: str, name: str, *, subscriptions: Subscriptions
) -> Subscription:
    """A subscription of one's own, whatever became of its contract; UnknownSubscription."""
    found = await subscriptions.find(party, topic, name)
    if found is None:
        raise UnknownSubscription(
            "no such subscription of the topic is yours",
            field="name",
            value=name[:100],
            rule=f"PUT /topics/{topic}/subscriptions/{name} makes one"[:200],
        )
    return found


async def acknowledge(
    subscription: Subscription, id_: str, *, log: Log, subscriptions: Subscriptions
) -> EventId:
    """Everything up to an event has arrived; the cursor after that, which never goes back."""
    must_be_pulled(subscription)
    to = await place(id_, log=log, field="id")
    return await subscriptions.move(subscription, to)


def must_be_pulled(subscription: Subscription) -> None:
    if subscription.wish.way is not Way.PULL:
        raise NotPulled(
            "the events of this subscription are sent to its url",
            field="delivery",
            value=subscription.wish.way.value,
            rule="another subscription with delivery pull",
        )


def must_be_sent(subscription: Subscription) -> None:
    if subscription.wish.way is not Way.WEBHOOK:
        raise NotSent(
            "the events of this subscription are pulled, and none is sent again",
            field="delivery",
            value=subscription.wish.way.value,
            rule="delivery webhook; or read the topic after the id before the dead letter's",
        )


async def replay(subscription: Subscription, id_: str, *, outbox: Outbox, now: datetime) -> int:
    """Have a dead letter sent again, by itself; 0 where that was asked for before or is done.

    UnknownDeadLetter, NotSent.
    """
    must_be_sent(subscription)
    asked = model.event_id(id_, "event_id")
    before = EventId(asked.xid, asked.position - 1)
    found = await outbox.dead_letters(subscription, after=before, limit=1)
    if not found or found[0].id != asked:
        raise UnknownDeadLetter("no such dead letter is yours", field="event_id", value=id_)
    return await outbox.ask_replay(subscription, [asked], now)
