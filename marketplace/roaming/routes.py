"""The roaming market over HTTP: offers side by side, and the matrix of who roams with whom."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from kit.clock import Clock
from kit.http import Caller, caller_of, json_response, page_link
from marketplace.roaming import flows
from marketplace.roaming.flows import Seen, Wanted
from marketplace.roaming.model import Cell, Session
from marketplace.roaming.ports import Book, Markets
from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.pricing import Price

Calling = Annotated[Caller, Depends(caller_of)]
MOST_ROWS = 50


class Sort(StrEnum):
    AGE = "age"
    PRICE = "price"


class Format(StrEnum):
    JSON = "json"
    CSV = "csv"


class PriceShown(BaseModel):
    """What the session costs, in the currency of the offer."""

    excl_vat: str
    vat: str
    incl_vat: str

    @classmethod
    def of(cls, price: Price) -> PriceShown:
        return cls(
            excl_vat=price.excl_vat.figure, vat=price.vat.figure, incl_vat=price.incl_vat.figure
        )


class GroupShown(BaseModel):
    """Charge points with a tariff of their own."""

    name: str
    price: PriceShown


class OfferShown(BaseModel):
    """A roaming offer made to the caller. `contract_id`: it has accepted it. All of the terms are
    at /marketplace/offerings/{offering_id}."""

    offering_id: str
    operator: str
    currency: str
    price: PriceShown
    groups: list[GroupShown]
    covers: str
    payment_terms_days: int
    clearing_strategy: str
    clearing_group: str | None
    valid_from: datetime | None
    valid_until: datetime | None
    published_at: datetime
    contract_id: str | None

    @classmethod
    def of(cls, seen: Seen) -> OfferShown:
        offer, glance = seen
        terms = offer.terms
        return cls(
            offering_id=offer.offering_id,
            operator=offer.operator,
            currency=terms.currency,
            price=PriceShown.of(glance.everywhere),
            groups=[
                GroupShown(name=name, price=PriceShown.of(price))
                for name, price in glance.groups.items()
            ],
            covers="all" if terms.evses is None else "some",
            payment_terms_days=terms.payment_terms_days,
            clearing_strategy=terms.clearing_strategy,
            clearing_group=terms.clearing_group,
            valid_from=offer.valid_from,
            valid_until=offer.valid_until,
            published_at=offer.published_at,
            contract_id=offer.contract_id,
        )


class SessionShown(BaseModel):
    """The charge that every price is of: it begins at noon, today, where the charge points are."""

    energy_wh: int
    minutes: int


class OffersShown(BaseModel):
    session: SessionShown
    offers: list[OfferShown]


class CellShown(BaseModel):
    """An operator and an EVSP: in-force, suspended, agreed (for later), offered, asked or ended;
    since when and until when as agreed now; what is offered and not accepted, and asked for."""

    evsp: str
    status: str
    contract_id: str | None
    reason: str | None
    since: datetime | None
    until: datetime | None
    offers: list[str]
    asked: list[str]

    @classmethod
    def of(cls, cell: Cell) -> CellShown:
        agreed = cell.agreed
        return cls(
            evsp=cell.evsp,
            status=cell.status,
            contract_id=None if agreed is None else agreed.contract_id,
            reason=None if agreed is None else agreed.absence,
            since=None if agreed is None else agreed.since,
            until=None if agreed is None else agreed.until,
            offers=list(cell.offers),
            asked=list(cell.asked),
        )


class RowShown(BaseModel):
    operator: str
    cells: list[CellShown]


class MatrixShown(BaseModel):
    """Operators and, in each, the EVSPs that it has anything to do with. A pair that is not named
    has nothing agreed, offered or asked for."""

    at: datetime
    rows: list[RowShown]

    @classmethod
    def of(cls, found: Mapping[PartyId, Sequence[Cell]], now: datetime) -> MatrixShown:
        return cls(
            at=now,
            rows=[
                RowShown(operator=operator, cells=[CellShown.of(one) for one in cells])
                for operator, cells in found.items()
            ],
        )


def router(markets: Markets, book: Book, clock: Clock, *, hub: PartyId) -> APIRouter:
    routes = APIRouter(prefix="/marketplace/roaming", tags=["roaming"])

    @routes.get("/offers", summary="Roaming offers made to the caller, with a price at a glance")
    async def list_roaming_offers(
        request: Request,
        caller: Calling,
        response: Response,
        operator: str | None = None,
        currency: Annotated[str | None, Query(pattern="^[A-Z]{3}$")] = None,
        evse_id: str | None = None,
        accepted: bool | None = None,
        energy_wh: Annotated[int, Query(ge=0, le=1_000_000)] = 20_000,
        minutes: Annotated[int, Query(ge=1, le=7 * 24 * 60)] = 40,
        sort: Sort = Sort.AGE,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[str | None, Query(pattern="^[0-9a-f-]{1,36}$")] = None,
    ) -> OffersShown:
        wanted = Wanted(
            operator=None if operator is None else PartyId(operator),
            currency=currency,
            evse_id=None if evse_id is None else EvseId(evse_id),
            accepted=accepted,
        )
        who, session, now = (caller.party, caller.roles), Session(energy_wh, minutes), clock()
        if sort is Sort.PRICE:
            found = await flows.cheapest(markets, *who, wanted, session, limit=limit, now=now)
        else:
            found = await flows.offers(
                markets, *who, wanted, session, after=cursor, limit=limit + 1, now=now
            )
            more = found[limit - 1][0].offering_id if len(found) > limit else None
            response.headers.update(page_link(request, more))
        return OffersShown(
            session=SessionShown(energy_wh=energy_wh, minutes=minutes),
            offers=[OfferShown.of(one) for one in found[:limit]],
        )

    @routes.get(
        "/matrix",
        summary="Who roams with whom: operators and EVSPs, as far as the caller is one of the two",
        response_model=MatrixShown,
    )
    async def show_matrix(
        request: Request,
        caller: Calling,
        format: Format = Format.JSON,
        limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 20,
        cursor: str | None = None,
    ) -> Response:
        now = clock()
        found = await flows.matrix(
            markets,
            book,
            None if caller.party == hub else caller.party,
            caller.roles,
            after=None if cursor is None else PartyId(cursor),
            limit=limit + 1,
            now=now,
        )
        shown = dict(list(found.items())[:limit])
        headers = page_link(request, list(shown)[-1] if len(found) > limit else None)
        if format is Format.CSV:
            return Response(matrix_csv(shown), media_type="text/csv", headers=headers)
        return json_response(MatrixShown.of(shown, now).model_dump(mode="json"), headers=headers)

    return routes


_COLUMNS = [
    *("operator", "evsp", "status", "contract_id", "reason", "since", "until", "offers", "asked"),
]


def matrix_csv(found: Mapping[PartyId, Sequence[Cell]]) -> str:
    """A line for each pair that has anything to do with each other."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    writer.writerows(_rows(found))
    return text.getvalue()


def _rows(found: Mapping[PartyId, Sequence[Cell]]) -> Iterator[list[object]]:
    for operator, cells in found.items():
        for one in cells:
            shown = CellShown.of(one).model_dump(mode="json")
            lists = {name: " ".join(shown[name]) for name in ("offers", "asked")}
            yield [operator, *({**shown, **lists}[name] for name in _COLUMNS[1:])]
