"""What the ways out of a topic share: leave to read, waiting for news, the books of usage."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID, uuid4, uuid5

from gateway.calls.model import RefusedCall
from gateway.calls.ports import Meter, Refusals, Verifier
from gateway.topics import flows
from gateway.topics.bell import Bell
from gateway.topics.flows import Access
from gateway.topics.metrics import TopicMetrics
from gateway.topics.model import (
    DELIVER,
    Event,
    EventId,
    Filter,
    NotSubscribable,
    Page,
    Source,
    TooManyStreams,
    evse_ids,
    source_of,
    without,
)
from gateway.topics.ports import Evses, Log, Market
from gateway.usage.model import UsageRecord
from kit.clock import Clock
from kit.http import Caller
from roaming.party import PartyId

# Each open stream or waiting call costs memory and, now and then, a look at the log.
MOST_OF_A_CLIENT = 16
MOST_IN_ALL = 1_000
# A notice may be lost, and a contract end, while nothing happens.
LOOK_AGAIN_S = 5.0
# What names of deliveries are made in (RFC 9562, section 5.5).
_DELIVERIES = UUID("5f0b0c8e-7a51-4d0a-9f1c-0b6a6f6f3d55")


@dataclass(slots=True)
class Desk:
    """Of one process. `url` is the hub's own."""

    verifier: Verifier
    market: Market
    log: Log
    evses: Evses
    meter: Meter
    refusals: Refusals
    bell: Bell
    metrics: TopicMetrics
    clock: Clock
    url: str
    open: Counter[str] = field(default_factory=Counter)

    def permit(self, caller: Caller, topic: str) -> Access:
        """As `flows.permit`; a refusal is kept in the log, as that of a call is."""
        try:
            return flows.permit(caller.party, topic, market=self.market, at=self.clock())
        except NotSubscribable as refusal:
            self.refusals.note(
                RefusedCall(
                    at=self.clock(),
                    caller=caller.party,
                    client_id=caller.client_id,
                    service=topic,
                    operation=DELIVER,
                    reason=refusal.reason,
                    contract_id=refusal.contract_id,
                    request_id=caller.request_id,
                )
            )
            raise

    @contextmanager
    def seat(self, client_id: str) -> Iterator[None]:
        """A place to wait in; TooManyStreams."""
        if self.open[client_id] >= MOST_OF_A_CLIENT or self.open.total() >= MOST_IN_ALL:
            raise TooManyStreams(
                "too many streams and waiting calls are open",
                rule=f"at most {MOST_OF_A_CLIENT} of a client, {MOST_IN_ALL} in all",
            )
        self.open[client_id] += 1
        try:
            yield
        finally:
            self.open[client_id] -= 1
            if not self.open[client_id]:
                del self.open[client_id]

    async def next(
        self,
        caller: Caller,
        topic: str,
        after: EventId,
        wanted: Filter,
        *,
        limit: int,
        wait_s: float = 0.0,
    ) -> tuple[Access, Page]:
        """The next events; where there are none yet, those that come within `wait_s`.

        Leave to read them is asked for last: a contract may end while the caller waits.
        """
        self.permit(caller, topic)
        source = source_of(topic, caller.party)
        with self.seat(caller.client_id) if wait_s else nullcontext():
            page = await self._next(source, after, wanted, limit, wait_s)
        return self.permit(caller, topic), page

    async def read(self, source: Source, after: EventId, wanted: Filter, *, limit: int) -> Page:
        """What there is now of what comes next."""
        page = await flows.read(source, after, wanted, log=self.log, limit=limit)
        return replace(page, events=await self.for_others(page.events))

    async def for_others(self, events: Sequence[Event]) -> Sequence[Event]:
        """Without what operators show nobody: a charge point may be their customer's own."""
        asked = {evse_id for event in events for evse_id in evse_ids(event)}
        hidden = await self.evses.hidden(asked) if asked else ()
        if not hidden:
            return events
        return [left for event in events if (left := without(event, hidden)) is not None]

    async def _next(
        self, source: Source, after: EventId, wanted: Filter, limit: int, wait_s: float
    ) -> Page:
        until = time.monotonic() + wait_s
        with self.bell.waiting(source) as rung:
            while True:
                rung.clear()
                page = await self.read(source, after, wanted, limit=limit)
                left_s = until - time.monotonic()
                if page.events or left_s <= 0 or self.bell.stopping.is_set():
                    return page
                after = page.up_to
                if not page.more:
                    await wait(rung, min(left_s, LOOK_AGAIN_S))

    async def meter_delivery(
        self,
        access: Access,
        party: PartyId,
        *,
        to: str,
        events: Sequence[Event],
        bytes_out: int,
        way: str,
        began_at: datetime,
    ) -> None:
        """One record for each delivery; one that costs money is written before it is given.

        `to` is a subscription, or a client that reads without. What ends with the same event is the
        same delivery, which costs once however often it is asked for or sent.
        """
        self.metrics.delivered(access.topic.name, way, len(events))
        if access.contract_id is None:
            return
        named = f"{access.contract_id} {to} {events[-1].id}"
        record = UsageRecord(
            request_id=(uuid5(_DELIVERIES, named) if access.priced else uuid4()).hex,
            at=began_at,
            contract_id=access.contract_id,
            requester=party,
            provider=access.topic.provider,
            service=access.topic.name,
            major=1,
            operation=DELIVER,
            method="POST" if way == "webhook" else "GET",
            status=200,
            duration_us=int((self.clock() - began_at).total_seconds() * 1e6),
            bytes_in=0,
            bytes_out=bytes_out,
            billable=access.priced,
            units=len(events),
        )
        if access.priced:
            await self.meter.commit(record)
        else:
            self.meter.note(record)


async def wait(rung: asyncio.Event, seconds: float) -> None:
    """Until it rings, or so long. Not wait_for: on Python 3.11 it can swallow a cancellation."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await rung.wait()
