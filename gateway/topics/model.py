"""Topics' nouns and rules: what is published, who gets it, and what an answer to it means."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from gateway.calls.model import Reason
from roaming.events import EventType
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, NotYours, TooMuch, Unknown

OWN_EVENTS, EVSE_STATUS, EVSE_DATA = "own-events", "evse-status", "evse-data"
HUB_TOPICS: Mapping[str, EventType | None] = {
    OWN_EVENTS: None,
    EVSE_STATUS: EventType.EVSE_STATUS_CHANGED,
    EVSE_DATA: EventType.EVSE_CHANGED,
}
"""The hub's own topics and the events of the log that each is made of; None: those of a party."""

DELIVER = "deliver"
"""What a delivery is called among the operations of a contract, and in the records of usage."""

MOST_AT_ONCE = 1_000
LONGEST_EVENT_BYTES = 64 * 1024
LONGEST_KEY = 200
MOST_IN_A_FILTER = 100
MOST_SUBSCRIPTIONS = 20
MOST_IN_A_DELIVERY = 100
# Past so many streams or events the trouble is the endpoint's, and the subscription waits whole.
MOST_BLOCKED = 10
MOST_HELD = 1_000


class UnknownTopic(Unknown):
    """The catalogue has no such topic."""


class TopicSuspended(NotYours):
    """The topic's provider or the hub has suspended it."""


class NotSubscribable(NotYours):
    """The base of the reasons for which somebody gets nothing of a topic."""

    reason: Reason
    contract_id: str | None = None


class NoContract(NotSubscribable):
    reason = Reason.NO_CONTRACT


class ContractSuspended(NotSubscribable):
    reason = Reason.CONTRACT_SUSPENDED


class ContractExpired(NotSubscribable):
    reason = Reason.CONTRACT_EXPIRED


class NotYetValid(NotSubscribable):
    reason = Reason.NOT_YET_VALID


class OperationNotCovered(NotSubscribable):
    reason = Reason.OPERATION_NOT_COVERED


class ContractTerminated(NotSubscribable):
    reason = Reason.CONTRACT_TERMINATED


class PartnerSuspended(NotSubscribable):
    reason = Reason.PARTNER_SUSPENDED


class PartnerLeft(NotSubscribable):
    reason = Reason.PARTNER_LEFT


DENIALS: Mapping[Reason, type[NotSubscribable]] = {
    kind.reason: kind for kind in NotSubscribable.__subclasses__()
}


class NotYourTopic(NotYours):
    """Only its provider publishes on a topic."""


class BadEvent(Malformed):
    """An event that cannot be published."""


class BadSubscription(Malformed):
    """A subscription that breaks a rule."""


class BadEventId(Malformed):
    """No event has this id."""


class UnknownSubscription(Unknown):
    """No subscription by this name that is the caller's."""


class UnknownDeadLetter(Unknown):
    """No dead letter by this id that is the caller's."""


class NotPulled(Clash):
    """The events of a webhook are sent; they are not fetched and acknowledged beside."""


class NotSent(Clash):
    """The events of this subscription are pulled: nothing is sent to it again."""


class TooManySubscriptions(TooMuch):
    """One party has more subscriptions of a topic than it could need."""


class TooManyStreams(TooMuch):
    """One client holds more streams and waiting calls open than it could need."""


class EventId(NamedTuple):
    """An event's place in the log, by which it is known for ever, whichever way it is delivered."""

    xid: int
    position: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.position}"


START = EventId(0, 0)
_ID = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


def event_id(text: str, field: str) -> EventId:
    """The inverse of `str`; BadEventId for what no event could have."""
    match = _ID.fullmatch(text)
    if match is None:
        raise BadEventId(
            "no event has this id",
            field=field,
            value=text[:100],
            rule="the id of an event, as it was given out",
        )
    return EventId(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Topic:
    """A service of the catalogue that is subscribed to."""

    name: str
    provider: PartyId
    published: bool
    suspended: bool


@dataclass(frozen=True, slots=True)
class Source:
    """What a subscriber of a topic reads: all of the topic, or what is its own (`party`)."""

    topic: str
    party: str | None = None


def source_of(topic: str, subscriber: str) -> Source:
    return Source(topic, subscriber if topic == OWN_EVENTS else None)


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a topic. Those of one `key` are one stream, and come in its order."""

    id: EventId
    topic: str
    key: str
    type: str
    at: datetime
    recorded_at: datetime
    data: Any
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that its provider publishes."""

    key: str
    type: str
    data: Any
    at: datetime


_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,99}")


def checked(draft: Draft, size_bytes: int, field: str) -> Draft:
    """The event itself; BadEvent names what is wrong with it."""
    if not 0 < len(draft.key) <= LONGEST_KEY or not draft.key.isprintable():
        raise BadEvent(
            "this is no key of a stream",
            field=f"{field}key",
            value=draft.key[:100],
            rule=f"1 to {LONGEST_KEY} printable characters",
        )
    if not _TYPE.fullmatch(draft.type):
        raise BadEvent(
            "this cannot name a type of event",
            field=f"{field}type",
            value=draft.type[:100],
            rule="1 to 100 letters, digits, _, ., :, / and -, begins with a letter",
        )
    if size_bytes > LONGEST_EVENT_BYTES:
        raise BadEvent(
            f"the event has {size_bytes} bytes",
            field=f"{field}data",
            rule=f"at most {LONGEST_EVENT_BYTES} bytes of JSON; send a link to what is larger",
        )
    return draft


def stream_of(topic: str, key: str) -> str:
    """Where a partner's events stand in the log."""
    return f"topic:{topic}:{key}"


def sources_of(type_: str, party: str, stream: str) -> tuple[Source, ...]:
    """Who reads of an event of the log: its party, and whoever has subscribed to its topic."""
    own = Source(OWN_EVENTS, party)
    if type_ == EventType.TOPIC_EVENT_PUBLISHED:
        return own, Source(stream.split(":", 2)[1])
    for topic, told in HUB_TOPICS.items():
        if type_ == told:
            return own, Source(topic)
    return (own,)


def evse_ids(event: Event) -> list[str]:
    """The charge points that an event of the hub's topics on them tells of."""
    if event.topic == EVSE_STATUS:
        return [event.data["evse_id"]]
    if event.topic == EVSE_DATA:
        return [evse_id for changed in event.data.values() for evse_id in changed]
    return []


def without(event: Event, hidden: Collection[str]) -> Event | None:
    """What is left of such an event where some charge points are not for others to see."""
    if event.topic == EVSE_STATUS:
        return None if event.data["evse_id"] in hidden else event
    left = {
        outcome: shown
        for outcome, changed in event.data.items()
        if (shown := [evse_id for evse_id in changed if evse_id not in hidden])
    }
    return replace(event, data=left) if left else None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events of a topic a subscriber wants: all, or those of some types, keys or times."""

    types: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    since: datetime | None = None

    def takes(self, event: Event) -> bool:
        return (
            (not self.types or event.type in self.types)
            and (not self.keys or event.key in self.keys)
            and (self.since is None or event.recorded_at >= self.since)
        )


EVERYTHING = Filter()


def checked_filter(types: Collection[str], keys: Collection[str]) -> Filter:
    """A filter; BadSubscription where it is one that no filter needs to be."""
    for name, wanted in (("types", types), ("keys", keys)):
        if len(wanted) > MOST_IN_A_FILTER or any(len(one) > 2 * LONGEST_KEY for one in wanted):
            raise BadSubscription(
                "too much in the filter",
                field=f"filter.{name}",
                rule=f"at most {MOST_IN_A_FILTER} of at most {2 * LONGEST_KEY} characters each",
            )
    return Filter(frozenset(types), frozenset(keys))


class Way(StrEnum):
    """How the events of a subscription reach its subscriber."""

    PULL = "pull"
    WEBHOOK = "webhook"


class Paused(StrEnum):
    """Why nothing is sent: the subscriber goes on by saying so, or by subscribing anew."""

    GONE = "gone"
    UNREACHABLE = "unreachable"


_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a subscriber asks for."""

    way: Way
    url: str | None = None
    filter: Filter = EVERYTHING


def checked_wish(name: str, wish: Wish) -> Wish:
    """The wish itself. BadSubscription; URLs are checked elsewhere."""
    if not _NAME.fullmatch(name):
        raise BadSubscription(
            "this cannot name a subscription",
            field="name",
            value=name[:100],
            rule="1 to 63 of a-z, 0-9, ., _ and -, begins and ends with a letter or digit",
        )
    if (wish.way is Way.WEBHOOK) != (wish.url is not None):
        raise BadSubscription(
            "where do the events go?" if wish.url is None else "nothing is sent to a URL",
            field="url",
            rule="a url with delivery webhook, and none with pull",
        )
    return wish


@dataclass(frozen=True, slots=True)
class Subscription:
    """How far a subscriber has come with a topic, and how its events reach it.

    All up to `cursor` have been acknowledged, or are set aside (`Held`), or are dead letters. Up to
    `single` they go one by one, since some of them were refused together. `attempts` are those that
    failed in a row since `failing_since`.
    """

    subscription_id: str
    topic: str
    party: PartyId
    name: str
    wish: Wish
    cursor: EventId
    made_at: datetime
    single: EventId = START
    paused: Paused | None = None
    attempts: int = 0
    failing_since: datetime | None = None
    next_attempt_at: datetime | None = None
    last_error: str | None = None
    delivered_at: datetime | None = None

    @property
    def source(self) -> Source:
        return source_of(self.topic, self.party)


@dataclass(frozen=True, slots=True)
class Lag:
    """What of a topic is behind a subscription's cursor, whether its filter takes it or not."""

    events: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """Events that a filter takes, and how far was looked for them."""

    events: Sequence[Event]
    up_to: EventId
    more: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """An event that waits because its stream is blocked, or because it blocks it (`attempts`)."""

    id: EventId
    key: str
    attempts: int = 0
    failing_since: datetime | None = None
    next_attempt_at: datetime | None = None


class Kind(StrEnum):
    """Why events are sent: they are next, they were held, or their subscriber asked for them."""

    NEXT = "next"
    HELD = "held"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What goes to a webhook in one call.

    `up_to`: how far was looked for it. `aside`: what was passed over, since its stream is blocked.
    `blocked`: how many streams are. `held` is the event itself, where it was held.
    """

    subscription: Subscription
    kind: Kind
    events: Sequence[Event]
    up_to: EventId = START
    aside: Sequence[Held] = ()
    blocked: int = 0
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing to send now. `until`: when there will be, as far as is known."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that its subscriber's endpoint does not take. It waits here until it is asked for
    again; its stream goes on without it."""

    id: EventId
    key: str
    type: str
    status: int | None
    says: str
    buried_at: datetime
    replays: int
    replay_asked_at: datetime | None
    delivered_at: datetime | None


class Verdict(StrEnum):
    DELIVERED = "delivered"
    GONE = "gone"
    REFUSED = "refused"
    BROKEN = "broken"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a subscriber's endpoint said: an HTTP status, or None where none came; a few words."""

    status: int | None
    says: str


# These speak of the address, the access or the moment, not of the events.
_NOT_ABOUT_CONTENT = frozenset(
    {401, 402, 403, 404, 405, 407, 408, 421, 423, 425, 426, 429, 502, 503, 504}
)


def verdict(reply: Reply) -> Verdict:
    """What is to be done about a delivery.

    `refused`: these events will not be taken, ever. `broken`: maybe one of them broke something
    there. `unreachable`: none of them would be taken now.
    """
    status = reply.status
    if status is None or status < 200 or status in _NOT_ABOUT_CONTENT:
        return Verdict.UNREACHABLE
    if status < 300:
        return Verdict.DELIVERED
    if status < 400:
        return Verdict.UNREACHABLE
    if status == 410:
        return Verdict.GONE
    return Verdict.REFUSED if status < 500 else Verdict.BROKEN


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait after failures in a row, doubling; and when to stop trying."""

    first_s: float = 1.0
    most_s: float = 600.0
    give_up_after: timedelta = timedelta(days=3)

    def pause_s(self, failures: int, chance: float) -> float:
        """Between half and all of the doubled time; `chance` in [0, 1) spreads the herd."""
        full = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 32))
        return full * (0.5 + chance / 2)

    def hopeless(self, failing_since: datetime | None, now: datetime) -> bool:
        return failing_since is not None and now - failing_since >= self.give_up_after
