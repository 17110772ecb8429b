"""What topics' routes take and show."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from gateway.topics.model import (
    EVERYTHING,
    DeadLetter,
    Lag,
    Subscription,
    Way,
    Wish,
    checked_filter,
)


class EventTold(msgspec.Struct, forbid_unknown_fields=True):
    """An event to publish. Those of one `key` are one stream: they are delivered in their order."""

    key: str
    type: str
    data: Any
    time: datetime | None = None


class EventAsked(BaseModel):
    """An event to publish. Those of one `key` are one stream: they are delivered in their order.

    `time` is when it happened; now, if absent.
    """

    model_config = ConfigDict(extra="forbid")
    key: str
    type: str
    data: Any
    time: datetime | None = None


class PublishedShown(BaseModel):
    """The ids of the events, in the order in which they came."""

    ids: list[str]


class CloudEventShown(BaseModel):
    """A CloudEvent 1.0. The `id` is the same whichever way it is delivered, and however often."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str = Field(description="the key of its stream, in whose order it comes")
    time: datetime
    recordedtime: datetime
    datacontenttype: str
    data: Any
    correlationid: str | None = None


class PageShown(BaseModel):
    """The next events. `next` is how far was looked: ask after it, or acknowledge it."""

    events: list[CloudEventShown]
    next: str


class FilterAsked(BaseModel):
    """Only events of these types, and of these keys; of all where none is named."""

    model_config = ConfigDict(extra="forbid")
    types: list[str] = Field(default_factory=list)
    keys: list[str] = Field(default_factory=list)


class SubscriptionAsked(BaseModel):
    """How the events come. `from` is where a new subscription begins: start, now, or an id."""

    model_config = ConfigDict(extra="forbid")
    delivery: Way
    url: str | None = None
    start: str = Field(default="now", alias="from")
    filter: FilterAsked | None = None

    @property
    def wish(self) -> Wish:
        asked = self.filter
        wanted = EVERYTHING if asked is None else checked_filter(asked.types, asked.keys)
        return Wish(self.delivery, self.url, wanted)


class AcknowledgementAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str


class AcknowledgementShown(BaseModel):
    """Where the cursor is after it."""

    cursor: str


class LagShown(BaseModel):
    """What of the topic is behind the cursor, counted up to 1,000, and since when."""

    events: int
    seconds: float


class SubscriptionShown(BaseModel):
    """How a subscription stands. `state`: active, paused, or waiting for the contract (why)."""

    topic: str
    name: str
    delivery: Way
    url: str | None
    filter: FilterAsked
    cursor: str
    state: str
    reason: str | None
    lag: LagShown
    attempts: int
    last_error: str | None
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    made_at: datetime


class DeadLetterShown(BaseModel):
    """An event that the endpoint did not take, and what it said. Its stream went on without it."""

    id: str
    subject: str
    type: str
    status: int | None
    says: str
    dead_lettered_at: datetime
    replays: int
    replay_asked_at: datetime | None
    delivered_at: datetime | None

    @classmethod
    def of(cls, letter: DeadLetter) -> DeadLetterShown:
        return cls(
            id=str(letter.id),
            subject=letter.key,
            type=letter.type,
            status=letter.status,
            says=letter.says,
            dead_lettered_at=letter.buried_at,
            replays=letter.replays,
            replay_asked_at=letter.replay_asked_at,
            delivered_at=letter.delivered_at,
        )


class DeadLettersShown(BaseModel):
    dead_letters: list[DeadLetterShown]


class ReplayShown(BaseModel):
    """How many are sent again."""

    asked: int


def subscription_shown(
    one: Subscription, lag: Lag, now: datetime, denied: str | None
) -> SubscriptionShown:
    """`denied`: why the contract gives nothing now, where it does not."""
    seconds = 0.0 if lag.oldest_at is None else (now - lag.oldest_at).total_seconds()
    return SubscriptionShown(
        topic=one.topic,
        name=one.name,
        delivery=one.wish.way,
        url=one.wish.url,
        filter=FilterAsked(types=sorted(one.wish.filter.types), keys=sorted(one.wish.filter.keys)),
        cursor=str(one.cursor),
        state="paused" if one.paused else "waiting" if denied else "active",
        reason=one.paused.value if one.paused else denied,
        lag=LagShown(events=lag.events, seconds=max(seconds, 0.0)),
        attempts=one.attempts,
        last_error=one.last_error,
        next_attempt_at=one.next_attempt_at,
        delivered_at=one.delivered_at,
        made_at=one.made_at,
    )
