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
from marketplace.partners.model import Endpoint, Partner, Purpose
from marketplace.partners.ports import Partners
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
    def of(cls, partner: Partner) -> PartnerShown:
        return cls(
            party=partner.party,
            name=partner.name,
            roles=sorted(partner.roles),
            status=partner.status,
            registered_at=partner.registered_at,
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
    partners: Partners, database: Database, clock: Clock, *, allow_loopback: bool
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
        return [PartnerShown.of(partner) for partner in found[:limit]]

    @routes.get("/{party}", summary="One partner")
    async def show_partner(party: str, caller: Calling) -> PartnerShown:
        return PartnerShown.of(await flows.find(partners, PartyId(party)))

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

    return routes
