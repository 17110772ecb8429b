"""Negotiations over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, Instant, caller_of, json_response, page_link
from kit.idempotency import once
from marketplace.contracts.ports import Memory
from marketplace.framework.model import Clauses
from marketplace.negotiations import flows
from marketplace.negotiations.drafting import Subject, Wish
from marketplace.negotiations.history import Entry
from marketplace.negotiations.model import TRANSITIONS, Action, Negotiation, State
from marketplace.negotiations.ports import Negotiations, Registry, Told, Witness
from roaming.party import PartyId

Calling = Annotated[Caller, Depends(caller_of)]
LONGEST_JWS = 16 * 1024
_MOST = 2**31 - 1


class ValidityAsked(BaseModel):
    """`from` null: from the last signature on; `until` null: without an end."""

    model_config = ConfigDict(extra="forbid")
    from_: Instant | None = Field(default=None, alias="from")
    until: Instant | None = None


class ProposalAsked(BaseModel):
    """What is proposed. What is left out is as it was before: in the latest proposal, or first in
    the offering, or in the contract that is to be replaced."""

    model_config = ConfigDict(extra="forbid")
    terms: dict[str, Any] | None = None
    clauses: dict[str, Any] | None = None
    validity: ValidityAsked | None = None
    stands_until: Instant | None = None
    says: str | None = None

    def wish(self) -> Wish:
        validity = self.validity
        return Wish(
            terms=self.terms,
            clauses=self.clauses,
            validity=None if validity is None else (validity.from_, validity.until),
            stands_until=self.stands_until,
            says=self.says,
        )


class NegotiationAsked(ProposalAsked):
    """What the negotiation is about: a service, an offering, or a contract to be replaced.

    With `requester` the caller provides, and offers; else it requests, of the service's provider or
    (roaming) of `provider`.
    """

    service: str | None = None
    major: int = Field(default=1, ge=1, le=9999)
    provider: str | None = None
    requester: str | None = None
    offering_id: str | None = None
    replaces: str | None = None

    def subject(self) -> Subject:
        return Subject(
            service=self.service,
            major=self.major,
            provider=None if self.provider is None else PartyId(self.provider),
            requester=None if self.requester is None else PartyId(self.requester),
            offering_id=self.offering_id,
            replaces=self.replaces,
        )


class CounterAsked(ProposalAsked):
    """`answers`: the number of the latest proposal, so that nobody answers what stands no more."""

    answers: int = Field(ge=1, le=_MOST)


class AcceptAsked(BaseModel):
    """The number of the proposal that is accepted."""

    model_config = ConfigDict(extra="forbid")
    proposal: int = Field(ge=1, le=_MOST)


class EndAsked(BaseModel):
    """Why, told to the other side; and which proposal it is about."""

    model_config = ConfigDict(extra="forbid")
    proposal: int | None = Field(default=None, ge=1, le=_MOST)
    reason: str | None = None


class SignatureAsked(BaseModel):
    """A detached JWS (RFC 7797) over the document's bytes, by a key of a client of the caller's."""

    model_config = ConfigDict(extra="forbid")
    jws: str = Field(max_length=LONGEST_JWS)


class ClauseShown(BaseModel):
    """A clause, in a version of its module; its text is in the document."""

    name: str
    version: int
    parameters: dict[str, Any]


def _clauses(clauses: Clauses) -> list[ClauseShown]:
    return [
        ClauseShown(name=one.name, version=one.version, parameters=dict(one.parameters))
        for one in clauses.chosen
    ]


class ProposalShown(BaseModel):
    """A proposal; it is never changed."""

    number: int
    side: str
    by: str
    terms: dict[str, Any]
    clauses: list[ClauseShown]
    valid_from: datetime | None
    valid_until: datetime | None
    stands_until: datetime
    says: str | None
    at: datetime


class MoveShown(BaseModel):
    """What happened. `told`: by party, acknowledged, must-be-sent, dead-letter, or in-own-events
    for a party that has given no endpoint for `contracts`."""

    number: int
    action: str
    side: str
    by: str
    at: datetime
    state: str
    proposal: int
    says: str | None
    told: dict[str, str]


class SignatureShown(BaseModel):
    """A signature over the document, and the public key that it holds by."""

    side: str
    party: str
    jws: str
    public_key: dict[str, Any]
    at: datetime


class StepShown(BaseModel):
    """What may come next, and by which side."""

    action: str
    side: str


class NegotiationSeen(BaseModel):
    """A negotiation at a glance. `until`: when it lapses, while it is open."""

    negotiation_id: str
    requester: str
    provider: str
    service: str
    major: int
    offering_id: str | None
    replaces: str | None
    state: State
    version: int
    until: datetime
    contract_id: str | None

    @classmethod
    def of(cls, one: Negotiation) -> NegotiationSeen:
        return cls(**_glance(one))


class NegotiationShown(NegotiationSeen):
    """A negotiation as its two sides see it: both the same."""

    proposals: list[ProposalShown]
    moves: list[MoveShown]
    document_sha256: str | None
    signatures: list[SignatureShown]
    next: list[StepShown]

    @classmethod
    def whole(cls, one: Negotiation, told: Sequence[Told]) -> NegotiationShown:
        reached: dict[int, dict[str, str]] = {}
        for it in told:
            reached.setdefault(it.number, {})[it.party] = it.state
        return cls(
            **_glance(one),
            proposals=[
                ProposalShown(
                    number=it.number,
                    side=it.side,
                    by=it.by,
                    terms=it.terms.to_json(),
                    clauses=[] if it.clauses is None else _clauses(it.clauses),
                    valid_from=it.valid_from,
                    valid_until=it.valid_until,
                    stands_until=it.stands_until,
                    says=it.says,
                    at=it.at,
                )
                for it in one.proposals
            ],
            moves=[
                MoveShown(
                    number=it.number,
                    action=it.action,
                    side=it.side,
                    by=it.by,
                    at=it.at,
                    state=it.state,
                    proposal=it.proposal,
                    says=it.says,
                    told=dict(sorted(reached.get(it.number, {}).items())),
                )
                for it in one.moves
            ],
            document_sha256=None if one.document is None else one.document.hex(),
            signatures=[
                SignatureShown(
                    side=it.side,
                    party=it.party,
                    jws=it.jws,
                    public_key=dict(it.public_key),
                    at=it.at,
                )
                for it in one.signatures
            ],
            next=[StepShown(action=it, side=side) for it, side in TRANSITIONS[one.state]],
        )


class EntryShown(BaseModel):
    """A fact of a contract's history. `sha256` is its place in the chain of its subject."""

    number: int
    subject: str
    type: str
    occurred_at: datetime
    data: dict[str, Any]
    sha256: str


class HistoryShown(BaseModel):
    """A contract's history, the same for both sides."""

    contract_id: str
    entries: list[EntryShown]

    @classmethod
    def of(cls, contract_id: str, entries: Sequence[Entry]) -> HistoryShown:
        return cls(
            contract_id=contract_id,
            entries=[
                EntryShown(
                    number=number,
                    subject=one.subject,
                    type=one.type,
                    occurred_at=one.occurred_at,
                    data=dict(one.data),
                    sha256=one.hash.hex(),
                )
                for number, one in enumerate(entries, 1)
            ],
        )


def _glance(one: Negotiation) -> dict[str, Any]:
    return {
        "negotiation_id": one.negotiation_id,
        "requester": one.requester,
        "provider": one.provider,
        "service": one.service,
        "major": one.major,
        "offering_id": one.offering_id,
        "replaces": one.replaces,
        "state": one.state,
        "version": one.version,
        "until": one.until,
        "contract_id": one.contract_id,
    }


def history_router(negotiations: Negotiations) -> APIRouter:
    """Beside the contracts' own routes, since a history begins with its negotiation."""
    routes = APIRouter(prefix="/marketplace/contracts", tags=["contracts"])

    @routes.get("/{contract_id}/history", summary="All that has happened to a contract")
    async def show_contract_history(contract_id: str, caller: Calling) -> HistoryShown:
        found = await flows.history(negotiations, caller.party, contract_id)
        return HistoryShown.of(contract_id, found)

    return routes


def router(
    negotiations: Negotiations,
    registry: Registry,
    witness: Witness,
    database: Database,
    clock: Clock,
    memory: Memory,
    *,
    hub: PartyId,
) -> APIRouter:
    routes = APIRouter(prefix="/marketplace/negotiations", tags=["negotiations"])

    async def shown(caller: Caller, one: Negotiation, status: int = 200) -> Response:
        found = await flows.find_told(negotiations, caller.party, one.negotiation_id)
        return json_response(NegotiationShown.whole(*found).model_dump(mode="json"), status)

    @routes.get("", summary="The caller's negotiations, on either side")
    async def list_negotiations(
        request: Request,
        caller: Calling,
        response: Response,
        state: State | None = None,
        service: Annotated[str | None, Query(pattern="^[a-z0-9-]{1,63}$")] = None,
        party: str | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 100,
        cursor: Annotated[str | None, Query(pattern="^[0-9a-f-]{1,36}$")] = None,
    ) -> list[NegotiationSeen]:
        found = await flows.page(
            negotiations,
            caller.party,
            state=state,
            service=service,
            other=None if party is None else PartyId(party),
            after=cursor,
            limit=limit + 1,
        )
        more = found[limit - 1].negotiation_id if len(found) > limit else None
        response.headers.update(page_link(request, more))
        return [NegotiationSeen.of(one) for one in found[:limit]]

    @routes.get("/{negotiation_id}", summary="One of the caller's negotiations")
    async def show_negotiation(negotiation_id: str, caller: Calling) -> NegotiationShown:
        found = await flows.find_told(negotiations, caller.party, negotiation_id)
        return NegotiationShown.whole(*found)

    @routes.get(
        "/{negotiation_id}/document",
        summary="The bytes that both sides sign",
        response_model=dict[str, Any],
    )
    async def show_negotiated_document(negotiation_id: str, caller: Calling) -> Response:
        body = await flows.document(negotiations, caller.party, negotiation_id)
        return Response(body, media_type="application/json")

    @routes.post(
        "",
        summary="Begin a negotiation: request a service, or offer one to a party",
        status_code=201,
        response_model=NegotiationShown,
    )
    async def begin_negotiation(
        request: Request, asked: NegotiationAsked, caller: Calling
    ) -> Response:
        async def run() -> Response:
            begun = await flows.begin(
                negotiations,
                caller.party,
                caller.roles,
                asked.subject(),
                asked.wish(),
                clock(),
            )
            return await shown(caller, begun, 201)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.post(
        "/{negotiation_id}/proposals",
        summary="Propose something else: a counter-offer, or a better one of one's own",
        status_code=201,
        response_model=NegotiationShown,
    )
    async def make_proposal(
        request: Request, negotiation_id: str, asked: CounterAsked, caller: Calling
    ) -> Response:
        async def run() -> Response:
            moved = await flows.propose(
                negotiations,
                caller.party,
                negotiation_id,
                asked.answers,
                asked.wish(),
                clock(),
            )
            return await shown(caller, moved, 201)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.post(
        "/{negotiation_id}/accept",
        summary="Accept the other side's latest proposal",
        response_model=NegotiationShown,
    )
    async def accept_proposal(
        request: Request, negotiation_id: str, asked: AcceptAsked, caller: Calling
    ) -> Response:
        async def run() -> Response:
            moved = await flows.accept(
                negotiations, registry, caller.party, negotiation_id, asked.proposal, clock()
            )
            return await shown(caller, moved)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.post(
        "/{negotiation_id}/signatures",
        summary="Sign the document of a negotiation that has been accepted",
        status_code=201,
        response_model=NegotiationShown,
    )
    async def sign_document(
        request: Request, negotiation_id: str, asked: SignatureAsked, caller: Calling
    ) -> Response:
        async def run() -> Response:
            moved = await flows.sign(
                negotiations,
                registry,
                witness,
                hub,
                caller.party,
                negotiation_id,
                asked.jws,
                memory=memory,
                now=clock(),
            )
            return await shown(caller, moved, 201)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    async def end(
        request: Request,
        negotiation_id: str,
        action: Action,
        asked: EndAsked | None,
        caller: Caller,
    ) -> Response:
        async def run() -> Response:
            moved = await flows.end(
                negotiations,
                caller.party,
                negotiation_id,
                action,
                None if asked is None else asked.reason,
                clock(),
                number=None if asked is None else asked.proposal,
            )
            return await shown(caller, moved)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.post(
        "/{negotiation_id}/refuse",
        summary="Refuse what the other side proposes: the negotiation ends",
        response_model=NegotiationShown,
    )
    async def refuse_proposal(
        request: Request, negotiation_id: str, caller: Calling, asked: EndAsked | None = None
    ) -> Response:
        return await end(request, negotiation_id, Action.REFUSE, asked, caller)

    @routes.post(
        "/{negotiation_id}/withdraw",
        summary="Withdraw one's proposal, or from what has yet to be signed: the negotiation ends",
        response_model=NegotiationShown,
    )
    async def withdraw_from_negotiation(
        request: Request, negotiation_id: str, caller: Calling, asked: EndAsked | None = None
    ) -> Response:
        return await end(request, negotiation_id, Action.WITHDRAW, asked, caller)

    return routes
