"""A party's messages over HTTP: what it is to know, and that it does."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_of, json_response, page_link
from kit.idempotency import once
from marketplace.messages import flows
from marketplace.messages.model import Message, State, Way
from marketplace.messages.ports import Outbox

Calling = Annotated[Caller, Depends(caller_of)]


class MessageShown(BaseModel):
    """A message to the caller. `says`: what its endpoint said when it did not take it."""

    message_id: str
    subject: str
    type: str
    occurred_at: datetime
    data: dict[str, Any]
    state: State
    attempts: int
    next_attempt_at: datetime | None
    says: str | None
    settled_at: datetime | None
    acknowledged_by: Way | None

    @classmethod
    def of(cls, message: Message) -> MessageShown:
        return cls(
            message_id=message.message_id,
            subject=message.subject,
            type=message.type,
            occurred_at=message.occurred_at,
            data=dict(message.body),
            state=message.state,
            attempts=message.attempts,
            next_attempt_at=message.next_attempt_at,
            says=message.says,
            settled_at=message.settled_at,
            acknowledged_by=message.way,
        )


def router(outbox: Outbox, database: Database, clock: Clock) -> APIRouter:
    routes = APIRouter(prefix="/marketplace/messages", tags=["messages"])

    @routes.get("", summary="What the caller is told about its negotiations and contracts")
    async def list_messages(
        request: Request,
        caller: Calling,
        response: Response,
        state: State | None = None,
        subject: Annotated[str | None, Query(pattern="^[a-z]+:[0-9a-f-]{1,36}$")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[str, Query(pattern="^[0-9]{1,18}$")] = "0",
    ) -> list[MessageShown]:
        found = await flows.page(
            outbox,
            caller.party,
            state=state,
            subject=subject,
            after=int(cursor),
            limit=limit + 1,
        )
        more = str(found[limit - 1].position) if len(found) > limit else None
        response.headers.update(page_link(request, more))
        return [MessageShown.of(message) for message in found[:limit]]

    @routes.get("/{message_id}", summary="One message to the caller")
    async def show_message(message_id: str, caller: Calling) -> MessageShown:
        return MessageShown.of(await flows.find(outbox, caller.party, message_id))

    @routes.post(
        "/{message_id}/acknowledge",
        summary="Say that the caller has a message",
        response_model=MessageShown,
    )
    async def acknowledge_message(request: Request, message_id: str, caller: Calling) -> Response:
        async def run() -> Response:
            message = await flows.acknowledge(outbox, caller.party, message_id, clock())
            return json_response(MessageShown.of(message).model_dump(mode="json"))

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.post(
        "/{message_id}/send-again",
        summary="Have a dead letter sent again",
        response_model=MessageShown,
        status_code=202,
    )
    async def send_message_again(request: Request, message_id: str, caller: Calling) -> Response:
        async def run() -> Response:
            message = await flows.send_again(outbox, caller.party, message_id, clock())
            return json_response(MessageShown.of(message).model_dump(mode="json"), 202)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    return routes
