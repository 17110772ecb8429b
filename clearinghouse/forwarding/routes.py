"""HTTP for what an EVSP refused: see it, have it again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, status
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from clearinghouse.forwarding import flows
from clearinghouse.forwarding.model import DeadLetter
from clearinghouse.forwarding.ports import Outbox
from kit.clock import Clock
from kit.http import Caller, caller_of, json_response, page_link

_LARGEST = 2**63 - 1


class DeadLetterShown(BaseModel):
    """A CDR that the caller's endpoint refused with `status`; `says` is how its answer began."""

    dead_letter_id: int
    operator: str
    cdr_id: str
    status: int
    says: str
    refused_at: datetime
    replay_requested_at: datetime | None
    delivered_at: datetime | None


class DeadLetterPage(BaseModel):
    dead_letters: list[DeadLetterShown]


def router(outbox: Outbox, *, clock: Clock) -> APIRouter:
    """Dead letters; each EVSP has its own."""
    routes = APIRouter(tags=["clearing-house: forwarding"])

    @routes.get("/dead-letters", response_model=DeadLetterPage, operation_id="list-dead-letters")
    async def list_dead_letters(
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
        cursor: Annotated[int, Query(ge=0, le=_LARGEST)] = 0,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> Response:
        """CDRs that the caller's endpoint refused, oldest first, also those delivered since."""
        caller.must_be("evsp")
        found = await flows.list_dead_letters(
            caller.party, after=cursor, limit=limit, outbox=outbox
        )
        page = DeadLetterPage(dead_letters=[_shown(one) for one in found])
        more = str(found[-1].dead_letter_id) if len(found) == limit else None
        return json_response(page.model_dump(mode="json"), headers=page_link(request, more))

    @routes.post(
        "/dead-letters/{dead_letter_id}/replay",
        status_code=status.HTTP_202_ACCEPTED,
        operation_id="replay-dead-letter",
    )
    async def replay(
        dead_letter_id: Annotated[int, Path(ge=0, le=_LARGEST)],
        caller: Annotated[Caller, Depends(caller_of)],
    ) -> DeadLetterShown:
        """Have it sent again, under a new delivery id. Asking twice is asking once."""
        caller.must_be("evsp")
        return _shown(await flows.replay(caller.party, dead_letter_id, outbox=outbox, clock=clock))

    return routes


def _shown(letter: DeadLetter) -> DeadLetterShown:
    return DeadLetterShown(
        dead_letter_id=letter.dead_letter_id,
        operator=letter.operator,
        cdr_id=letter.cdr_id,
        status=letter.status,
        says=letter.says,
        refused_at=letter.refused_at,
        replay_requested_at=letter.replay_requested_at,
        delivered_at=letter.delivered_at,
    )
