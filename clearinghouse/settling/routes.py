"""HTTP for settling: the hub settles a month, everybody sees its payments and what they set off."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import date as Day
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from clearinghouse.netting.model import Strategy
from clearinghouse.periods.model import Month, State
from clearinghouse.settling import flows
from clearinghouse.settling.default import Correction, Rule
from clearinghouse.settling.flows import Defaulted, House, Settled
from clearinghouse.settling.model import (
    BadCursor,
    HubOnly,
    PairTotal,
    Payment,
    PaymentState,
    Settlement,
)
from clearinghouse.settling.ports import After
from clearinghouse.settling.setoff import SetOff
from kit.database import Database
from kit.http import Caller, Instant, caller_of, json_response, page_link
from kit.idempotency import once
from roaming.money import Money
from roaming.party import PartyId


class Format(StrEnum):
    JSON = "json"
    CSV = "csv"


class SettleAsked(BaseModel):
    """`currency`: all that a group owes in any currency is settled in this one. `dry_run`: only
    say what it would come to."""

    model_config = ConfigDict(extra="forbid")

    currency: str | None = Field(default=None, examples=["EUR"])
    dry_run: bool = False


class SettlementShown(BaseModel):
    """One clearing group in one currency: `total` = `netted` + `paid`. `rates`: by which
    published ones another currency came into it."""

    clearing_group: str
    currency: str
    strategy: Strategy
    method: str | None
    pairs: int
    payments: int
    total: str
    netted: str
    paid: str
    rates: dict[str, str]


class SettledShown(BaseModel):
    period_id: str
    state: State
    settled_at: datetime | None
    settlements: list[SettlementShown]


class PaymentShown(BaseModel):
    """`reference`: a creditor reference (ISO 11649) that goes with the money. `defaulter`: the
    payment came about since this party did not pay."""

    payment_id: str
    period_id: str
    clearing_group: str
    payer: str
    payee: str
    currency: str
    amount: str
    paid: str
    open: str
    due_on: Day
    reference: str
    state: PaymentState
    defaulter: str | None


class PaymentPage(BaseModel):
    payments: list[PaymentShown]
    next_cursor: str | None


class ReceiptTold(BaseModel):
    """Money that came; with a minus, that went back. `source` names the fact, and counts once."""

    model_config = ConfigDict(extra="forbid")

    amount: Decimal = Field(examples=["118.81"])
    currency: str = Field(examples=["EUR"])
    paid_at: Instant
    source: str = Field(min_length=1, max_length=200, examples=["bank statement 17, line 3"])


class PaperShown(BaseModel):
    """An invoice; below zero, a credit note. `amount` includes VAT."""

    number: str
    amount: str


class PairShown(BaseModel):
    """What one owes the other. `settled`: all of it, in the settlement currency. `invoices`: those
    of the month on which it stands; none where the two have told no business details."""

    debtor: str
    creditor: str
    currency: str
    charges: str
    vat: str
    fees: str
    fee_vat: str
    cdrs: int
    settled: str
    invoices: list[PaperShown]


class SettledBy(PaymentShown):
    """`settles`: which pairs' totals, as debtor and creditor."""

    settles: list[tuple[str, str]]


class SetOffShown(BaseModel):
    """`net` = `owed` - `owing`, and what comes by the payments less what goes."""

    clearing_group: str
    currency: str
    strategy: Strategy
    owing: str
    owed: str
    net: str
    pairs: list[PairShown]
    payments: list[SettledBy]


class SetOffStatement(BaseModel):
    party: str
    period_id: str
    groups: list[SetOffShown]


class DefaultAsked(BaseModel):
    """`means`: what a party has besides its claims, as `118.81 EUR`; of who is not named it is
    taken that it can pay. `confirm`: post it; else only say who loses what."""

    model_config = ConfigDict(extra="forbid")

    party: str
    rule: Rule
    means: dict[str, str] = {}
    confirm: bool = False


class LossShown(BaseModel):
    """`expected`, `gets`: in all of what is open, negative when the party pays."""

    party: str
    expected: str
    gets: str
    loses: str


class CorrectionShown(BaseModel):
    clearing_group: str
    currency: str
    collateral: str
    losses: list[LossShown]
    failed: list[PaymentShown]
    taken_back: list[PaymentShown]
    instead: list[PaymentShown]


class DefaultShown(BaseModel):
    party: str
    period_id: str
    rule: Rule
    confirmed: bool
    corrections: list[CorrectionShown]


def router(house: House, *, database: Database) -> APIRouter:
    """Settling. Partners see their own part, the hub sees all and does it."""
    routes = APIRouter(tags=["clearing-house: settlement"])

    @routes.post(
        "/periods/{period_id}/settle", response_model=SettledShown, operation_id="settle-period"
    )
    async def settle_period(
        period_id: str,
        asked: SettleAsked,
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
    ) -> Response:
        """Make payments of what a closed month leaves owing, by the hub. Asked again, the same."""
        _hub_only(caller, house)
        month = Month.parse(period_id)

        async def settle() -> Response:
            step = flows.plan if asked.dry_run else flows.settle
            found = await step(month, into=asked.currency, house=house)
            return json_response(settled_shown(found).model_dump(mode="json"))

        return await once(request, settle, database=database, party=caller.party, clock=house.clock)

    @routes.post(
        "/periods/{period_id}/default", response_model=DefaultShown, operation_id="declare-default"
    )
    async def declare_default(
        period_id: str,
        asked: DefaultAsked,
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
    ) -> Response:
        """Who loses what when a partner does not pay, by the hub; with `confirm`, it is posted."""
        _hub_only(caller, house)
        month, party = Month.parse(period_id), PartyId(asked.party)
        means = {PartyId(one): Money.parse(said) for one, said in asked.means.items()}

        async def default() -> Response:
            found = await flows.default(
                party, month, asked.rule, means=means, confirm=asked.confirm, house=house
            )
            shown = default_shown(found, confirmed=asked.confirm)
            return json_response(shown.model_dump(mode="json"))

        return await once(
            request, default, database=database, party=caller.party, clock=house.clock
        )

    @routes.get(
        "/settlement-payments", response_model=PaymentPage, operation_id="list-settlement-payments"
    )
    async def list_payments(
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
        period: Annotated[str | None, Query(description="as 2025-01")] = None,
        state: Annotated[PaymentState | None, Query()] = None,
        cursor: Annotated[str | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> Response:
        """Payments that the caller makes or gets, by the day they are due; the hub sees all."""
        found = await flows.payments(
            _party(caller, house),
            month=None if period is None else Month.parse(period),
            state=state,
            after=_after(cursor),
            limit=limit,
            books=house.books,
        )
        more = len(found) == limit
        next_cursor = f"{found[-1].due_on}~{found[-1].payment_id}" if more else None
        page = PaymentPage(payments=[payment_shown(one) for one in found], next_cursor=next_cursor)
        return json_response(page.model_dump(mode="json"), headers=page_link(request, next_cursor))

    @routes.get("/settlement-payments/{payment_id}", operation_id="show-settlement-payment")
    async def show_payment(
        payment_id: str, caller: Annotated[Caller, Depends(caller_of)]
    ) -> PaymentShown:
        """A payment that the caller makes or gets."""
        found = await flows.show_payment(payment_id, party=_party(caller, house), books=house.books)
        return payment_shown(found)

    @routes.post(
        "/settlement-payments/{payment_id}/receipts",
        response_model=PaymentShown,
        operation_id="record-receipt",
    )
    async def record_receipt(
        payment_id: str,
        told: ReceiptTold,
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
    ) -> Response:
        """Money came for a payment, says its payee or the hub."""

        async def record() -> Response:
            found = await flows.record_payment(
                payment_id,
                Money.parse(f"{told.amount:f} {told.currency}"),
                told.paid_at,
                told.source,
                by=_party(caller, house),
                house=house,
            )
            return json_response(payment_shown(found).model_dump(mode="json"))

        return await once(request, record, database=database, party=caller.party, clock=house.clock)

    @routes.post(
        "/settlement-payments/{payment_id}/write-off",
        response_model=PaymentShown,
        operation_id="write-off-payment",
    )
    async def write_off(
        payment_id: str, request: Request, caller: Annotated[Caller, Depends(caller_of)]
    ) -> Response:
        """The payee gives up what is open of a payment."""

        async def give_up() -> Response:
            found = await flows.write_off(payment_id, by=caller.party, house=house)
            return json_response(payment_shown(found).model_dump(mode="json"))

        return await once(
            request, give_up, database=database, party=caller.party, clock=house.clock
        )

    @routes.get(
        "/set-off-statements/{period_id}",
        response_model=SetOffStatement,
        operation_id="show-set-off-statement",
    )
    async def show_set_off(
        period_id: str,
        caller: Annotated[Caller, Depends(caller_of)],
        format: Annotated[Format, Query()] = Format.JSON,
    ) -> Response:
        """What the caller owed and was owed for a settled month, and which payments settle it."""
        found = await flows.set_offs(Month.parse(period_id), caller.party, books=house.books)
        if format is Format.CSV:
            return _csv(found)
        shown = SetOffStatement(
            party=caller.party, period_id=period_id, groups=[_set_off(one) for one in found]
        )
        return json_response(shown.model_dump(mode="json"))

    return routes


def _hub_only(caller: Caller, house: House) -> None:
    if caller.party != house.hub:
        raise HubOnly("the hub settles periods", field="party", value=caller.party, rule=house.hub)


def _party(caller: Caller, house: House) -> PartyId | None:
    return None if caller.party == house.hub else caller.party


def _after(cursor: str | None) -> After | None:
    if cursor is None:
        return None
    due_on, _, payment_id = cursor.partition("~")
    try:
        return After(Day.fromisoformat(due_on), payment_id)
    except ValueError:
        raise BadCursor(
            "not a cursor", field="cursor", value=cursor, rule="next_cursor of an earlier page"
        ) from None


def settled_shown(found: Settled) -> SettledShown:
    return SettledShown(
        period_id=str(found.period.month),
        state=found.period.state,
        settled_at=found.period.settled_at,
        settlements=[_settlement(one) for one in found.settlements],
    )


def _settlement(one: Settlement) -> SettlementShown:
    return SettlementShown(
        clearing_group=one.clearing_group,
        currency=one.currency,
        strategy=one.strategy,
        method=None if one.method is None else one.method.value,
        pairs=len(one.pairs),
        payments=sum(payment.defaulter is None for payment in one.payments),
        total=Money(one.total_minor, one.currency).figure,
        netted=Money(one.netted_minor, one.currency).figure,
        paid=Money(one.paid_minor, one.currency).figure,
        rates={currency: rate.by for currency, rate in one.rates.items()},
    )


def payment_shown(one: Payment) -> PaymentShown:
    return PaymentShown(
        payment_id=one.payment_id,
        period_id=one.period_id,
        clearing_group=one.clearing_group,
        payer=one.payer,
        payee=one.payee,
        currency=one.currency,
        amount=Money(one.amount_minor, one.currency).figure,
        paid=Money(one.paid_minor, one.currency).figure,
        open=Money(one.open_minor, one.currency).figure,
        due_on=one.due_on,
        reference=one.reference,
        state=one.state,
        defaulter=one.defaulter,
    )


def _pair(one: PairTotal, within: SetOff) -> PairShown:
    return PairShown(
        debtor=one.debtor,
        creditor=one.creditor,
        currency=one.currency,
        charges=Money(one.charge_minor, one.currency).figure,
        vat=Money(one.vat_minor, one.currency).figure,
        fees=Money(one.fee_minor, one.currency).figure,
        fee_vat=Money(one.fee_vat_minor, one.currency).figure,
        cdrs=one.cdrs,
        settled=Money(one.settled_minor, within.currency).figure,
        invoices=[
            PaperShown(number=paper.number, amount=Money(paper.gross_minor, paper.currency).figure)
            for paper in within.papers_of(one)
        ],
    )


def _set_off(one: SetOff) -> SetOffShown:
    return SetOffShown(
        clearing_group=one.clearing_group,
        currency=one.currency,
        strategy=one.strategy,
        owing=Money(one.owing_minor, one.currency).figure,
        owed=Money(one.owed_minor, one.currency).figure,
        net=Money(one.net_minor, one.currency).figure,
        pairs=[_pair(pair, one) for pair in one.pairs],
        payments=[
            SettledBy(
                **payment_shown(payment).model_dump(),
                settles=[(pair.debtor, pair.creditor) for pair in one.settles(payment)],
            )
            for payment in one.payments
        ],
    )


def default_shown(found: Defaulted, *, confirmed: bool) -> DefaultShown:
    return DefaultShown(
        party=found.defaulter,
        period_id=str(found.month),
        rule=found.rule,
        confirmed=confirmed,
        corrections=[_correction(one) for one in found.corrections],
    )


def _correction(one: Correction) -> CorrectionShown:
    return CorrectionShown(
        clearing_group=one.clearing_group,
        currency=one.currency,
        collateral=Money(one.collateral_minor, one.currency).figure,
        losses=[
            LossShown(
                party=loss.party,
                expected=Money(loss.expected_minor, one.currency).figure,
                gets=Money(loss.gets_minor, one.currency).figure,
                loses=Money(loss.loses_minor, one.currency).figure,
            )
            for loss in one.losses
        ],
        failed=[payment_shown(payment) for payment in one.failed],
        taken_back=[payment_shown(payment) for payment in one.unwound],
        instead=[payment_shown(payment) for payment in one.instead],
    )


_COLUMNS = [
    *("party", "period_id", "clearing_group", "line", "from", "to", "currency", "charges", "vat"),
    *("fees", "fee_vat", "cdrs", "amount", "settled_in", "due_on", "reference", "state"),
    "invoices",
]


def _csv(found: Sequence[SetOff]) -> Response:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for one in found:
        writer.writerows(_rows(one))
    return Response(text.getvalue(), media_type="text/csv")


def _rows(one: SetOff) -> Iterator[Sequence[object]]:
    """A line for each debt, and one for each payment; signs as for the party: owed is positive."""
    head = (one.party, one.period_id, one.clearing_group)
    for total in one.pairs:
        minor = total.settled_minor if total.creditor == one.party else -total.settled_minor
        pair = _pair(total, one)
        yield (
            *(*head, "debt", pair.debtor, pair.creditor, pair.currency, pair.charges, pair.vat),
            *(pair.fees, pair.fee_vat, pair.cdrs, Money(minor, one.currency).figure, one.currency),
            *("", "", "", " ".join(paper.number for paper in pair.invoices)),
        )
    for payment in map(payment_shown, one.payments):
        sign = "" if payment.payee == one.party else "-"
        yield (
            *(*head, "payment", payment.payer, payment.payee, payment.currency, "", "", "", "", ""),
            *(f"{sign}{payment.amount}", one.currency, payment.due_on, payment.reference),
            *(payment.state.value, ""),
        )
