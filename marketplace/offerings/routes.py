"""Offerings over HTTP: made one at a time or many at once, seen by those they are made to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_of, json_response, page_link
from kit.idempotency import once
from kit.sortable_id import sortable_id
from marketplace.offerings import flows
from marketplace.offerings.model import (
    Audience,
    AudienceKind,
    BadOffering,
    Offering,
    Status,
    parse_terms,
)
from marketplace.offerings.ports import Offerings
from roaming.party import PartyId

Calling = Annotated[Caller, Depends(caller_of)]
MOST_AT_ONCE = 1_000


class AudienceShape(BaseModel):
    """To whom: `public`, `roles` with their names, or `parties` with their ids."""

    model_config = ConfigDict(extra="forbid")
    kind: AudienceKind = AudienceKind.PUBLIC
    roles: list[str] = Field(default_factory=list)
    parties: list[str] = Field(default_factory=list)

    def to_audience(self) -> Audience:
        if (self.roles and self.kind is not AudienceKind.ROLES) or (
            self.parties and self.kind is not AudienceKind.PARTIES
        ):
            raise BadOffering(
                "the audience is said in two ways",
                field="audience.kind",
                value=self.kind,
                rule="roles with kind roles, parties with kind parties",
            )
        if self.kind is AudienceKind.ROLES:
            return Audience.of_roles(self.roles)
        if self.kind is AudienceKind.PARTIES:
            return Audience.of_parties(self.parties)
        return Audience.public()

    @classmethod
    def of(cls, audience: Audience) -> AudienceShape:
        names = sorted(audience.names)
        return cls(
            kind=audience.kind,
            roles=names if audience.kind is AudienceKind.ROLES else [],
            parties=names if audience.kind is AudienceKind.PARTIES else [],
        )


class OfferingAsked(BaseModel):
    """An offering of the calling party. `terms` as the kind of service wants them.

    Of a service that is called: `operations`, `quota` (`calls_per_second`, `calls_per_day`,
    `calls_per_month`), `price_per_call_minor` or a `pack` of prepaid calls (`calls`,
    `price_minor`), `currency`, `notice_days`. Of roaming: `currency`, `tariff`, `vat_percent`,
    `time_zone`, `payment_terms_days`, `clearing_strategy`, `clearing_group`, `evses`.
    """

    model_config = ConfigDict(extra="forbid")
    service: str
    major: int = 1
    terms: dict[str, Any] = Field(default_factory=dict)
    audience: AudienceShape = Field(default_factory=AudienceShape)
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None

    def to_offering(self, provider: PartyId, now: datetime) -> Offering:
        return Offering(
            offering_id=sortable_id(now),
            service=self.service,
            major=self.major,
            provider=provider,
            terms=parse_terms(self.service, self.terms),
            audience=self.audience.to_audience(),
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            status=Status.PUBLISHED,
            published_at=now,
        )


class OfferingShown(BaseModel):
    """An offering. To whom else it is made is its provider's business."""

    offering_id: str
    service: str
    major: int
    provider: str
    terms: dict[str, Any]
    valid_from: datetime | None
    valid_until: datetime | None
    status: str
    published_at: datetime
    audience: AudienceShape | None = None

    @classmethod
    def of(cls, offering: Offering, caller: Caller) -> OfferingShown:
        own = caller.party == offering.provider
        return cls(
            offering_id=offering.offering_id,
            service=offering.service,
            major=offering.major,
            provider=offering.provider,
            terms=offering.terms.to_json(),
            valid_from=offering.valid_from,
            valid_until=offering.valid_until,
            status=offering.status,
            published_at=offering.published_at,
            audience=AudienceShape.of(offering.audience) if own else None,
        )


def router(offerings: Offerings, database: Database, clock: Clock) -> APIRouter:
    routes = APIRouter(prefix="/marketplace/offerings", tags=["offerings"])

    @routes.get("", summary="What is offered to the caller, and what it offers")
    async def list_offerings(
        request: Request,
        caller: Calling,
        response: Response,
        service: Annotated[str | None, Query(pattern="^[a-z0-9-]{1,63}$")] = None,
        provider: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[str | None, Query(pattern="^[0-9a-f-]{1,36}$")] = None,
    ) -> list[OfferingShown]:
        found = await flows.page(
            offerings,
            caller.party,
            caller.roles,
            service=service,
            provider=None if provider is None else PartyId(provider),
            after=cursor,
            limit=limit + 1,
        )
        more = found[limit - 1].offering_id if len(found) > limit else None
        response.headers.update(page_link(request, more))
        return [OfferingShown.of(offering, caller) for offering in found[:limit]]

    @routes.get("/{offering_id}", summary="One offering")
    async def show_offering(offering_id: str, caller: Calling) -> OfferingShown:
        offering = await flows.find(offerings, caller.party, caller.roles, offering_id)
        return OfferingShown.of(offering, caller)

    @routes.post(
        "",
        summary="Make an offering, or up to 1,000 at once: all or none",
        status_code=201,
        response_model=OfferingShown | list[OfferingShown],
    )
    async def publish_offering(
        request: Request,
        asked: OfferingAsked
        | Annotated[list[OfferingAsked], Field(min_length=1, max_length=MOST_AT_ONCE)],
        caller: Calling,
    ) -> Response:
        async def run() -> Response:
            now = clock()
            many = asked if isinstance(asked, list) else [asked]
            kept = await flows.publish(
                offerings, caller.roles, [one.to_offering(caller.party, now) for one in many], now
            )
            shown = [OfferingShown.of(one, caller).model_dump(mode="json") for one in kept]
            return json_response(shown if isinstance(asked, list) else shown[0], 201)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.post(
        "/{offering_id}/withdraw",
        summary="Offer it no more; contracts from it stay",
        response_model=OfferingShown,
    )
    async def withdraw_offering(request: Request, offering_id: str, caller: Calling) -> Response:
        async def run() -> Response:
            offering = await flows.withdraw(
                offerings, caller.party, caller.roles, offering_id, clock()
            )
            return json_response(OfferingShown.of(offering, caller).model_dump(mode="json"))

        return await once(request, run, database=database, party=caller.party, clock=clock)

    return routes
