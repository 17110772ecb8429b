"""HTTP for clearing runs: ask for one, read it again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, status
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from clearinghouse.netting import flows
from clearinghouse.netting.model import ClearingRun, Period, Strategy
from clearinghouse.netting.ports import Books
from clearinghouse.rating.model import zone_named
from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_of, json_response
from kit.idempotency import once
from roaming.money import Money
from roaming.party import PartyId


class FromTo(BaseModel):
    """From an instant up to, and not including, another: RFC 3339, or a day for its midnight."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: str = Field(alias="from", examples=["2025-01-01T00:00:00Z", "2025-01-01"])
    end: str = Field(alias="to", examples=["2025-02-01T00:00:00Z", "2025-02-01"])


class RunAsked(BaseModel):
    """A CDR belongs to the period in which its charge ended or, told when its month was closed, to
    the first open month. Nothing is settled by a run: see `/periods/{period_id}/settle`."""

    model_config = ConfigDict(extra="forbid")

    period: Annotated[str, Field(examples=["2025-01"])] | FromTo
    currency: str = Field(examples=["EUR"])
    strategy: Strategy
    time_zone: str = Field(default="UTC", description="by which months and days begin; IANA name")

    def to_period(self) -> Period:
        zone = zone_named(self.time_zone)
        if isinstance(self.period, str):
            return Period.month(self.period, zone)
        return Period.between(self.period.start, self.period.end, zone)


class PeriodShown(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    start: datetime = Field(serialization_alias="from")
    end: datetime = Field(serialization_alias="to")


class ObligationShown(BaseModel):
    debtor: str
    creditor: str
    currency: str
    amount: str
    vat: str
    cdrs: int


class PaymentShown(BaseModel):
    """`amount` excludes VAT. `vat` is the net VAT that goes the same way; null in multilateral
    clearing and that of cycles, where each party's VAT stands in its position."""

    payer: str
    payee: str
    currency: str
    amount: str
    vat: str | None


class CancelledShown(BaseModel):
    """What of a debt was set off and need not be paid, excluding VAT."""

    debtor: str
    creditor: str
    currency: str
    amount: str


class PositionShown(BaseModel):
    """Positive: is owed. Negative: owes."""

    party: str
    currency: str
    amount: str
    vat: str


class RunHead(BaseModel):
    run_id: str
    requested_by: str
    period: PeriodShown
    currency: str
    strategy: Strategy
    method: str | None = Field(
        description="of multilateral: exact (provably fewest payments) or greedy"
    )
    recorded_at: datetime


class RunShown(RunHead):
    """`obligations`: gross, what is owed as it stands. `payments`: what the strategy makes of it.
    `cancelled`: what was set off of each debt; empty in multilateral clearing, which settles
    positions, not debts.

    The hub sees all of a run, a partner what concerns it.
    """

    obligations: list[ObligationShown]
    payments: list[PaymentShown]
    cancelled: list[CancelledShown]
    positions: list[PositionShown]


class RunList(BaseModel):
    runs: list[RunHead]


def router(books: Books, *, database: Database, clock: Clock, hub: PartyId) -> APIRouter:
    """Clearing runs. `hub`: the party that sees everyone's."""
    routes = APIRouter(tags=["clearing-house: clearing runs"])

    @routes.post(
        "/clearing-runs",
        status_code=status.HTTP_201_CREATED,
        response_model=RunShown,
        operation_id="run-clearing",
    )
    async def run_clearing(
        asked: RunAsked, request: Request, caller: Annotated[Caller, Depends(caller_of)]
    ) -> Response:
        """Clear a period by one strategy; the run is recorded."""
        _may_clear(caller, hub)

        async def run() -> Response:
            made = await flows.run_clearing(
                asked.to_period(),
                asked.currency,
                asked.strategy,
                caller=caller.party,
                hub=hub,
                books=books,
                clock=clock,
            )
            return json_response(shown(made).model_dump(mode="json", by_alias=True), 201)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.get("/clearing-runs", response_model=RunList, operation_id="list-clearing-runs")
    async def list_runs(caller: Annotated[Caller, Depends(caller_of)]) -> RunList:
        """The latest 100 runs that the caller or the hub has asked for."""
        _may_clear(caller, hub)
        found = await flows.list_runs(caller.party, hub=hub, books=books)
        return RunList(runs=[_head(run) for run in found])

    @routes.get(
        "/clearing-runs/{run_id}", response_model=RunShown, operation_id="show-clearing-run"
    )
    async def show_run(run_id: str, caller: Annotated[Caller, Depends(caller_of)]) -> RunShown:
        """A recorded run, as far as it concerns the caller."""
        _may_clear(caller, hub)
        return shown(await flows.show_run(run_id, caller=caller.party, hub=hub, books=books))

    return routes


def _may_clear(caller: Caller, hub: PartyId) -> None:
    if caller.party != hub:
        caller.must_be("evse-operator", "evsp")


def _head(run: ClearingRun) -> RunHead:
    method = run.clearing.method
    return RunHead(
        run_id=run.run_id,
        requested_by=run.requested_by,
        period=PeriodShown(start=run.period.start, end=run.period.end),
        currency=run.currency,
        strategy=run.clearing.strategy,
        method=None if method is None else method.value,
        recorded_at=run.recorded_at,
    )


def shown(run: ClearingRun) -> RunShown:
    def amount(minor: int) -> str:
        return Money(minor, run.currency).figure

    return RunShown(
        **_head(run).model_dump(),
        obligations=[
            ObligationShown(
                debtor=one.debtor,
                creditor=one.creditor,
                currency=run.currency,
                amount=amount(one.amount_minor),
                vat=amount(one.vat_minor),
                cdrs=one.cdrs,
            )
            for one in run.clearing.obligations
        ],
        payments=[
            PaymentShown(
                payer=one.payer,
                payee=one.payee,
                currency=run.currency,
                amount=amount(one.amount_minor),
                vat=None if one.vat_minor is None else amount(one.vat_minor),
            )
            for one in run.clearing.payments
        ],
        cancelled=[
            CancelledShown(
                debtor=one.debtor,
                creditor=one.creditor,
                currency=run.currency,
                amount=amount(one.amount_minor),
            )
            for one in run.clearing.cancelled
        ],
        positions=[
            PositionShown(
                party=one.party,
                currency=run.currency,
                amount=amount(one.amount_minor),
                vat=amount(one.vat_minor),
            )
            for one in run.clearing.positions
        ],
    )
