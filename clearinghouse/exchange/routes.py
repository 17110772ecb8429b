"""Exchange rates over HTTP, for all partners alike: what the house converts by."""

from __future__ import annotations

from datetime import UTC, date
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from clearinghouse.exchange import flows
from clearinghouse.exchange.model import OLDEST_DAYS, Exchange, Rate
from clearinghouse.exchange.ports import Books
from kit.clock import Clock
from kit.http import Caller, caller_of


class RateShown(BaseModel):
    """1 `base` was worth `rate` `quote`, as published."""

    base: str
    quote: str
    rate: str
    at: date
    source: str

    @classmethod
    def of(cls, rate: Rate) -> RateShown:
        return cls(
            base=rate.base, quote=rate.quote, rate=f"{rate.rate:f}", at=rate.at, source=rate.source
        )


class ExchangeShown(BaseModel):
    """`rate` is rounded for reading; money is converted by `exact`, which `legs` make."""

    base: str
    quote: str
    rate: str
    exact: str
    at: date | None
    legs: list[RateShown]

    @classmethod
    def of(cls, found: Exchange) -> ExchangeShown:
        factor = found.factor
        rounded = Decimal(factor.numerator) / Decimal(factor.denominator)
        return cls(
            base=found.base,
            quote=found.quote,
            rate=f"{rounded:.10f}",
            exact=str(factor),
            at=found.at,
            legs=[RateShown.of(leg) for leg in found.legs],
        )


# Before it there is no rate, and a little before that no calendar to look back in.
_FIRST_DAY = date(1900, 1, 1)


def router(books: Books, clock: Clock) -> APIRouter:
    routes = APIRouter(tags=["exchange rates"])

    @routes.get("/exchange-rates", summary="By which published rates money is converted on a day")
    async def show_rate(
        caller: Annotated[Caller, Depends(caller_of)],
        base: Annotated[str, Query(description="ISO 4217, as GBP")],
        quote: Annotated[str, Query(description="ISO 4217, as EUR")],
        at: Annotated[
            date | None, Query(ge=_FIRST_DAY, description="today in UTC where not given")
        ] = None,
        oldest_days: Annotated[int, Query(ge=0, le=366)] = OLDEST_DAYS,
    ) -> ExchangeShown:
        day = at or clock().astimezone(UTC).date()
        return ExchangeShown.of(
            await flows.find(base, quote, day, books=books, oldest_days=oldest_days)
        )

    return routes
