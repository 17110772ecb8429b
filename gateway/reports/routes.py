"""`GET /marketplace/reports/…`: calls, errors, times and money, as JSON or as files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from gateway.reports import flows, sheets
from gateway.reports.model import (
    BadQuestion,
    By,
    Counts,
    Every,
    MonthOfService,
    NotYourReport,
    Question,
    checked,
)
from gateway.reports.model import Row as ReportRow
from gateway.reports.ports import Agreements, Records
from kit.clock import Clock
from kit.http import Caller, caller_of, known_query, page_link
from kit.sheet import FILES, Form, Row, file_response, wanted
from roaming.party import PartyId

USUAL = timedelta(days=30)


class AmountShown(BaseModel):
    """What the asking party is owed, and what it owes. For the hub's operator both are the same."""

    currency: str
    revenue_minor: int
    cost_minor: int


class RowShown(BaseModel):
    """Calls of a step that begins on a day (UTC), as finely as asked; the rest is null.

    `bytes` and `units` are those of `billable_calls`. Times from call to answer in milliseconds,
    within one percent; null where nothing was called.
    """

    begins_on: date
    service: str | None
    major: int | None
    contract_id: str | None
    provider: str | None
    requester: str | None
    calls: int
    billable_calls: int
    caller_errors: int
    provider_errors: int
    error_share: float | None
    bytes: int
    units: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    amounts: list[AmountShown]

    @classmethod
    def of(cls, row: ReportRow) -> RowShown:
        counts = row.counts
        return cls(
            begins_on=row.key.begins_on,
            service=row.key.service,
            major=row.key.major or None,
            contract_id=row.key.contract_id,
            provider=row.key.provider,
            requester=row.key.requester,
            calls=counts.calls,
            billable_calls=counts.billable_calls,
            caller_errors=counts.caller_errors,
            provider_errors=counts.provider_errors,
            error_share=_share(counts),
            bytes=counts.bytes,
            units=counts.units,
            p50_ms=_ms(counts.p50_us),
            p95_ms=_ms(counts.p95_us),
            p99_ms=_ms(counts.p99_us),
            amounts=[
                AmountShown(
                    currency=one.currency,
                    revenue_minor=one.revenue_minor,
                    cost_minor=one.cost_minor,
                )
                for one in row.amounts
            ],
        )


class ReportShown(BaseModel):
    """The rows of whole steps; what is left of the time is behind the `Link` to the next page."""

    first: date
    last: date
    by: By
    every: Every
    rows: list[RowShown]


class PromiseShown(BaseModel):
    """`by`: by how much it was kept; below zero, it was broken by so much."""

    measure: str
    agreed: float
    measured: float
    by: float
    kept: bool


class MonthShown(BaseModel):
    """A calendar month (UTC) of a contract that agrees a level of service.

    `promises` is empty and `kept` null where nothing was called. The present month as it stands.
    """

    month: str
    contract_id: str
    service: str
    major: int
    provider: str
    requester: str
    calls: int
    provider_errors: int
    p95_ms: float | None
    kept: bool | None
    promises: list[PromiseShown]

    @classmethod
    def of(cls, one: MonthOfService) -> MonthShown:
        found = one.agreement
        return cls(
            month=one.month.isoformat()[:7],
            contract_id=found.contract_id,
            service=found.service,
            major=found.major,
            provider=found.provider,
            requester=found.requester,
            calls=one.counts.calls,
            provider_errors=one.counts.provider_errors,
            p95_ms=_ms(one.counts.p95_us),
            kept=all(told.kept for told in one.promises) if one.promises else None,
            promises=[
                PromiseShown(
                    measure=told.measure,
                    agreed=told.agreed,
                    measured=round(told.measured, 6),
                    by=round(told.by, 6),
                    kept=told.kept,
                )
                for told in one.promises
            ],
        )


class LevelsShown(BaseModel):
    months: list[MonthShown]


class Asked:
    """What every report is asked with: by whom, from when until when, and of what."""

    def __init__(
        self,
        caller: Annotated[Caller, Depends(caller_of)],
        first: Annotated[date | None, Query(description="UTC day; 30 days before `last`")] = None,
        last: Annotated[date | None, Query(description="UTC day, included; today")] = None,
        service: Annotated[str | None, Query(max_length=100)] = None,
        contract_id: Annotated[str | None, Query(max_length=200)] = None,
        partner: Annotated[str | None, Query(description="the other side, as FR*PD1")] = None,
        party: Annotated[
            str | None, Query(description="for the hub's operator: whose; everybody's if absent")
        ] = None,
    ) -> None:
        self.caller = caller
        self._first, self._last = first, last
        self._service, self._contract_id = service, contract_id
        self._partner, self._party = partner, party

    def question(self, hub: PartyId, today: date) -> Question:
        """BadQuestion, NotYourReport."""
        last = min(self._last or today, today)
        return checked(
            Question(
                party=_whose(self.caller, self._party, hub),
                # The calendar begins in the year 1, and so may `last`.
                first=self._first or max(last, date.min + USUAL) - USUAL,
                last=last,
                service=self._service,
                contract_id=self._contract_id,
                partner=None if self._partner is None else PartyId(self._partner),
            )
        )


def router(records: Records, agreements: Agreements, clock: Clock, *, hub: PartyId) -> APIRouter:
    """A party sees calls that it made and those that it answered; the hub's operator, all."""
    routes = APIRouter(
        prefix="/marketplace/reports", tags=["reports"], dependencies=[Depends(known_query)]
    )

    @routes.get(
        "/figures",
        summary="Calls, errors, times and money by day or month",
        response_model=ReportShown,
        responses=FILES,
    )
    async def figures(
        request: Request,
        response: Response,
        asked: Annotated[Asked, Depends()],
        by: Annotated[By, Query(description="how finely calls are told apart")] = By.CONTRACT,
        every: Annotated[Every, Query(description="in steps of so long")] = Every.DAY,
        format: Annotated[Form | None, Query(description="else as `Accept` says")] = None,
        limit: Annotated[int, Query(ge=1, le=10_000, description="at least; whole steps")] = 1_000,
        cursor: Annotated[date | None, Query(description="of a Link header")] = None,
    ) -> ReportShown | Response:
        question = replace(asked.question(hub, clock().date()), by=by, every=every)
        form = _form(format, request)
        if form is not Form.JSON:
            if by is not By.CONTRACT:
                raise BadQuestion(
                    "a file tells calls apart by contract",
                    field="by",
                    value=by,
                    rule="contract: whoever reads the file adds up what it likes",
                )
            rows = flows.report(question, records=records, agreements=agreements)
            return await file_response(form, sheets.FIGURES, rows, "figures")
        begins = max(question.first, cursor or question.first)
        shown: list[RowShown] = []
        rest: date | None = None
        for part in flows.parts(replace(question, first=begins)):
            if len(shown) >= limit:
                rest = part.first
                break
            async for several in flows.report(part, records=records, agreements=agreements):
                shown += [RowShown.of(row) for row in several]
        response.headers.update(page_link(request, None if rest is None else rest.isoformat()))
        return ReportShown(first=question.first, last=question.last, by=by, every=every, rows=shown)

    @routes.get(
        "/levels",
        summary="What was agreed of services, and whether it was kept",
        response_model=LevelsShown,
        responses=FILES,
    )
    async def levels(
        request: Request,
        asked: Annotated[Asked, Depends()],
        format: Annotated[Form | None, Query(description="else as `Accept` says")] = None,
    ) -> LevelsShown | Response:
        question = asked.question(hub, clock().date())
        found = await flows.levels(question, records=records, agreements=agreements)
        form = _form(format, request)
        if form is not Form.JSON:
            rows = _at_once(list(sheets.promises(found)))
            return await file_response(form, sheets.LEVELS, rows, "levels")
        return LevelsShown(months=[MonthShown.of(one) for one in found])

    @routes.get(
        "/calls",
        summary="Own usage records, each call a row: CSV or Parquet",
        responses=FILES,
        response_class=Response,
    )
    async def calls(
        request: Request,
        asked: Annotated[Asked, Depends()],
        format: Annotated[Form | None, Query(description="csv or parquet")] = None,
    ) -> Response:
        question = asked.question(hub, clock().date())
        own = replace(question, party=question.party or asked.caller.party)
        form = _file_form(_form(format, request))
        return await file_response(form, sheets.CALLS, records.calls(own), "calls")

    @routes.get(
        "/contracts",
        summary="Contracts of a time, each a row: CSV or Parquet",
        responses=FILES,
        response_class=Response,
    )
    async def contracts(
        request: Request,
        asked: Annotated[Asked, Depends()],
        format: Annotated[Form | None, Query(description="csv or parquet")] = None,
    ) -> Response:
        question = asked.question(hub, clock().date())
        form = _file_form(_form(format, request))
        return await file_response(form, sheets.CONTRACTS, agreements.listed(question), "contracts")

    return routes


def _whose(caller: Caller, party: str | None, hub: PartyId) -> PartyId | None:
    """Whose report a caller gets: its own; the hub's operator, anybody's. NotYourReport."""
    asked = None if party is None else PartyId(party)
    if caller.party == hub:
        return asked
    if asked not in (None, caller.party):
        raise NotYourReport(
            "reports are told to the parties of the calls",
            field="party",
            value=party,
            rule=f"{caller.party}, or nothing",
        )
    return caller.party


def _form(said: Form | None, request: Request) -> Form:
    return wanted(said, request.headers.get("accept", ""))


def _file_form(form: Form) -> Form:
    return Form.CSV if form is Form.JSON else form


async def _at_once(rows: Sequence[Row]) -> AsyncIterator[Sequence[Row]]:
    yield rows


def _share(counts: Counts) -> float | None:
    return round(counts.provider_errors / counts.calls, 6) if counts.calls else None


def _ms(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1000
