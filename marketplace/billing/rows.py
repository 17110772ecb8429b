"""The rows of billing and its facts, as they are written and read. No row leaves the stores."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from documents.invoice import Invoice, Kind
from kit.event_log import NewEvent
from marketplace.billing.fees import Share
from marketplace.billing.model import Item, Run, State, Tally, Uninvoiced
from marketplace.billing.papers import About, Issued
from marketplace.billing.ports import Found
from marketplace.billing.standing import Standing
from roaming.events import EventType
from roaming.month import Month
from roaming.party import PartyId


def invoice_row(one: Issued, position: int) -> tuple[Any, ...]:
    made = one.invoice
    return (
        *(made.number, position, made.kind.value, one.about.value),
        *(made.seller.party, made.buyer.party, one.contract_id, one.run_id, str(one.month)),
        *(made.currency, made.issued_on, made.due_on, made.net_minor, made.gross_minor),
        *(one.corrects, one.reason),
    )


def line_rows(one: Issued) -> list[tuple[Any, ...]]:
    return [
        (
            *(one.invoice.number, place, one.contract_id, str(kept.month), kept.item.key),
            *(kept.item.text, kept.item.quantity, kept.item.unit, kept.item.amount_minor),
            *(kept.taken, *(kept.corrects or (None, None))),
        )
        for place, kept in enumerate(one.lines, 1)
    ]


def share_row(share: Share) -> tuple[Any, ...]:
    return (
        *(share.number, share.provider, share.currency, share.percent, share.per_invoice_minor),
        *(share.net_minor, share.provider_minor, share.fee_minor),
    )


def event_of(one: Issued, digest: bytes, now: datetime) -> NewEvent:
    made = one.invoice
    credit = made.kind is Kind.CREDIT_NOTE
    kind = EventType.SERVICE_CREDIT_NOTE_ISSUED if credit else EventType.SERVICE_INVOICE_ISSUED
    body = parties_of(made) | {
        "about": one.about.value,
        "contract_id": one.contract_id,
        "month": str(one.month),
        "net_minor": made.net_minor,
        "vat_minor": made.vat_minor,
        "due_on": made.due_on and made.due_on.isoformat(),
        "corrects": [before.number for before in made.preceding],
        "reason": one.reason,
        "xml_sha256": digest.hex(),
    }
    seller = made.seller.party
    return NewEvent(f"service-invoices/{seller}", kind, seller, body, now)


def told_to(event: NewEvent, party: PartyId) -> NewEvent:
    """The same to the other side: who is to pay, or is paid back, hears of it as well."""
    return replace(event, party=party)


def parties_of(made: Invoice) -> dict[str, Any]:
    return {
        "number": made.number,
        "seller": made.seller.party,
        "buyer": made.buyer.party,
        "currency": made.currency,
    }


def to_run(row: Any) -> Run:
    return Run(
        run_id=row["run_id"],
        month=Month.parse(row["month"]),
        up_to=row["up_to"],
        earlier=tuple(Month.parse(month) for month in row["earlier"]),
        by=PartyId(row["begun_by"]),
        begun_at=row["begun_at"],
        state=State(row["state"]),
        summed=row["summed"],
        after=row["after"],
        tally=Tally(row["contracts"], row["invoices"], row["credit_notes"], row["not_invoiced"]),
        finished_at=row["finished_at"],
    )


def to_item(row: Any) -> Item:
    return Item(row["key"], row["told"], row["quantity"], row["unit"], row["amount_minor"])


def to_found(row: Any) -> Found:
    invoice = to_invoice(row["content"])
    return Found(
        position=row["log_position"],
        about=About(row["about"]),
        contract_id=row["contract_id"],
        run_id=row["run_id"],
        month=Month.parse(row["month"]),
        invoice=invoice,
        xml=row["xml"],
        xml_sha256=row["xml_sha256"],
        reason=row["reason"],
        standing=Standing(
            kind=invoice.kind,
            gross_minor=row["gross_minor"],
            due_on=row["due_on"],
            credited_minor=row["credited_minor"],
            paid_minor=row["paid_minor"],
            written_off_minor=row["written_off_minor"],
        ),
    )


def to_invoice(content: Any) -> Invoice:
    return msgspec.convert(content, Invoice, dec_hook=_read)


def _read(kind: type, value: Any) -> Any:
    assert kind is PartyId
    return PartyId(value)


def to_share(row: Any) -> Share:
    return Share(
        number=row["number"],
        provider=PartyId(row["provider"]),
        currency=row["currency"],
        percent=row["percent"],
        per_invoice_minor=row["per_invoice_minor"],
        net_minor=row["net_minor"],
        fee_minor=row["fee_minor"],
    )


def to_uninvoiced(row: Any) -> Uninvoiced:
    return Uninvoiced(
        seller=PartyId(row["seller"]),
        buyer=PartyId(row["buyer"]),
        currency=row["currency"],
        by_month=tuple(zip(map(Month.parse, row["months"]), row["minors"], strict=True)),
        wanted=tuple(row["wanted"]),
        noted_at=row["noted_at"],
        contract_id=row["contract_id"] or None,
    )
