"""The audit over HTTP: as JSON page by page, or as CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from kit.encoding import encode_json
from kit.http import Caller, Instant, caller_of, json_response, page_link
from kit.sheet import plain
from marketplace.audit import model
from marketplace.audit.model import END, MOST_AT_ONCE, Entry, Question, told_to
from marketplace.audit.ports import Audit
from roaming.events import EventType
from roaming.party import PartyId

Calling = Annotated[Caller, Depends(caller_of)]
_COLUMNS = (
    *("cursor", "occurred_at", "recorded_at", "type", "actor", "actor_name", "on_behalf_of"),
    *("party", "stream", "correlation_id", "body"),
)


class EntryShown(BaseModel):
    """`actor`: `client:…`, `person:…`, `office` (the hub's operator at its command line), `task:…`
    (the hub's own timed work); null: an event from before actors were kept, or nobody's. Of those
    who act for another party the kind alone is told. `party`: to whom the event was told."""

    cursor: str
    occurred_at: datetime
    recorded_at: datetime
    type: str
    actor: str | None
    actor_name: str | None
    on_behalf_of: str | None
    party: str
    stream: str
    correlation_id: str | None
    body: dict[str, Any]

    @classmethod
    def of(cls, entry: Entry) -> EntryShown:
        return cls(
            cursor=str(entry.place),
            occurred_at=entry.occurred_at,
            recorded_at=entry.recorded_at,
            type=entry.type,
            actor=entry.actor,
            actor_name=entry.actor_name,
            on_behalf_of=entry.on_behalf_of,
            party=entry.party,
            stream=entry.stream,
            correlation_id=entry.correlation_id,
            body=dict(entry.body),
        )


def router(audit: Audit, *, hub: PartyId) -> APIRouter:
    routes = APIRouter(prefix="/marketplace/audit", tags=["audit"])

    @routes.get(
        "",
        summary="Who did what, when and for whom, as far as it concerns the caller; newest first",
        response_model=list[EntryShown],
        responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    )
    async def read_audit(
        request: Request,
        caller: Calling,
        since: Instant | None = None,
        until: Instant | None = None,
        type: Annotated[list[EventType] | None, Query()] = None,
        actor: Annotated[
            str | None, Query(max_length=200, description="one of the caller's own, or the hub's")
        ] = None,
        stream: Annotated[
            str | None, Query(max_length=300, description="as `contract:…`, `service:…:1`")
        ] = None,
        party: Annotated[str | None, Query(description="for the hub's operator")] = None,
        cursor: str | None = None,
        limit: Annotated[int, Query(ge=1, le=MOST_AT_ONCE)] = 100,
        format: Literal["json", "csv"] = "json",
    ) -> Response:
        whose = None if party is None else PartyId(party)
        reader = model.asked_by(caller.party, whose, hub=hub)
        of_the_hub = caller.party == hub
        question = Question(
            party=reader,
            reader=None if of_the_hub else reader,
            since=since,
            until=until,
            types=tuple(type or ()),
            actor=_plain(actor),
            stream=_plain(stream),
            before=END if cursor is None else model.place_of(cursor),
            limit=limit + 1,
        )
        found = await audit.read(question)
        shown = [EntryShown.of(told_to(one, question.reader)) for one in found[:limit]]
        more = shown[-1].cursor if len(found) > limit else None
        headers = page_link(request, more)
        if format == "csv":
            return Response(_csv(shown), media_type="text/csv; charset=utf-8", headers=headers)
        return json_response([one.model_dump(mode="json") for one in shown], headers=headers)

    return routes


def _plain(text: str | None) -> str | None:
    """PostgreSQL keeps no NUL: nothing is called so."""
    return None if text is None else text.replace("\0", "\ufffd")


def _csv(entries: Sequence[EntryShown]) -> str:
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(_COLUMNS)
    for entry in entries:
        told = entry.model_dump(mode="json")
        told["body"] = encode_json(told["body"]).decode()
        writer.writerow([plain(told[name]) for name in _COLUMNS])
    return written.getvalue()
