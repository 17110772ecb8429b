"""HTTP for exposure: an EVSP looks at its own limit, and at what counts against it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from clearinghouse.exposure import flows
from clearinghouse.exposure.flows import Exposure
from clearinghouse.exposure.model import Level
from clearinghouse.exposure.ports import Books
from kit.clock import Clock
from kit.http import Caller, caller_with
from roaming.money import Money


class ExposureShown(BaseModel):
    """Amounts are decimal strings in `currency`; without a limit all but `evsp` is null.

    left = cap + prepaid + collateral - owed - held.
    """

    evsp: str
    limited: bool
    currency: str | None = None
    cap: str | None = None
    prepaid: str | None = None
    collateral: str | None = None
    owed: str | None = None
    held: str | None = None
    left: str | None = None
    percent: int | None = None
    level: Level | None = None
    hold: str | None = None
    hold_days: int | None = None
    set_by: str | None = None
    set_at: datetime | None = None
    unrated: list[str] = []


def shown(one: Exposure) -> ExposureShown:
    limit, figures = one.limit, one.figures
    if limit is None or figures is None:
        return ExposureShown(evsp=one.evsp, limited=False)

    def amount(minor: int) -> str:
        return Money(minor, limit.currency).figure

    return ExposureShown(
        evsp=one.evsp,
        limited=True,
        currency=limit.currency,
        cap=amount(figures.cap_minor),
        prepaid=amount(figures.prepaid_minor),
        collateral=amount(figures.collateral_minor),
        owed=amount(figures.owed_minor),
        held=amount(figures.held_minor),
        left=amount(figures.left_minor),
        percent=figures.percent,
        level=limit.level,
        hold=amount(limit.hold.minor),
        hold_days=limit.hold_days,
        set_by=limit.set_by,
        set_at=limit.set_at,
        unrated=list(figures.unrated),
    )


def router(books: Books, clock: Clock) -> APIRouter:
    """`GET /exposure`."""
    routes = APIRouter(tags=["clearing house: exposure"])

    @routes.get("/exposure", operation_id="show-exposure")
    async def show_exposure(
        caller: Annotated[Caller, Depends(caller_with("evsp"))],
    ) -> ExposureShown:
        """What the caller may still owe, and what counts: its debts, and what is held on charges.

        The limit is set by the hub's operator. Beyond it charges are refused as `over-limit`.
        """
        return shown(await flows.show(caller.party, books=books, clock=clock))

    return routes
