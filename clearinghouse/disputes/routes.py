"""HTTP for disputes: an EVSP declines, both sides act, both see the same."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, status
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from clearinghouse.disputes import flows
from clearinghouse.disputes.model import Action, Dispute, Outcome, Reason, Side, State
from clearinghouse.disputes.ports import Books
from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_of, json_response, page_link
from kit.idempotency import once
from roaming.party import PartyId


class Asked(BaseModel):
    """A record that the caller owes and does not want to pay; `other` needs words in `says`."""

    model_config = ConfigDict(extra="forbid")

    operator: str
    cdr_id: str
    reason: Reason
    says: str | None = None


class ActionAsked(BaseModel):
    """`says`: needed to contest, escalate, uphold and dismiss."""

    model_config = ConfigDict(extra="forbid")

    says: str | None = None


class StepShown(BaseModel):
    action: str
    by: str
    at: datetime
    says: str | None


class DisputeShown(BaseModel):
    """`turn`: who may act now, until `due_at`; who is silent beyond it has agreed.

    `outcome`: released, the record is owed as it was; credited, it is owed no more; null, it waits.
    """

    dispute_id: str
    operator: str
    cdr_id: str
    evsp: str
    state: State
    outcome: Outcome | None
    reason: Reason
    currency: str
    excl_vat: str
    vat: str
    opened_at: datetime
    due_at: datetime | None
    turn: list[Side]
    history: list[StepShown]


class DisputePage(BaseModel):
    disputes: list[DisputeShown]


_CALLER = Annotated[Caller, Depends(caller_of)]


def router(books: Books, *, database: Database, clock: Clock, hub: PartyId) -> APIRouter:
    """Disputes. `hub`: the party that decides what the two sides cannot."""
    routes = APIRouter(tags=["clearing-house: disputes"])

    @routes.post(
        "/disputes",
        status_code=status.HTTP_201_CREATED,
        response_model=DisputeShown,
        operation_id="decline-cdr",
    )
    async def decline(asked: Asked, request: Request, caller: _CALLER) -> Response:
        """By the EVSP: decline a CDR. Its amount is held out of all that is cleared, at once."""
        caller.must_be("evsp")

        async def work() -> Response:
            dispute = await flows.decline(
                PartyId(asked.operator),
                asked.cdr_id,
                asked.reason,
                asked.says,
                evsp=caller.party,
                books=books,
                clock=clock,
            )
            return json_response(shown(dispute).model_dump(mode="json"), 201)

        return await once(request, work, database=database, party=caller.party, clock=clock)

    @routes.get("/disputes", response_model=DisputePage, operation_id="list-disputes")
    async def list_disputes(
        request: Request,
        caller: _CALLER,
        state: Annotated[State | None, Query()] = None,
        cursor: Annotated[str, Query(pattern="^[0-9a-f-]*$", max_length=40)] = "",
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> Response:
        """The caller's own disputes, as operator or EVSP, oldest first."""
        found = await flows.page(
            caller=caller.party, hub=hub, state=state, after=cursor, limit=limit, books=books
        )
        page = DisputePage(disputes=[shown(one) for one in found])
        more = found[-1].dispute_id if len(found) == limit else None
        return json_response(page.model_dump(mode="json"), headers=page_link(request, more))

    @routes.get("/disputes/{dispute_id}", operation_id="show-dispute")
    async def show(dispute_id: str, caller: _CALLER) -> DisputeShown:
        """One of the caller's own disputes, with all that was done and said."""
        return shown(await flows.show(dispute_id, caller=caller.party, hub=hub, books=books))

    @routes.post(
        "/disputes/{dispute_id}/{action}",
        response_model=DisputeShown,
        operation_id="act-on-dispute",
    )
    async def act(
        dispute_id: str, action: Action, asked: ActionAsked, request: Request, caller: _CALLER
    ) -> Response:
        """Withdraw, accept or escalate by the EVSP; concede or contest by the operator; uphold or
        dismiss by the hub. The same action again changes nothing."""

        async def work() -> Response:
            dispute = await flows.act(
                dispute_id,
                action,
                asked.says,
                caller=caller.party,
                hub=hub,
                books=books,
                clock=clock,
            )
            return json_response(shown(dispute).model_dump(mode="json"))

        return await once(request, work, database=database, party=caller.party, clock=clock)

    return routes


def shown(dispute: Dispute) -> DisputeShown:
    return DisputeShown(
        dispute_id=dispute.dispute_id,
        operator=dispute.operator,
        cdr_id=dispute.cdr_id,
        evsp=dispute.evsp,
        state=dispute.state,
        outcome=dispute.outcome,
        reason=dispute.reason,
        currency=dispute.excl_vat.currency,
        excl_vat=dispute.excl_vat.figure,
        vat=dispute.vat.figure,
        opened_at=dispute.opened_at,
        due_at=dispute.due_at,
        turn=list(dispute.turn),
        history=[
            StepShown(action=one.action, by=one.by, at=one.at, says=one.says)
            for one in dispute.history
        ],
    )
