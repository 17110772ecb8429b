"""Business details over HTTP: each tells its own, contract partners read what invoices carry."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, ValidationError

from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, Instant, caller_of, json_response
from kit.idempotency import once
from marketplace.business import flows, model
from marketplace.business.model import BadDetails, BusinessDetails
from marketplace.business.ports import Files, Memory
from roaming.party import PartyId

Calling = Annotated[Caller, Depends(caller_of)]


class DetailsTold(BaseModel):
    """Who a party is on paper, from `valid_from` on; from now on where that is not told."""

    model_config = ConfigDict(extra="forbid")
    legal_name: str
    street: str
    city: str
    postal_code: str
    country: str
    vat_id: str | None = None
    tax_id: str | None = None
    taxable_dealer: bool = False
    iban: str | None = None
    bic: str | None = None
    invoice_email: str | None = None
    valid_from: Instant | None = None

    def of(self, party: PartyId, now: datetime) -> BusinessDetails:
        """Held to its rules; BadDetails."""
        told = self.model_dump(exclude={"valid_from"})
        return model.business_details(party, **told, valid_from=self.valid_from or now)


class DetailsShown(BaseModel):
    """What stands on an invoice of this party or to it."""

    party: str
    legal_name: str
    street: str
    city: str
    postal_code: str
    country: str
    vat_id: str | None
    tax_id: str | None
    taxable_dealer: bool
    iban: str | None
    bic: str | None
    invoice_email: str | None
    valid_from: datetime

    @classmethod
    def of(cls, details: BusinessDetails) -> DetailsShown:
        return cls.model_validate(details, from_attributes=True)


def read_told(body: bytes) -> DetailsTold:
    """Details out of a file; BadDetails names the field."""
    try:
        return DetailsTold.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "file"
        raise BadDetails(f"{field}: {first['msg']}", field=field, rule=first["type"]) from None


def router(
    files: Files, memory: Memory, database: Database, clock: Clock, *, hub: PartyId
) -> APIRouter:
    routes = APIRouter(prefix="/marketplace/partners", tags=["partners"])

    @routes.get(
        "/{party}/business-details",
        summary="Who a party is on paper: for itself and its contract partners",
    )
    async def read_details(
        party: str,
        caller: Calling,
        at: Annotated[Instant | None, Query(description="Now where not given.")] = None,
    ) -> DetailsShown:
        found = await flows.read(files, caller.party, PartyId(party), at or clock(), hub=hub)
        return DetailsShown.of(found)

    @routes.get(
        "/{party}/business-details/history", summary="All that the caller ever told of itself"
    )
    async def list_details(party: str, caller: Calling) -> list[DetailsShown]:
        found = await flows.history(files, caller.party, PartyId(party), hub=hub)
        return [DetailsShown.of(one) for one in found]

    @routes.put(
        "/{party}/business-details",
        summary="Say who the caller is on paper, and from when",
        response_model=DetailsShown,
    )
    async def tell_details(
        request: Request, party: str, told: DetailsTold, caller: Calling
    ) -> Response:
        async def run() -> Response:
            now = clock()
            details = told.of(PartyId(party), now)
            kept = await flows.tell(files, caller.party, details, hub=hub, memory=memory, now=now)
            return json_response(DetailsShown.of(kept).model_dump(mode="json"))

        return await once(request, run, database=database, party=caller.party, clock=clock)

    return routes
