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
from marketplace.framework.completing import Draft
from marketplace.framework.model import Clause, Clauses
from marketplace.offerings import flows
from marketplace.offerings.model import (
    Audience,
    AudienceKind,
    BadOffering,
    Offering,
    Status,
    in_row,
    parse_terms,
)
from marketplace.offerings.ports import Offerings, Search
from marketplace.services.model import Environment
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
    `time_zone`, `payment_terms_days`, `clearing_strategy`, `clearing_group`, `evses`,
    `tariff_groups`.

    `clauses`: by name of a module of the contract framework, its parameters; or `version` and
    `parameters`; or null, which is its standard form. What is required and not mentioned is taken
    in its standard form.

    A contract on an offering for the `sandbox` allows sandbox clients to try the service, and is
    never billed.
    """

    model_config = ConfigDict(extra="forbid")
    service: str
    major: int = 1
    terms: dict[str, Any] = Field(default_factory=dict)
    audience: AudienceShape = Field(default_factory=AudienceShape)
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    clauses: dict[str, Any] = Field(default_factory=dict)
    environment: Environment = Environment.LIVE

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
            environment=self.environment,
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
    clauses_sha256: str | None
    environment: str
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
            clauses_sha256=hex_of(offering.clauses_digest),
            environment=offering.environment,
            audience=AudienceShape.of(offering.audience) if own else None,
        )


def hex_of(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()


class ClauseShown(BaseModel):
    """A module of the framework in one version, with its parameters and what they say in words."""

    name: str
    version: int
    title: str
    parameters: dict[str, Any]
    text: str

    @classmethod
    def of(cls, clause: Clause) -> ClauseShown:
        return cls(
            name=clause.name,
            version=clause.version,
            title=clause.title,
            parameters=dict(clause.parameters),
            text=clause.text,
        )


class TextShown(BaseModel):
    """`clauses`, in the order in which they are read; none of an offering from before there were
    any."""

    offering_id: str
    clauses_sha256: str | None
    clauses: list[ClauseShown]

    @classmethod
    def of(cls, offering: Offering, clauses: Clauses) -> TextShown:
        return cls(
            offering_id=offering.offering_id,
            clauses_sha256=hex_of(offering.clauses_digest),
            clauses=[ClauseShown.of(one) for one in clauses.chosen],
        )


class CheckShown(BaseModel):
    """`missing`: modules that are required, and that have no standard form to stand in for them.
    `standard`: those that stand in it, or that the terms say."""

    complete: bool
    missing: list[str]
    standard: list[str]
    clauses: list[ClauseShown]

    @classmethod
    def of(cls, found: Draft) -> CheckShown:
        return cls(
            complete=not found.missing,
            missing=list(found.missing),
            standard=sorted(found.standard),
            clauses=[ClauseShown.of(one) for one in found.clauses.chosen],
        )


def router(offerings: Offerings, database: Database, clock: Clock) -> APIRouter:
    routes = APIRouter(prefix="/marketplace/offerings", tags=["offerings"])

    @routes.get("", summary="What is offered to the caller, and what it offers")
    async def list_offerings(
        request: Request,
        caller: Calling,
        response: Response,
        service: Annotated[str | None, Query(pattern="^[a-z0-9-]{1,63}$")] = None,
        major: Annotated[int | None, Query(ge=1, le=9999)] = None,
        provider: str | None = None,
        environment: Environment | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[str | None, Query(pattern="^[0-9a-f-]{1,36}$")] = None,
    ) -> list[OfferingShown]:
        found = await flows.page(
            offerings,
            caller.party,
            caller.roles,
            Search(service, major, None if provider is None else PartyId(provider), environment),
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
            wanted = []
            for n, one in enumerate(many):
                with in_row(n, len(many)):
                    wanted.append(one.to_offering(caller.party, now))
            kept = await flows.publish(
                offerings,
                caller.roles,
                wanted,
                now,
                clauses=[one.clauses for one in many],
            )
            shown = [OfferingShown.of(one, caller).model_dump(mode="json") for one in kept]
            return json_response(shown if isinstance(asked, list) else shown[0], 201)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.post("/check", summary="What an offering would say and what it lacks; none is made")
    async def check_offering(asked: OfferingAsked, caller: Calling) -> CheckShown:
        found = await flows.check(
            offerings, caller.roles, asked.to_offering(caller.party, clock()), asked.clauses
        )
        return CheckShown.of(found)

    @routes.get("/{offering_id}/text", summary="What an offering says in words: its clauses")
    async def show_offering_text(offering_id: str, caller: Calling) -> TextShown:
        offering, clauses = await flows.clauses_of(
            offerings, caller.party, caller.roles, offering_id
        )
        return TextShown.of(offering, clauses)

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
