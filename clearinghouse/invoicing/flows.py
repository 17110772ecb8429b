"""How the invoices of a month are issued when it is closed, and found again."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from clearinghouse.invoicing import model
from clearinghouse.invoicing.model import Draft, Issued, Uninvoiced, UnknownInvoice
from clearinghouse.invoicing.ports import Books, Businesses, Closing, Found
from clearinghouse.periods.model import Month
from documents.en16931 import to_xml
from documents.invoice import Business, Invoice, Kind, Line, Preceding, by_scope, number_of
from roaming.party import PartyId


async def issue(
    month: Month, now: datetime, *, hub: PartyId, closing: Closing, businesses: Businesses
) -> None:
    """Issue every invoice and credit note of a month, in the transaction that closes it.

    The two sides stand on it as they are known when it is issued; VAT was decided at each charge.
    Numbers are taken in that transaction too: so they have no gaps, and none is given twice. Where
    an invoice cannot be issued it is kept what is wanted for it; what is owed is owed all the same.
    """
    drafts = model.drafts_of(await closing.lines(month))
    uninvoiced: list[Uninvoiced] = []
    ready: list[tuple[Draft, Business, Business, tuple[Line, ...]]] = []
    for draft in drafts:
        dealing = draft.dealing
        seller = businesses.business_at(dealing.seller, now)
        buyer = businesses.business_at(dealing.buyer, now)
        wanted = model.wanted_for(draft, seller, buyer)
        if wanted:
            uninvoiced.append(
                Uninvoiced(
                    dealing=dealing,
                    period_id=str(month),
                    kind=draft.kind,
                    net_minor=draft.net_minor,
                    vat_minor=draft.vat_minor,
                    wanted=tuple(wanted),
                )
            )
            continue
        assert seller is not None
        assert buyer is not None
        ready += [(draft, seller, buyer, lines) for lines in by_scope(model.positive(draft))]
    year = now.year
    counts = Counter((draft.dealing.seller, year, draft.kind) for draft, *_ in ready)
    counted = await closing.take_numbers(dict(counts))
    corrected = await closing.invoices_of(
        [
            (draft.dealing, earlier)
            for draft, *_ in ready
            for one in draft.lines
            for earlier in one.corrects
        ]
    )
    # A month of a large hub has thousands: not the event loop's.
    issued = await asyncio.to_thread(_write, month, now, hub, ready, counted, corrected)
    await closing.keep(issued, uninvoiced, month, now)


def _write(
    month: Month,
    now: datetime,
    hub: PartyId,
    ready: Sequence[tuple[Draft, Business, Business, tuple[Line, ...]]],
    counted: dict[tuple[PartyId, int, Kind], int],
    corrected: dict[tuple[model.Dealing, str], list[Preceding]],
) -> list[Issued]:
    last = defaultdict(int, counted)
    issued = []
    for draft, seller, buyer, lines in ready:
        dealing = draft.dealing
        series = dealing.seller, now.year, draft.kind
        last[series] += 1
        preceding = {
            one
            for drafted in draft.lines
            for earlier in drafted.corrects
            for one in corrected.get((dealing, earlier), ())
        }
        invoice = Invoice(
            number=number_of(dealing.seller, now.year, last[series], draft.kind),
            kind=draft.kind,
            issued_on=now.date(),
            due_on=None,
            first_day=month.starts_at.date(),
            last_day=(month.ends_at - timedelta(days=1)).date(),
            seller=seller,
            buyer=buyer,
            currency=dealing.currency,
            lines=lines,
            set_off=(
                f"Settled through the clearing house with the month {month}, group"
                f" {dealing.clearing_group or 'gross'}: set off against other debts, or paid by"
                " the payments that the statement of its settlement lists."
            ),
            preceding=tuple(sorted(preceding, key=lambda one: (one.issued_on, one.number))),
            notes=_notes(dealing, hub),
        )
        issued.append(Issued(invoice, dealing, str(month), to_xml(invoice)))
    return issued


def _notes(dealing: model.Dealing, hub: PartyId) -> tuple[str, ...]:
    if dealing.seller == hub:
        return ()
    return (f"Issued by {hub}, the clearing house, in the name and on behalf of the seller.",)


async def show(number: str, *, party: PartyId, hub: PartyId, books: Books) -> Found:
    """An invoice that the party is the seller or the buyer of; the hub sees all."""
    async with books.read() as book:
        found = await book.find(number, _whose(party, hub))
    if found is None:
        raise UnknownInvoice(f"no invoice {number}", field="number", value=number)
    return found


async def page(
    *,
    party: PartyId,
    hub: PartyId,
    period_id: str | None,
    after: int,
    limit: int,
    books: Books,
) -> Sequence[Found]:
    """Invoices of the party, in the order in which they were issued."""
    async with books.read() as book:
        return await book.page(_whose(party, hub), period_id, after, limit)


async def count(month: Month, *, books: Books) -> int:
    """How many invoices and credit notes a month has."""
    async with books.read() as book:
        return await book.count(str(month))


async def uninvoiced(
    *, party: PartyId, hub: PartyId, period_id: str | None, books: Books
) -> Sequence[Uninvoiced]:
    """What was charged to or by the party and could not be invoiced, and why."""
    async with books.read() as book:
        return await book.uninvoiced(_whose(party, hub), period_id)


def _whose(party: PartyId, hub: PartyId) -> PartyId | None:
    return None if party == hub else party
