"""Contracts over HTTP: accepted, seen by their two parties, changed by them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_of, json_response, page_link
from kit.idempotency import once
from kit.problem import told_of
from marketplace.contracts import flows
from marketplace.contracts.life import end_to_tell
from marketplace.contracts.model import Absence, Action, Contract, absence
from marketplace.contracts.ports import Contracts, Memory
from marketplace.services.model import Environment
from roaming.party import PartyId
from roaming.refusal import Refusal

Calling = Annotated[Caller, Depends(caller_of)]
_ServiceName = Query(pattern="^[a-z0-9-]{1,63}$")


class AcceptAsked(BaseModel):
    """One offering to accept, or up to 1,000 at once: all or none, unless `continue` is said. Then
    those that can be accepted are, and the answer names the others and why not."""

    model_config = ConfigDict(extra="forbid")
    offering_id: str | None = None
    offering_ids: list[str] | None = Field(
        default=None, min_length=1, max_length=flows.MOST_AT_ONCE
    )

    go_on: bool = Field(default=False, alias="continue")

    @model_validator(mode="after")
    def _one_or_many(self) -> AcceptAsked:
        if (self.offering_id is None) is (self.offering_ids is None):
            raise ValueError("either offering_id or offering_ids")
        if self.go_on and self.offering_ids is None:
            raise ValueError("continue goes with offering_ids")
        return self


class ReasonAsked(BaseModel):
    """Why; told to the other party."""

    model_config = ConfigDict(extra="forbid")
    reason: str | None = None


class StatusShown(BaseModel):
    """A status that the contract took on; `since` may lie ahead, while a notice runs."""

    status: str
    since: datetime
    by: str
    reason: str | None


class ContractShown(BaseModel):
    """A contract as its two parties see it. One of the environment `sandbox` is for calls that are
    tried, and for nothing else.

    `ends`: when it ends, by its term or by a termination whose notice runs; terms with
    `renews_months` renew the former, unless the latter is known.
    `absence`: why it is not in force now, by what it says itself; null: it is.
    """

    contract_id: str
    offering_id: str | None
    provider: str
    requester: str
    service: str
    major: int
    terms: dict[str, Any]
    clauses_sha256: str | None
    valid_from: datetime
    valid_until: datetime | None
    status: str
    environment: str
    suspended_by: list[str]
    history: list[StatusShown]
    negotiation_id: str | None
    replaces: str | None
    renewals: int
    ends: datetime | None
    absence: Absence | None

    @classmethod
    def of(cls, contract: Contract, now: datetime) -> ContractShown:
        digest = contract.clauses_digest
        return cls(
            contract_id=contract.contract_id,
            offering_id=contract.offering_id,
            provider=contract.provider,
            requester=contract.requester,
            service=contract.service,
            major=contract.major,
            terms=contract.terms.to_json(),
            clauses_sha256=None if digest is None else digest.hex(),
            valid_from=contract.valid_from,
            valid_until=contract.valid_until,
            status=contract.status_at(now),
            environment=contract.environment,
            suspended_by=sorted(contract.suspended_by),
            history=[
                StatusShown(status=one.status, since=one.since, by=one.by, reason=one.reason)
                for one in contract.history
            ],
            negotiation_id=contract.negotiation_id,
            replaces=contract.replaces,
            renewals=contract.renewals,
            ends=end_to_tell(contract),
            absence=absence(contract.valid_from, contract.valid_until, contract.history, now),
        )


class FailedShown(BaseModel):
    """An offering that was not accepted, and why: as it would be refused by itself."""

    offering_id: str
    problem: dict[str, Any]


class ContractsShown(BaseModel):
    """What came of accepting many, in the order asked. `failed`: where `continue` was said."""

    contracts: list[ContractShown]
    failed: list[FailedShown] | None = None


def router(contracts: Contracts, database: Database, clock: Clock, memory: Memory) -> APIRouter:
    routes = APIRouter(prefix="/marketplace/contracts", tags=["contracts"])

    @routes.get("", summary="The caller's contracts, as provider or requester")
    async def list_contracts(
        request: Request,
        caller: Calling,
        response: Response,
        service: Annotated[str | None, _ServiceName] = None,
        party: str | None = None,
        environment: Environment | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[str | None, Query(pattern="^[0-9a-f-]{1,36}$")] = None,
    ) -> list[ContractShown]:
        found = await flows.page(
            contracts,
            caller.party,
            service=service,
            other=None if party is None else PartyId(party),
            environment=environment,
            after=cursor,
            limit=limit + 1,
        )
        more = found[limit - 1].contract_id if len(found) > limit else None
        response.headers.update(page_link(request, more))
        now = clock()
        return [ContractShown.of(contract, now) for contract in found[:limit]]

    @routes.get("/{contract_id}", summary="One of the caller's contracts")
    async def show_contract(contract_id: str, caller: Calling) -> ContractShown:
        return ContractShown.of(await flows.find(contracts, caller.party, contract_id), clock())

    @routes.post(
        "",
        summary="Accept an offering, or up to 1,000",
        status_code=201,
        response_model=ContractShown | ContractsShown,
    )
    async def accept_offerings(request: Request, asked: AcceptAsked, caller: Calling) -> Response:
        async def run() -> Response:
            if asked.go_on:
                return await accept_each(asked.offering_ids or [], caller)
            now = clock()
            one = asked.offering_id
            agreed = await flows.accept(
                contracts,
                caller.party,
                caller.roles,
                asked.offering_ids or [one or ""],
                memory=memory,
                now=now,
            )
            shown = [ContractShown.of(contract, now).model_dump(mode="json") for contract in agreed]
            return json_response(shown[0] if one is not None else {"contracts": shown}, 201)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    async def accept_each(offering_ids: list[str], caller: Caller) -> Response:
        now = clock()
        told = await flows.accept_each(
            contracts, caller.party, caller.roles, offering_ids, memory=memory, now=now
        )
        agreed = [
            ContractShown.of(one, now).model_dump(mode="json")
            for one in told
            if isinstance(one, Contract)
        ]
        failed = [
            {"offering_id": offering_id, "problem": told_of(one)}
            for offering_id, one in zip(offering_ids, told, strict=True)
            if isinstance(one, Refusal)
        ]
        return json_response({"contracts": agreed, "failed": failed}, 201 if agreed else 200)

    @routes.post(
        "/{contract_id}/{action}",
        summary="Suspend, resume or end one of the caller's contracts",
        response_model=ContractShown,
    )
    async def change_contract(
        request: Request,
        contract_id: str,
        action: Action,
        caller: Calling,
        asked: ReasonAsked | None = None,
    ) -> Response:
        async def run() -> Response:
            now = clock()
            contract = await flows.change(
                contracts,
                caller.party,
                contract_id,
                action,
                memory=memory,
                now=now,
                reason=None if asked is None else asked.reason,
            )
            return json_response(ContractShown.of(contract, now).model_dump(mode="json"))

        return await once(request, run, database=database, party=caller.party, clock=clock)

    return routes
