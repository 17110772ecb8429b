"""Topics over HTTP: publishing, pulling, subscriptions. Everything is the caller's own."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from gateway.topics import flows, wire
from gateway.topics.desk import Desk
from gateway.topics.flows import BEGINNING, NOW, Access
from gateway.topics.model import (
    OWN_EVENTS,
    BadEvent,
    Draft,
    NotSubscribable,
    Page,
    Subscription,
    TopicSuspended,
    UnknownTopic,
    checked_filter,
    event_id,
    source_of,
)
from gateway.topics.ports import Outbox, Subscriptions
from gateway.topics.shapes import (
    AcknowledgementAsked,
    AcknowledgementShown,
    DeadLetterShown,
    DeadLettersShown,
    EventAsked,
    EventTold,
    PageShown,
    PublishedShown,
    ReplayShown,
    SubscriptionAsked,
    SubscriptionShown,
    subscription_shown,
)
from gateway.topics.stream import MEDIA_TYPE, EventStream
from kit.database import Database
from kit.encoding import encode_json
from kit.http import (
    Caller,
    Instant,
    caller_of,
    decode,
    json_response,
    known_query,
    page_link,
    read_body,
)
from kit.idempotency import once

MOST_BODY_BYTES = 8 * 1024 * 1024
MOST_COUNTED = 1_000

Calling = Annotated[Caller, Depends(caller_of)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Wait = Annotated[float, Query(ge=0, le=30, description="seconds to wait for an event")]
Types = Annotated[list[str] | None, Query(description="only these types; may be repeated")]
Keys = Annotated[list[str] | None, Query(description="only these keys; may be repeated")]


def router(
    desk: Desk,
    subscriptions: Subscriptions,
    outbox: Outbox,
    database: Database,
    *,
    allow_loopback: bool,
) -> APIRouter:
    routes = APIRouter(tags=["topics"], dependencies=[Depends(known_query)])
    _add_events(routes, desk, database)
    _add_subscriptions(routes, desk, subscriptions, database, allow_loopback=allow_loopback)
    _add_pulling(routes, desk, subscriptions, database)
    _add_dead_letters(routes, desk, subscriptions, outbox, database)
    return routes


def _add_events(routes: APIRouter, desk: Desk, database: Database) -> None:
    @routes.post(
        "/topics/{topic}/events",
        summary="Publish events on a topic of the caller's: one, or an array of up to 1,000",
        status_code=201,
        response_model=PublishedShown,
        openapi_extra=_body_of(EventAsked),
    )
    async def publish_events(request: Request, topic: str, caller: Calling) -> Response:
        own = flows.may_publish(caller.party, topic, market=desk.market, at=desk.clock())

        async def run() -> Response:
            drafts = _drafts(await read_body(request, MOST_BODY_BYTES), desk.clock())
            ids = await flows.publish(own, drafts, log=desk.log)
            return json_response({"ids": [str(one) for one in ids]}, 201)

        return await once(request, run, database=database, party=caller.party, clock=desk.clock)

    @routes.get(
        "/topics/{topic}/events",
        summary="Read a topic after an id, or as a stream (Accept: text/event-stream)",
        description="JSON begins at the start and a stream at what is new, where no `after` is"
        " given. A stream goes on after the header Last-Event-ID.",
        response_model=PageShown,
        responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
    )
    async def read_topic(
        request: Request,
        topic: str,
        caller: Calling,
        after: str | None = None,
        limit: Limit = 100,
        wait_s: Wait = 0,
        types: Types = None,
        keys: Keys = None,
    ) -> Response:
        wanted = checked_filter(types or (), keys or ())
        desk.permit(caller, topic)
        if MEDIA_TYPE in request.headers.get("accept", ""):
            seen = request.headers.get("last-event-id") or after or NOW
            place = await flows.place(seen, log=desk.log, field="Last-Event-ID")
            token = request.headers["authorization"][len("Bearer ") :]
            return EventStream(desk, caller, token, topic, place, wanted)
        place = await flows.place(after or BEGINNING, log=desk.log, field="after")
        access, page = await desk.next(caller, topic, place, wanted, limit=limit, wait_s=wait_s)
        return await _given(request, desk, caller, caller.client_id, access, page)

    @routes.get(
        "/events",
        summary="The caller's own history: all that the log tells of it",
        response_model=PageShown,
    )
    async def read_own_events(
        request: Request,
        caller: Calling,
        after: str = BEGINNING,
        limit: Limit = 100,
        types: Types = None,
        stream: Annotated[str | None, Query(description="only this stream")] = None,
        since: Annotated[Instant | None, Query(description="told from this moment on")] = None,
    ) -> Response:
        wanted = checked_filter(types or (), () if stream is None else (stream,))
        wanted = replace(wanted, since=since)
        place = await flows.place(after, log=desk.log, field="after")
        source = source_of(OWN_EVENTS, caller.party)
        page = await flows.read(source, place, wanted, log=desk.log, limit=limit)
        return _answer(request, _content(desk, page), page)


def _add_subscriptions(
    routes: APIRouter,
    desk: Desk,
    subscriptions: Subscriptions,
    database: Database,
    *,
    allow_loopback: bool,
) -> None:
    async def shown(caller: Caller, one: Subscription) -> SubscriptionShown:
        lag = await subscriptions.lag(one, MOST_COUNTED)
        return subscription_shown(one, lag, desk.clock(), _denied(desk, caller, one.topic))

    @routes.get("/topics/{topic}/subscriptions", summary="Own subscriptions of a topic")
    async def list_subscriptions(topic: str, caller: Calling) -> list[SubscriptionShown]:
        _must_be_known(desk, caller, topic)
        return [await shown(caller, one) for one in await subscriptions.of(caller.party, topic)]

    @routes.put(
        "/topics/{topic}/subscriptions/{name}",
        summary="Subscribe, or change a subscription and let it go on",
        response_model=SubscriptionShown,
        responses={201: {"model": SubscriptionShown, "description": "It is new"}},
    )
    async def subscribe(
        request: Request, topic: str, name: str, asked: SubscriptionAsked, caller: Calling
    ) -> Response:
        access = desk.permit(caller, topic)

        async def run() -> Response:
            kept, new = await flows.subscribe(
                access,
                caller.party,
                name,
                asked.wish,
                asked.start,
                log=desk.log,
                subscriptions=subscriptions,
                allow_loopback=allow_loopback,
                now=desk.clock(),
            )
            told = await shown(caller, kept)
            return json_response(told.model_dump(mode="json"), 201 if new else 200)

        return await once(request, run, database=database, party=caller.party, clock=desk.clock)

    @routes.get("/topics/{topic}/subscriptions/{name}", summary="How a subscription stands")
    async def show_subscription(topic: str, name: str, caller: Calling) -> SubscriptionShown:
        one = await flows.find(caller.party, topic, name, subscriptions=subscriptions)
        return await shown(caller, one)

    @routes.delete(
        "/topics/{topic}/subscriptions/{name}",
        summary="End a subscription; its dead letters go with it",
        status_code=204,
    )
    async def end_subscription(
        request: Request, topic: str, name: str, caller: Calling
    ) -> Response:
        async def run() -> Response:
            one = await flows.find(caller.party, topic, name, subscriptions=subscriptions)
            await subscriptions.end(one, desk.clock())
            return Response(status_code=204)

        return await once(request, run, database=database, party=caller.party, clock=desk.clock)


def _add_pulling(
    routes: APIRouter, desk: Desk, subscriptions: Subscriptions, database: Database
) -> None:
    @routes.get(
        "/topics/{topic}/subscriptions/{name}/events",
        summary="The events after the cursor; the same again until they are acknowledged",
        response_model=PageShown,
    )
    async def pull_events(
        request: Request,
        topic: str,
        name: str,
        caller: Calling,
        limit: Limit = 100,
        wait_s: Wait = 0,
    ) -> Response:
        one = await flows.find(caller.party, topic, name, subscriptions=subscriptions)
        flows.must_be_pulled(one)
        access, page = await desk.next(
            caller, topic, one.cursor, one.wish.filter, limit=limit, wait_s=wait_s
        )
        if not page.events and page.up_to != one.cursor:
            # What the filter does not take is behind it for good: it is not looked through again.
            await subscriptions.move(one, page.up_to)
        return await _given(request, desk, caller, one.subscription_id, access, page)

    @routes.post(
        "/topics/{topic}/subscriptions/{name}/acknowledge",
        summary="Everything up to this id has arrived: the cursor moves on, never back",
        response_model=AcknowledgementShown,
    )
    async def acknowledge_events(
        request: Request, topic: str, name: str, asked: AcknowledgementAsked, caller: Calling
    ) -> Response:
        async def run() -> Response:
            one = await flows.find(caller.party, topic, name, subscriptions=subscriptions)
            cursor = await flows.acknowledge(
                one, asked.id, log=desk.log, subscriptions=subscriptions
            )
            return json_response({"cursor": str(cursor)})

        return await once(request, run, database=database, party=caller.party, clock=desk.clock)


def _add_dead_letters(
    routes: APIRouter,
    desk: Desk,
    subscriptions: Subscriptions,
    outbox: Outbox,
    database: Database,
) -> None:
    at = "/topics/{topic}/subscriptions/{name}/dead-letters"

    @routes.get(at, summary="Events that the endpoint did not take, oldest first")
    async def list_undelivered(
        request: Request,
        response: Response,
        topic: str,
        name: str,
        caller: Calling,
        limit: Limit = 100,
        cursor: str = "0-0",
    ) -> DeadLettersShown:
        one = await flows.find(caller.party, topic, name, subscriptions=subscriptions)
        after = event_id(cursor, "cursor")
        found = await outbox.dead_letters(one, after=after, limit=limit)
        more = str(found[-1].id) if len(found) == limit else None
        response.headers.update(page_link(request, more))
        return DeadLettersShown(dead_letters=[DeadLetterShown.of(letter) for letter in found])

    @routes.post(
        f"{at}/replay",
        summary="Have all that were not taken sent again",
        status_code=202,
        response_model=ReplayShown,
    )
    async def replay_all_undelivered(
        request: Request, topic: str, name: str, caller: Calling
    ) -> Response:
        async def run() -> Response:
            one = await flows.find(caller.party, topic, name, subscriptions=subscriptions)
            flows.must_be_sent(one)
            asked = await outbox.ask_replay(one, None, desk.clock())
            return json_response({"asked": asked}, 202)

        return await once(request, run, database=database, party=caller.party, clock=desk.clock)

    @routes.post(
        f"{at}/{{event_id}}/replay",
        summary="Have one that was not taken sent again; asking twice is asking once",
        status_code=202,
        response_model=ReplayShown,
    )
    async def replay_undelivered(
        request: Request, topic: str, name: str, event_id: str, caller: Calling
    ) -> Response:
        async def run() -> Response:
            one = await flows.find(caller.party, topic, name, subscriptions=subscriptions)
            asked = await flows.replay(one, event_id, outbox=outbox, now=desk.clock())
            return json_response({"asked": asked}, 202)

        return await once(request, run, database=database, party=caller.party, clock=desk.clock)


def _body_of(shape: type[BaseModel]) -> dict[str, Any]:
    """What the document says of a body that is read without the framework."""
    one = shape.model_json_schema()
    either = {"oneOf": [one, {"type": "array", "items": one}]}
    content = {"application/json": {"schema": either}}
    return {"requestBody": {"required": True, "content": content}}


def _drafts(content: bytes, now: datetime) -> list[tuple[Draft, int]]:
    """Events as they came, and how large each is."""
    if content.lstrip()[:1] == b"[":
        told = decode(content, list[EventTold])
    else:
        told = [decode(content, EventTold)]
    return [(_draft(one, now), len(encode_json(one.data))) for one in told]


def _draft(told: EventTold, now: datetime) -> Draft:
    at = told.time
    if at is None:
        at = now
    elif at.tzinfo is None:
        raise BadEvent("a time without offset", field="time", value=at.isoformat(), rule="RFC 3339")
    return Draft(told.key, told.type, told.data, at)


async def _given(
    request: Request, desk: Desk, caller: Caller, to: str, access: Access, page: Page
) -> Response:
    """A page of events on their way to the caller, in the books before it."""
    content = _content(desk, page)
    if page.events:
        await desk.meter_delivery(
            access,
            caller.party,
            to=to,
            events=page.events,
            bytes_out=len(content),
            way="pull",
            began_at=desk.clock(),
        )
    return _answer(request, content, page)


def _content(desk: Desk, page: Page) -> bytes:
    events = [wire.shown(event, desk.url) for event in page.events]
    return encode_json({"events": events, "next": str(page.up_to)})


def _answer(request: Request, content: bytes, page: Page) -> Response:
    more = str(page.up_to) if page.more else None
    return Response(
        content, media_type="application/json", headers=page_link(request, more, name="after")
    )


def _must_be_known(desk: Desk, caller: Caller, topic: str) -> None:
    """UnknownTopic. Without a contract one's subscriptions are still one's own to see."""
    with suppress(NotSubscribable, TopicSuspended):
        flows.permit(caller.party, topic, market=desk.market, at=desk.clock())


def _denied(desk: Desk, caller: Caller, topic: str) -> str | None:
    """Why the caller gets nothing now."""
    try:
        flows.permit(caller.party, topic, market=desk.market, at=desk.clock())
    except NotSubscribable as refusal:
        return refusal.reason.value
    except TopicSuspended:
        return "topic-suspended"
    except UnknownTopic:
        return "topic-retired"
    return None
