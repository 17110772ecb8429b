"""HTTP for statements: JSON for programs, CSV for people's spreadsheets, PDF for their files."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from clearinghouse.netting.model import Clearing, Period, Strategy
from clearinghouse.rating.model import zone_named
from clearinghouse.settlement import flows
from clearinghouse.settlement.model import Item, Side, Statement
from clearinghouse.settlement.paper import print_statement
from clearinghouse.settlement.ports import After, Books, Directory
from documents.printed import printer
from kit.http import Caller, caller_of, json_response, page_link
from roaming.money import Money
from roaming.refusal import Malformed


class BadCursor(Malformed):
    """A cursor that no earlier page has given."""


class Format(StrEnum):
    JSON = "json"
    CSV = "csv"
    PDF = "pdf"


class ItemFormat(StrEnum):
    JSON = "json"
    CSV = "csv"


class PeriodShown(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    start: datetime = Field(serialization_alias="from")
    end: datetime = Field(serialization_alias="to")


class SideShown(BaseModel):
    """`amount` excludes VAT."""

    amount: str
    vat: str
    cdrs: int


class AccountShown(BaseModel):
    """`net`: positive when the partner is owed money by the counterparty."""

    counterparty: str
    owing: SideShown
    owed: SideShown
    net: str
    net_vat: str


class PaymentShown(BaseModel):
    payer: str
    payee: str
    amount: str


class ClearedShown(BaseModel):
    """What the partner would pay and be paid under one strategy, and the sum of it."""

    method: str | None
    payments: list[PaymentShown]
    net: str


class StatementShown(BaseModel):
    party: str
    period: PeriodShown
    currency: str
    counterparties: list[AccountShown]
    owing: SideShown
    owed: SideShown
    strategies: dict[Strategy, ClearedShown]


class ItemShown(BaseModel):
    """`amount` and `vat`: positive when the partner is owed them, negative when it owes. `kind`:
    charge, credit, dispute-opened or dispute-released; `value_at`: what puts it into the period."""

    ended_at: datetime
    value_at: datetime
    kind: str
    counterparty: str
    operator: str
    cdr_id: str
    evse_id: str
    contract_id: str | None
    energy_wh: int
    amount: str
    vat: str
    currency: str


class ItemPage(BaseModel):
    items: list[ItemShown]
    next_cursor: str | None


_PERIOD = "a month as 2025-01, or from..to, each RFC 3339 or a day: 2025-01-01..2025-01-16"


def router(books: Books, directory: Directory) -> APIRouter:
    """Statements; each party reads its own."""
    routes = APIRouter(tags=["clearing-house: statements"])

    @routes.get(
        "/statements/{period}",
        response_model=StatementShown,
        operation_id="show-statement",
        description=f"What the caller owes and is owed. Period: {_PERIOD}.",
    )
    async def show_statement(
        period: str,
        caller: Annotated[Caller, Depends(caller_of)],
        currency: Annotated[str, Query()] = "EUR",
        time_zone: Annotated[str, Query()] = "UTC",
        format: Annotated[Format, Query()] = Format.JSON,
    ) -> Response:
        asked = _period(period, time_zone)
        found = await flows.statement(caller.party, asked, currency, books=books)
        if format is Format.CSV:
            return _csv(statement_csv(found))
        if format is Format.PDF:
            return await _pdf(found, await directory.names())
        return json_response(shown(found).model_dump(mode="json", by_alias=True))

    @routes.get(
        "/statements/{period}/items",
        response_model=ItemPage,
        operation_id="list-statement-items",
        description="The charges, credits and disputes behind the statement, by their value date.",
    )
    async def list_items(
        request: Request,
        period: str,
        caller: Annotated[Caller, Depends(caller_of)],
        currency: Annotated[str, Query()] = "EUR",
        time_zone: Annotated[str, Query()] = "UTC",
        format: Annotated[ItemFormat, Query()] = ItemFormat.JSON,
        cursor: Annotated[str | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    ) -> Response:
        found = await flows.items(
            caller.party,
            _period(period, time_zone),
            currency,
            after=_after(cursor),
            limit=limit,
            books=books,
        )
        more = len(found) == limit
        next_cursor = f"{found[-1].value_at.isoformat()}~{found[-1].position}" if more else None
        headers = page_link(request, next_cursor)
        listed = [item_shown(one, currency) for one in found]
        if format is ItemFormat.CSV:
            return _csv(items_csv(listed), headers)
        page = ItemPage(items=listed, next_cursor=next_cursor)
        return json_response(page.model_dump(mode="json"), headers=headers)

    return routes


async def _pdf(statement: Statement, names: Mapping[str, str]) -> Response:
    """Dated by the first day after the period, so that it is the same whenever it is asked for."""
    paper = await asyncio.to_thread(
        print_statement,
        statement,
        printer(),
        day=statement.period.end.date(),
        name_of=lambda party: names.get(party, party),
    )
    name = f"statement-{statement.party.compact}-{statement.period.start:%Y-%m-%d}.pdf"
    return Response(
        paper,
        media_type="application/pdf",
        headers={"Content-Disposition": f'inline; filename="{name}"'},
    )


def _period(said: str, time_zone: str) -> Period:
    zone = zone_named(time_zone)
    start, between, end = said.partition("..")
    return Period.between(start, end, zone) if between else Period.month(said, zone)


def _after(cursor: str | None) -> After | None:
    if cursor is None:
        return None
    value_at, _, position = cursor.replace(" ", "+").partition("~")
    try:
        after = After(datetime.fromisoformat(value_at), int(position))
        if after.value_at.tzinfo is None or not 1900 < after.value_at.year < 3000:
            raise ValueError("no time of an item")
        if not 0 <= after.position < 2**63:
            raise ValueError("no position")
    except ValueError as error:
        raise BadCursor(
            "not a cursor", field="cursor", value=cursor, rule="next_cursor of an earlier page"
        ) from error
    return after


def _side(side: Side, currency: str) -> SideShown:
    return SideShown(
        amount=Money(side.amount_minor, currency).figure,
        vat=Money(side.vat_minor, currency).figure,
        cdrs=side.cdrs,
    )


def shown(statement: Statement) -> StatementShown:
    currency = statement.currency
    return StatementShown(
        party=statement.party,
        period=PeriodShown(start=statement.period.start, end=statement.period.end),
        currency=currency,
        counterparties=[
            AccountShown(
                counterparty=one.counterparty,
                owing=_side(one.owing, currency),
                owed=_side(one.owed, currency),
                net=Money(one.net_minor, currency).figure,
                net_vat=Money(one.net_vat_minor, currency).figure,
            )
            for one in statement.accounts
        ],
        owing=_side(statement.owing, currency),
        owed=_side(statement.owed, currency),
        strategies={
            strategy: _cleared(clearing, statement)
            for strategy, clearing in statement.clearings.items()
        },
    )


def _cleared(clearing: Clearing, statement: Statement) -> ClearedShown:
    net = sum(
        one.amount_minor if one.payee == statement.party else -one.amount_minor
        for one in clearing.payments
    )
    return ClearedShown(
        method=None if clearing.method is None else clearing.method.value,
        payments=[
            PaymentShown(
                payer=one.payer,
                payee=one.payee,
                amount=Money(one.amount_minor, statement.currency).figure,
            )
            for one in clearing.payments
        ],
        net=Money(net, statement.currency).figure,
    )


def item_shown(item: Item, currency: str) -> ItemShown:
    return ItemShown(
        ended_at=item.ended_at,
        value_at=item.value_at,
        kind=item.kind,
        counterparty=item.counterparty,
        operator=item.operator,
        cdr_id=item.cdr_id,
        evse_id=item.evse_id.display,
        contract_id=None if item.contract_id is None else item.contract_id.display,
        energy_wh=item.energy_wh,
        amount=Money(item.amount_minor, currency).figure,
        vat=Money(item.vat_minor, currency).figure,
        currency=currency,
    )


_STATEMENT_COLUMNS = [
    "party",
    "from",
    "to",
    "counterparty",
    "currency",
    "owing_amount",
    "owing_vat",
    "owing_cdrs",
    "owed_amount",
    "owed_vat",
    "owed_cdrs",
    "net",
    "net_vat",
]


def _statement_rows(statement: Statement) -> Iterable[Sequence[object]]:
    told = shown(statement)
    for one in told.counterparties:
        yield (
            told.party,
            told.period.start.isoformat(),
            told.period.end.isoformat(),
            one.counterparty,
            told.currency,
            one.owing.amount,
            one.owing.vat,
            one.owing.cdrs,
            one.owed.amount,
            one.owed.vat,
            one.owed.cdrs,
            one.net,
            one.net_vat,
        )


def _item_rows(items: Iterable[ItemShown]) -> Iterable[Sequence[object]]:
    for one in items:
        yield [_cell(value) for value in one.model_dump(mode="json").values()]


def _cell(value: object) -> object:
    """A spreadsheet runs a text that begins like a formula, and operators choose the cdr_id."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdigit()


def statement_csv(statement: Statement) -> str:
    """A line for each counterparty."""
    return _table(_STATEMENT_COLUMNS, _statement_rows(statement))


def items_csv(items: Iterable[ItemShown]) -> str:
    """A line for each charge."""
    return _table(list(ItemShown.model_fields), _item_rows(items))


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _csv(text: str, headers: dict[str, str] | None = None) -> Response:
    return Response(text, media_type="text/csv", headers=headers)
