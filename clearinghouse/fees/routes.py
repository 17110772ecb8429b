"""Hub fees over HTTP: each partner reads its own prices, and what it was charged."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from clearinghouse.fees import flows
from clearinghouse.fees.model import Schedule
from clearinghouse.fees.ports import Books, Charged
from clearinghouse.periods.model import Month
from kit.clock import Clock
from kit.http import Caller, caller_of


class ScheduleShown(BaseModel):
    """What one side pays from a month on. `special`: a price for this partner alone."""

    payer: str
    special: bool
    valid_from: str
    currency: str
    per_cdr: str
    per_kwh: str

    @classmethod
    def of(cls, schedule: Schedule) -> ScheduleShown:
        return cls(
            payer=schedule.payer,
            special=schedule.party is not None,
            valid_from=str(schedule.valid_from),
            currency=schedule.currency,
            per_cdr=f"{schedule.per_cdr:f}",
            per_kwh=f"{schedule.per_kwh:f}",
        )


class FeeShown(BaseModel):
    """The fee of a month in one currency; amounts as decimal texts."""

    period_id: str
    currency: str
    net: str
    vat: str
    vat_rule: str
    vat_category: str | None
    vat_percent: str | None
    parts: list[dict[str, Any]]

    @classmethod
    def of(cls, fee: Charged) -> FeeShown:
        return cls(
            period_id=str(fee.month),
            currency=fee.net.currency,
            net=fee.net.figure,
            vat=fee.vat.figure,
            vat_rule=fee.vat_rule,
            vat_category=fee.vat_category,
            vat_percent=None if fee.vat_percent is None else f"{fee.vat_percent:f}",
            parts=list(fee.parts),
        )


class HubFees(BaseModel):
    schedules: list[ScheduleShown]
    charged: list[FeeShown]


def router(books: Books, clock: Clock) -> APIRouter:
    routes = APIRouter(tags=["hub fees"])

    @routes.get("/hub-fees", summary="The hub's prices for the caller, and what it was charged")
    async def hub_fees(
        caller: Annotated[Caller, Depends(caller_of)],
        period: Annotated[str | None, Query(description="as 2025-01; else this month")] = None,
    ) -> HubFees:
        month = Month.of(clock()) if period is None else Month.parse(period)
        schedules, charged = await flows.read(books, caller.party, month)
        return HubFees(
            schedules=[ScheduleShown.of(one) for one in schedules],
            charged=[FeeShown.of(one) for one in charged],
        )

    return routes
