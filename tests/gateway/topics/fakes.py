"""A market, books of usage and a receiver in memory; the log and the outbox are the real ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry

from gateway.calls.model import Denial, Grant, Reason, RefusedCall
from gateway.topics.bell import Bell
from gateway.topics.desk import Desk
from gateway.topics.metrics import TopicMetrics
from gateway.topics.model import (
    START,
    BackOff,
    Draft,
    Filter,
    Reply,
    Subscription,
    Topic,
    Way,
    Wish,
)
from gateway.topics.outbox import SqlOutbox
from gateway.topics.sending import Post
from gateway.topics.store import SqlLog, SqlSubscriptions
from gateway.usage.model import UsageRecord
from kit.access_token import Identity
from kit.database import Database
from roaming.party import PartyId

PROVIDER, SUBSCRIBER = PartyId("NL*FCS"), PartyId("FR*XYZ")
TOPIC = "alerts"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass(slots=True)
class Market:
    """One topic, and a contract on it that may be denied for a while."""

    denied: Reason | None = None
    oldest_s: float = 30.0

    def topic(self, name: str) -> Topic | None:
        return Topic(name, PROVIDER, published=True, suspended=False) if name == TOPIC else None

    def grant(self, party: PartyId, topic: Topic, at: datetime) -> Grant | Denial:
        return Grant("contract") if self.denied is None else Denial(self.denied)

    def age_s(self, now: datetime) -> float:
        return 0.0


@dataclass(slots=True)
class Meter:
    records: list[UsageRecord] = field(default_factory=list)
    full: bool = False

    def note(self, record: UsageRecord) -> None:
        self.records.append(record)

    async def commit(self, record: UsageRecord) -> None:
        self.records.append(record)


@dataclass(slots=True)
class Evses:
    """Charge points that are shown to nobody."""

    unpublished: set[str] = field(default_factory=set)

    async def hidden(self, evse_ids: Collection[str]) -> Collection[str]:
        return self.unpublished & set(evse_ids)


class Nobody:
    """Verifies no token, and hears of no refusal."""

    def verify(self, token: str) -> Identity:
        raise AssertionError("nobody shows a token here")

    def note(self, refused: RefusedCall) -> None:
        raise AssertionError("nobody asks here")


@dataclass(slots=True)
class Time:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_until(self, moment: datetime) -> None:
        self.now = max(self.now, moment)


class Killed(Exception):
    """The hub died at this very moment."""


Answers = Callable[[list[Any]], Reply]


@dataclass(slots=True)
class Receiver:
    """A subscriber's endpoint: keeps what comes, and answers as it is told."""

    answers: Answers
    came: list[list[Any]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def send(self, url: str, content: bytes) -> Reply:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            events = json.loads(content)
            self.came.append(events)
            await asyncio.sleep(0)
            return self.answers(events)
        finally:
            self.at_once -= 1


def post(
    database: Database,
    receiver: Receiver,
    *,
    time: Time,
    market: Market | None = None,
    meter: Meter | None = None,
    holder: str | None = None,
    back_off: BackOff | None = None,
) -> Post:
    """As a process of the hub has it. A `holder` whose session is unknown counts as gone."""
    desk = Desk(
        verifier=Nobody(),
        market=market or Market(),
        log=SqlLog(database),
        evses=Evses(),
        meter=meter or Meter(),
        refusals=Nobody(),
        bell=Bell(database, asyncio.Event()),
        metrics=TopicMetrics(CollectorRegistry()),
        clock=time,
        url="https://hub.example",
    )
    return Post(
        desk,
        SqlOutbox(database),
        receiver,
        back_off or BackOff(),
        holder or f"{database.session}/1",
    )


async def subscribed(
    database: Database, name: str = "mine", wanted: Filter | None = None
) -> Subscription:
    """A webhook that begins at the start."""
    wish = Wish(Way.WEBHOOK, "https://a.example/hook", wanted or Filter())
    kept, _ = await SqlSubscriptions(database).keep(SUBSCRIBER, TOPIC, name, wish, START, NOW)
    return kept


async def published(database: Database, *told: tuple[str, int]) -> list[str]:
    """Events with a key and a number; their ids."""
    drafts = [Draft(key, "told", number, NOW) for key, number in told]
    return [str(one) for one in await SqlLog(database).publish(TOPIC, PROVIDER, drafts)]
