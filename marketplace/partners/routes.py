"""Partners over HTTP: the directory for all who take part, endpoints for each its own."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_of, json_response, page_link
from kit.idempotency import once
from marketplace.partners import flows
from marketplace.partners.model import Endpoint, Partner, Purpose, Role
from marketplace.partners.ports import Contracts, Partners
from marketplace.partners.standing import Action, RoleAction
from roaming.party import PartyId

Calling = Annotated[Caller, Depends(caller_of)]


class PartnerShown(BaseModel):
    """A partner as all others see it."""

    party: str
    name: str
    roles: list[str]
    status: str
    registered_at: datetime

    @classmethod
    def of(cls, partner: Partner, now: datetime) -> PartnerShown:
        return cls(
            party=partner.party,
            name=partner.name,
            roles=sorted(partner.roles_at(now)),
            status=partner.status_at(now),
            registered_at=partner.registered_at,
        )


class ReasonTold(BaseModel):
    """Why; told to the partner itself, and to nobody else."""

    model_config = ConfigDict(extra="forbid")
    reason: str | None = None


class RoleStanding(BaseModel):
    """A role that the partner was approved for: `approved`, or `suspended` for now."""

    role: str
    status: str


class TurnShown(BaseModel):
    """What happened to the partner or its `role`; `since` may lie ahead, while a notice runs."""

    turn: str
    role: str | None
    since: datetime
    by: str
    recorded_at: datetime
    reason: str | None


class StandingShown(BaseModel):
    """How a partner stands, and how it came to that."""

    party: str
    main_party: str
    name: str
    status: str
    leaves_at: datetime | None
    roles: list[RoleStanding]
    history: list[TurnShown]

    @classmethod
    def of(cls, partner: Partner, now: datetime) -> StandingShown:
        standing = partner.standing
        return cls(
            party=partner.party,
            main_party=partner.belongs_to,
            name=partner.name,
            status=partner.status_at(now),
            leaves_at=standing.leaves_at,
            roles=[
                RoleStanding(
                    role=role,
                    status="suspended" if standing.suspended_in(role, now) else "approved",
                )
                for role in sorted(partner.roles)
            ],
            history=[
                TurnShown.model_validate(one, from_attributes=True) for one in standing.history
            ],
        )


class EndpointAsked(BaseModel):
    """Where the hub is to call, and headers to send along (an Authorization, as a rule)."""

    model_config = ConfigDict(extra="forbid")
    url: str
    headers: dict[str, str] = Field(default_factory=dict)


class EndpointShown(BaseModel):
    """An endpoint without the values of its headers: they are told to nobody again."""

    party: str
    purpose: str
    url: str
    header_names: list[str]

    @classmethod
    def of(cls, endpoint: Endpoint) -> EndpointShown:
        return cls(
            party=endpoint.party,
            purpose=endpoint.purpose,
            url=endpoint.url,
            header_names=sorted(endpoint.headers),
        )


def router(
    partners: Partners,
    database: Database,
    clock: Clock,
    memory: Contracts,
    *,
    hub: PartyId,
    allow_loopback: bool,
) -> APIRouter:
    """`allow_loopback`: the hub may be sent to addresses of this very machine."""
    routes = APIRouter(prefix="/marketplace/partners", tags=["partners"])

    @routes.get("", summary="The directory of partners")
    async def list_partners(
        request: Request,
        caller: Calling,
        response: Response,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: str | None = None,
    ) -> list[PartnerShown]:
        after = None if cursor is None else PartyId(cursor)
        found = await flows.page(partners, after, limit + 1)
        more = found[limit - 1].party if len(found) > limit else None
        response.headers.update(page_link(request, more))
        now = clock()
        return [PartnerShown.of(partner, now) for partner in found[:limit]]

    @routes.get("/{party}", summary="One partner")
    async def show_partner(party: str, caller: Calling) -> PartnerShown:
        return PartnerShown.of(await flows.find(partners, PartyId(party)), clock())

    @routes.get("/{party}/endpoints", summary="Where the hub calls the caller")
    async def list_endpoints(party: str, caller: Calling) -> list[EndpointShown]:
        found = await flows.endpoints(partners, caller.party, PartyId(party))
        return [EndpointShown.of(endpoint) for endpoint in found]

    @routes.put(
        "/{party}/endpoints/{purpose}",
        summary="Say where the hub calls the caller",
        response_model=EndpointShown,
    )
    async def set_endpoint(
        request: Request, party: str, purpose: Purpose, asked: EndpointAsked, caller: Calling
    ) -> Response:
        async def run() -> Response:
            endpoint = await flows.set_endpoint(
                partners,
                caller.party,
                PartyId(party),
                purpose,
                asked.url,
                asked.headers,
                allow_loopback=allow_loopback,
                now=clock(),
            )
            return json_response(EndpointShown.of(endpoint).model_dump(mode="json"))

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.get(
        "/{party}/standing",
        summary="How a partner stands, in each of its roles: for itself and the hub's operator",
    )
    async def show_standing(party: str, caller: Calling) -> StandingShown:
        found = await flows.standing_of(partners, caller.party, PartyId(party), hub=hub)
        return StandingShown.of(found, clock())

    async def changed(
        request: Request,
        party: str,
        action: Action,
        caller: Caller,
        told: ReasonTold | None,
        role: Role | None = None,
    ) -> Response:
        async def run() -> Response:
            now = clock()
            partner = await flows.change_standing(
                partners,
                caller.party,
                PartyId(party),
                action,
                hub=hub,
                memory=memory,
                now=now,
                role=role,
                reason=None if told is None else told.reason,
            )
            return json_response(StandingShown.of(partner, now).model_dump(mode="json"))

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.post(
        "/{party}/standing/{action}",
        summary="Suspend or restore a partner (the hub's operator), or leave the market",
        response_model=StandingShown,
    )
    async def change_standing(
        request: Request,
        party: str,
        action: Action,
        caller: Calling,
        told: ReasonTold | None = None,
    ) -> Response:
        return await changed(request, party, action, caller, told)

    @routes.post(
        "/{party}/roles/{role}/{action}",
        summary="Suspend or restore a partner in one of its roles (the hub's operator)",
        response_model=StandingShown,
    )
    async def change_role(
        request: Request,
        party: str,
        role: Role,
        action: RoleAction,
        caller: Calling,
        told: ReasonTold | None = None,
    ) -> Response:
        return await changed(request, party, Action(action.value), caller, told, role)

    return routes
