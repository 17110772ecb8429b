"""HTTP for accounting periods: everybody sees how far a month is done with, the hub closes it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from clearinghouse.periods import flows
from clearinghouse.periods.model import Month, Overview, Period, State, Total
from clearinghouse.periods.ports import Books
from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_of, json_response
from kit.idempotency import once
from roaming.money import Money
from roaming.party import PartyId
from roaming.refusal import NotYours


class HubOnly(NotYours):
    """What the hub's operator does, and no partner."""


class CloseAsked(BaseModel):
    """`early`: close a month that still runs; what comes meanwhile belongs to the next one."""

    model_config = ConfigDict(extra="forbid")

    early: bool = False


class TotalShown(BaseModel):
    """Amounts as decimal texts. `disputed`: held out of `charges` and `vat`."""

    currency: str
    charges: str
    vat: str
    fees: str
    fee_vat: str
    disputed: str
    cdrs: int


class PeriodHead(BaseModel):
    period_id: str
    state: State
    starts_at: datetime
    ends_at: datetime
    begun_closing_at: datetime | None
    closed_at: datetime | None
    settled_at: datetime | None


class PeriodShown(PeriodHead):
    """`totals` are the hub's to see; a partner's own are in its statement."""

    totals: list[TotalShown] | None


class PeriodList(BaseModel):
    periods: list[PeriodHead]


def router(books: Books, *, database: Database, clock: Clock, hub: PartyId) -> APIRouter:
    """Accounting periods. `hub`: the party that closes them."""
    routes = APIRouter(tags=["clearing-house: periods"])

    @routes.get("/periods", operation_id="list-periods")
    async def list_periods(caller: Annotated[Caller, Depends(caller_of)]) -> PeriodList:
        """Every month that anything was posted to, oldest first."""
        return PeriodList(periods=[head(one) for one in await flows.known(books=books)])

    @routes.get("/periods/{period_id}", operation_id="show-period")
    async def show_period(
        period_id: str, caller: Annotated[Caller, Depends(caller_of)]
    ) -> PeriodShown:
        """How far a month is done with; for the hub, what it came to."""
        found = await flows.show(Month.parse(period_id), books=books)
        return shown(found, whole=caller.party == hub)

    @routes.post(
        "/periods/{period_id}/close", response_model=PeriodShown, operation_id="close-period"
    )
    async def close_period(
        period_id: str,
        asked: CloseAsked,
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
    ) -> Response:
        """Close a month, by the hub alone. Asked again, it tells what the month came to."""
        if caller.party != hub:
            raise HubOnly("the hub closes periods", field="party", value=caller.party, rule=hub)

        async def close() -> Response:
            found = await flows.close(
                Month.parse(period_id), early=asked.early, hub=hub, books=books, clock=clock
            )
            return json_response(shown(found, whole=True).model_dump(mode="json"))

        return await once(request, close, database=database, party=caller.party, clock=clock)

    return routes


def shown(overview: Overview, *, whole: bool) -> PeriodShown:
    totals = [_total(one) for one in overview.totals] if whole else None
    return PeriodShown(**head(overview.period).model_dump(), totals=totals)


def head(period: Period) -> PeriodHead:
    return PeriodHead(
        period_id=str(period.month),
        state=period.state,
        starts_at=period.month.starts_at,
        ends_at=period.month.ends_at,
        begun_closing_at=period.begun_closing_at,
        closed_at=period.closed_at,
        settled_at=period.settled_at,
    )


def _total(total: Total) -> TotalShown:
    def amount(minor: int) -> str:
        return Money(minor, total.currency).figure

    return TotalShown(
        currency=total.currency,
        charges=amount(total.charges_minor),
        vat=amount(total.vat_minor),
        fees=amount(total.fees_minor),
        fee_vat=amount(total.fee_vat_minor),
        disputed=amount(total.disputed_minor),
        cdrs=total.cdrs,
    )
