"""How invoices, runs and fees are told: amounts as decimal texts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

from pydantic import BaseModel, Field

from documents.invoice import Category, Invoice, Kind
from marketplace.billing.fees import Fee
from marketplace.billing.looking import Unbilled, Whole
from marketplace.billing.model import Item, Run, Uninvoiced
from marketplace.billing.ports import Found, Recorded
from marketplace.billing.standing import Billed, Entry, State, Way
from roaming.money import Money

KINDS = {Kind.INVOICE: "invoice", Kind.CREDIT_NOTE: "credit-note"}


class InvoiceHead(BaseModel):
    """`state`, `open`: as of today. Those of a credit note are what is given back."""

    number: str
    kind: str = Field(description="invoice or credit-note")
    about: str = Field(description="service, or fee: the marketplace's own")
    month: str
    contract_id: str | None
    issued_on: date
    due_on: date | None
    seller: str
    buyer: str
    currency: str
    net: str
    vat: str
    total: str
    credited: str
    paid: str
    written_off: str
    open: str
    state: State
    xml_sha256: str

    @classmethod
    def of(cls, found: Found, today: date) -> InvoiceHead:
        made, stands = found.invoice, found.standing
        figure = _Figures(made.currency)
        return cls(
            number=made.number,
            kind=KINDS[made.kind],
            about=found.about,
            month=str(found.month),
            contract_id=found.contract_id,
            issued_on=made.issued_on,
            due_on=made.due_on,
            seller=made.seller.party,
            buyer=made.buyer.party,
            currency=made.currency,
            net=figure(made.net_minor),
            vat=figure(made.vat_minor),
            total=figure(made.gross_minor),
            credited=figure(stands.credited_minor),
            paid=figure(stands.paid_minor),
            written_off=figure(stands.written_off_minor),
            open=figure(stands.open_minor),
            state=stands.state(today),
            xml_sha256=found.xml_sha256.hex(),
        )


class LineShown(BaseModel):
    """`credited`: what credit notes have taken back of it."""

    line: int
    description: str
    month: str
    quantity: Decimal
    unit: str
    amount: str
    vat_category: Category
    vat_percent: Decimal
    vat_rule: str
    credited: str

    @classmethod
    def of(cls, billed: Billed, currency: str) -> LineShown:
        counted, figure = billed.line.counted, _Figures(currency)
        assert counted is not None
        return cls(
            line=billed.number,
            description=billed.line.description,
            month=str(billed.month),
            quantity=counted.quantity,
            unit=counted.named,
            amount=figure(billed.line.amount_minor),
            vat_category=billed.line.vat.category,
            vat_percent=billed.line.vat.percent,
            vat_rule=billed.line.vat.rule,
            credited=figure(billed.credited_minor),
        )


class VatShown(BaseModel):
    category: Category
    percent: Decimal
    taxable: str
    tax: str
    exemption_reason: str | None
    exemption_code: str | None


class EntryShown(BaseModel):
    reference: str
    way: Way
    amount: str
    on: date
    note: str
    by: str
    recorded_at: datetime

    @classmethod
    def of(cls, recorded: Recorded, currency: str) -> EntryShown:
        entry: Entry = recorded.entry
        return cls(
            reference=entry.reference,
            way=entry.way,
            amount=Money(entry.amount_minor, currency).figure,
            on=entry.on,
            note=entry.note,
            by=recorded.by,
            recorded_at=recorded.recorded_at,
        )


class InvoiceShown(InvoiceHead):
    lines: list[LineShown]
    vat_breakdown: list[VatShown]
    entries: list[EntryShown]
    credit_notes: list[str]
    corrects: list[str]
    reason: str | None
    terms: str | None
    notes: list[str]

    @classmethod
    def whole(cls, whole: Whole, today: date) -> InvoiceShown:
        made = whole.found.invoice
        return cls(
            **InvoiceHead.of(whole.found, today).model_dump(),
            lines=[LineShown.of(one, made.currency) for one in whole.lines],
            vat_breakdown=_vat(made),
            entries=[EntryShown.of(one, made.currency) for one in whole.entries],
            credit_notes=list(whole.credit_notes),
            corrects=[one.number for one in made.preceding],
            reason=whole.found.reason,
            terms=made.set_off,
            notes=list(made.notes),
        )


def _vat(made: Invoice) -> list[VatShown]:
    figure = _Figures(made.currency)
    return [
        VatShown(
            category=total.vat.category,
            percent=total.vat.percent,
            taxable=figure(total.taxable_minor),
            tax=figure(total.tax_minor),
            exemption_reason=total.vat.told[0],
            exemption_code=total.vat.told[1],
        )
        for total in made.vat_totals
    ]


class UninvoicedShown(BaseModel):
    """Due, and waiting for what is wanted: the next run of the month, or of a later one, bills it.
    `contract_id` null: the marketplace's fee."""

    contract_id: str | None
    seller: str
    buyer: str
    currency: str
    net: str
    months: list[str]
    wanted: list[str]
    noted_at: datetime

    @classmethod
    def of(cls, one: Uninvoiced) -> UninvoicedShown:
        return cls(
            contract_id=one.contract_id,
            seller=one.seller,
            buyer=one.buyer,
            currency=one.currency,
            net=Money(one.net_minor, one.currency).figure,
            months=[str(month) for month in one.months],
            wanted=list(one.wanted),
            noted_at=one.noted_at,
        )


class InvoicePage(BaseModel):
    """`not_invoiced`: whatever is asked for; on the first page only."""

    invoices: list[InvoiceHead]
    not_invoiced: list[UninvoicedShown]
    next_cursor: str | None


class ItemShown(BaseModel):
    text: str
    quantity: Decimal
    unit: str
    amount: str

    @classmethod
    def of(cls, item: Item, currency: str) -> ItemShown:
        return cls(
            text=item.text,
            quantity=item.quantity,
            unit=item.unit,
            amount=Money(item.amount_minor, currency).figure,
        )


class UnbilledShown(BaseModel):
    """A contract's month up to now, before VAT: in all, and what of it is on no invoice yet."""

    contract_id: str
    service: str
    major: int
    provider: str
    requester: str
    currency: str
    items: list[ItemShown]
    total: str
    due: list[ItemShown]
    unbilled: str

    @classmethod
    def of(cls, one: Unbilled) -> UnbilledShown:
        contract, currency = one.contract, one.contract.currency
        return cls(
            contract_id=contract.contract_id,
            service=contract.service,
            major=contract.major,
            provider=contract.provider,
            requester=contract.requester,
            currency=currency,
            items=[ItemShown.of(item, currency) for item in one.items],
            total=_sum(one.items, currency),
            due=[ItemShown.of(item, currency) for item in one.due],
            unbilled=_sum(one.due, currency),
        )


def _sum(items: Sequence[Item], currency: str) -> str:
    return Money(sum(item.amount_minor for item in items), currency).figure


class UnbilledPage(BaseModel):
    month: str
    contracts: list[UnbilledShown]


class RunShown(BaseModel):
    """`earlier`: months in which late use is looked for, too."""

    run_id: str
    month: str
    up_to: datetime
    earlier: list[str]
    by: str
    state: str
    contracts: int
    invoices: int
    credit_notes: int
    not_invoiced: int
    begun_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, run: Run) -> RunShown:
        return cls(
            run_id=run.run_id,
            month=str(run.month),
            up_to=run.up_to,
            earlier=[str(month) for month in run.earlier],
            by=run.by,
            state=run.state,
            contracts=run.tally.contracts,
            invoices=run.tally.invoices,
            credit_notes=run.tally.credit_notes,
            not_invoiced=run.tally.not_invoiced,
            begun_at=run.begun_at,
            finished_at=run.finished_at,
        )


class RunPage(BaseModel):
    runs: list[RunShown]
    next_cursor: str | None


class FeeShown(BaseModel):
    """What the marketplace asks of a sale from a month on; null: of all."""

    valid_from: str
    percent: str
    per_invoice: str
    currency: str | None
    provider: str | None
    category: str | None

    @classmethod
    def of(cls, fee: Fee) -> FeeShown:
        each = "0"
        if fee.currency is not None:
            each = Money(fee.per_invoice_minor, fee.currency).figure
        return cls(
            valid_from=str(fee.valid_from),
            percent=f"{fee.percent:f}",
            per_invoice=each,
            currency=fee.currency,
            provider=fee.provider,
            category=fee.category,
        )


class FeeSchedule(BaseModel):
    """In the order of telling: of two alike the later holds."""

    fees: list[FeeShown]


class _Figures:
    """Amounts of one currency as texts."""

    def __init__(self, currency: str) -> None:
        self._currency = currency

    def __call__(self, minor: int) -> str:
        return Money(minor, self._currency).figure
