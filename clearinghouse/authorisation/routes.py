"""HTTP for authorisations. Asking is hot and has no framework around it; the rest is plain."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from clearinghouse.authorisation import flows, model
from clearinghouse.authorisation.model import (
    Authorisation,
    Decision,
    IdentificationType,
    Reason,
    Silence,
    Step,
)
from clearinghouse.authorisation.ports import (
    Agreements,
    Customers,
    Decisions,
    Evses,
    Evsps,
    Policies,
)
from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, HotRoute, caller_of, decode, json_response, read_body
from kit.idempotency import once

LONGEST_BODY_BYTES = 64 * 1024


class IdentificationAsked(msgspec.Struct, forbid_unknown_fields=True):
    type: IdentificationType
    value: str


class AuthorisationAsked(msgspec.Struct, forbid_unknown_fields=True):
    """`at` is the time of the fact, if that is not now. `charge_id` makes asking again harmless."""

    evse_id: str
    identification: IdentificationAsked
    services: tuple[str, ...] = ("charging",)
    charge_id: str | None = None
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class AuthorisationAnswered(msgspec.Struct):
    """`contract_id` is told where there is an agreement, `evsp` wherever the customer is known."""

    authorisation_id: str
    decision: Decision
    reason: Reason | None
    contract_id: str | None
    evsp: str | None
    services: tuple[str, ...]
    valid_until: datetime | None
    price: Mapping[str, Any] | None

    @classmethod
    def of(cls, decided: Authorisation) -> AuthorisationAnswered:
        contract_id = decided.contract_shown
        return cls(
            authorisation_id=decided.authorisation_id,
            decision=decided.decision,
            reason=decided.reason,
            contract_id=None if contract_id is None else str(contract_id),
            evsp=None if decided.evsp is None else str(decided.evsp),
            services=decided.question.services if decided.reason is None else (),
            valid_until=decided.valid_until,
            price=decided.price,
        )


class StepShown(BaseModel):
    """`outcome`: passed, failed or not-reached. `detail` is for the EVSP concerned alone."""

    reason: Reason
    must_be: str
    outcome: str
    detail: str | None

    @classmethod
    def of(cls, step: Step) -> StepShown:
        return cls(
            reason=step.reason, must_be=step.must_be, outcome=step.outcome, detail=step.detail
        )


class AuthorisationShown(BaseModel):
    authorisation_id: str
    decision: Decision
    reason: Reason | None
    operator: str
    evsp: str | None
    evse_id: str
    contract_id: str | None
    identification_type: IdentificationType
    services: list[str]
    charge_id: str | None
    at: datetime
    decided_at: datetime
    valid_until: datetime | None
    price: dict[str, Any] | None
    steps: list[StepShown]

    @classmethod
    def of(
        cls, decided: Authorisation, steps: tuple[Step, ...], caller: Caller
    ) -> AuthorisationShown:
        question = decided.question
        known_to_caller = (
            decided.contract_id if caller.party == decided.evsp else decided.contract_shown
        )
        return cls(
            authorisation_id=decided.authorisation_id,
            decision=decided.decision,
            reason=decided.reason,
            operator=str(question.operator),
            evsp=None if decided.evsp is None else str(decided.evsp),
            evse_id=question.evse_id.display,
            contract_id=None if known_to_caller is None else str(known_to_caller),
            identification_type=question.identification.type,
            services=list(question.services),
            charge_id=question.charge_id,
            at=question.at,
            decided_at=decided.decided_at,
            valid_until=decided.valid_until,
            price=None if decided.price is None else dict(decided.price),
            steps=[StepShown.of(step) for step in steps],
        )


class EvspPolicy(BaseModel):
    """What holds when the EVSP is asked and does not answer in time."""

    model_config = ConfigDict(extra="forbid")

    on_silence: Silence


def _evsp(request: Request) -> Caller:
    caller = caller_of(request)
    caller.must_be("evsp")
    return caller


def _either(request: Request) -> Caller:
    caller = caller_of(request)
    caller.must_be("evse-operator", "evsp")
    return caller


Evsp = Annotated[Caller, Depends(_evsp)]
OperatorOrEvsp = Annotated[Caller, Depends(_either)]


def hot_routes(
    *,
    evses: Evses,
    customers: Customers,
    agreements: Agreements,
    evsps: Evsps,
    decisions: Decisions,
    database: Database,
    clock: Clock,
    ask_timeout_s: float = flows.ASK_TIMEOUT_S,
) -> list[HotRoute]:
    """`POST /authorisations`: may this customer charge here?"""

    async def authorise(request: Request) -> Response:
        caller = caller_of(request)
        caller.must_be("evse-operator")
        asked = decode(await read_body(request, LONGEST_BODY_BYTES), AuthorisationAsked)
        question = model.question_of(
            caller.party,
            evse_id=asked.evse_id,
            identification=model.identify(asked.identification.type, asked.identification.value),
            services=asked.services,
            charge_id=asked.charge_id,
            at=asked.at,
            now=clock(),
        )
        decided = await flows.authorise(
            question,
            evses=evses,
            customers=customers,
            agreements=agreements,
            evsps=evsps,
            decisions=decisions,
            clock=clock,
            ask_timeout_s=ask_timeout_s,
        )
        return json_response(AuthorisationAnswered.of(decided))

    async def handle(request: Request) -> Response:
        if "idempotency-key" not in request.headers:
            return await authorise(request)
        party = caller_of(request).party
        return await once(
            request, lambda: authorise(request), database=database, party=party, clock=clock
        )

    return [
        HotRoute(
            method="POST",
            path="/authorisations",
            handler=handle,
            operation="authorise",
            summary="May this customer charge here? The decision is on record before the answer.",
            request_type=AuthorisationAsked,
            response_type=AuthorisationAnswered,
        )
    ]


def router(
    *, decisions: Decisions, policies: Policies, database: Database, clock: Clock
) -> APIRouter:
    """`GET /authorisations/{authorisation_id}` and `/evsp-policy`."""
    routes = APIRouter(tags=["clearing house: authorisation"])

    @routes.get("/authorisations/{authorisation_id}")
    async def explain_authorisation(
        authorisation_id: str, caller: OperatorOrEvsp
    ) -> AuthorisationShown:
        """A decision and each step of it, for its operator or the EVSP concerned."""
        decided, steps = await flows.explain(
            authorisation_id, caller=caller.party, decisions=decisions
        )
        return AuthorisationShown.of(decided, steps, caller)

    @routes.get("/evsp-policy")
    async def show_evsp_policy(caller: Evsp) -> EvspPolicy:
        """The caller's own policy; `refuse` where it has chosen none."""
        return EvspPolicy(on_silence=await policies.on_silence(caller.party))

    @routes.put("/evsp-policy", response_model=EvspPolicy)
    async def choose_evsp_policy(request: Request, asked: EvspPolicy, caller: Evsp) -> Response:
        """What is to hold when the caller is asked about a customer and does not answer."""

        async def choose() -> Response:
            await flows.choose_on_silence(
                asked.on_silence, caller=caller.party, policies=policies, clock=clock
            )
            return json_response(asked.model_dump(mode="json"))

        return await once(request, choose, database=database, party=caller.party, clock=clock)

    return routes
