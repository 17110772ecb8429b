"""What happens to an invoice after its issue: it is credited, paid, reminded of, written off."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date as Day
from datetime import datetime
from itertools import chain, count

from documents.en16931 import to_xml
from documents.invoice import Kind, Preceding, number_of
from marketplace.billing import fees, papers, standing
from marketplace.billing.fees import Share
from marketplace.billing.model import Item, NotForYou, UnknownInvoice
from marketplace.billing.papers import About, Issued, KeptLine, Ready
from marketplace.billing.ports import Book, Found, House, Recorded
from marketplace.billing.standing import BadCredit, BadPayment, Entry, NothingToCredit, Way
from roaming.money import Money
from roaming.party import PartyId

AT_ONCE = 100


async def credit(
    number: str,
    party: PartyId,
    *,
    reason: str,
    lines: Mapping[int, int] | None,
    bill_again: bool,
    house: House,
) -> Found:
    """Credit an invoice, whole or so much of some of its lines: by its seller or the operator.

    What is credited is given away: a further run does not bill it again, unless it is asked to.
    UnknownInvoice, NotForYou, BadCredit, NothingToCredit.
    """
    reason = reason.strip()
    if not 0 < len(reason) <= standing.LONGEST_REASON or not reason.isprintable():
        raise BadCredit(
            "no reason", field="reason", rule=f"1 to {standing.LONGEST_REASON} characters"
        )
    now = house.clock()
    async with house.books.open() as book:
        found = await _to_change(book, number, party, house.hub)
        if found.invoice.kind is Kind.CREDIT_NOTE:
            raise NothingToCredit(
                "a credit note is not credited", field="number", value=number, rule="an invoice"
            )
        if bill_again and found.about is About.FEE:
            # A run asks the fee of a sale once: this one would be given away without a word.
            raise BadCredit(
                "a fee is not billed again", field="bill_again", value=True, rule="false for a fee"
            )
        given = standing.credit(await book.lines(number), lines)
        made = _ready(found, given, bill_again)
        series = made.seller.party, now.year, made.kind
        counted = (await book.take_numbers({series: 1}))[series] + 1
        note = number_of(made.seller.party, now.year, counted, made.kind, papers.SERIES)
        invoice = papers.write(
            *(made, note, now.date()),
            hub=house.hub,
            days=(found.invoice.first_day, found.invoice.last_day),
            vat_before=(await book.vat_credited([number])).get(number, ()),
            notes=(f"Reason: {reason}",),
        )
        one = Issued(
            invoice=invoice,
            about=found.about,
            month=found.month,
            lines=tuple(kept for _, kept in made.lines),
            contract_id=found.contract_id,
            corrects=number,
            share=await _share(book, found, invoice.number, invoice.net_minor),
            reason=reason,
        )
        await book.keep([one], [await asyncio.to_thread(to_xml, invoice)], now)
        kept = await book.find(note, None)
    assert kept is not None
    return kept


def _ready(found: Found, given: list[tuple[standing.Billed, Item]], bill_again: bool) -> Ready:
    """Unless it is to be billed again, what is credited stays taken of its month."""
    invoice = found.invoice
    lines = []
    for billed, item in given:
        line = papers.credited_line(billed.line, item)
        kept = KeptLine(billed.month, item, bill_again, (invoice.number, billed.number))
        lines.append((line, kept))
    return papers.signed(
        Ready(
            *(Kind.INVOICE, invoice.seller, invoice.buyer, invoice.currency, found.about),
            lines=tuple(lines),
            contract_id=found.contract_id,
            corrects=(Preceding(invoice.number, invoice.issued_on),),
        )
    )


async def _share(book: Book, found: Found, note: str, net_minor: int) -> Share | None:
    """What of the marketplace's fee goes back with what is credited of a sale."""
    sale = await book.share_of(found.invoice.number)
    if sale is None or found.about is not About.SERVICE:
        return None
    before = 0
    for earlier in await book.credit_notes(found.invoice.number):
        share = await book.share_of(earlier)
        before -= 0 if share is None else share.net_minor
    return fees.credited(sale, note, before, net_minor)


async def record(number: str, party: PartyId, entry: Entry, *, house: House) -> tuple[Found, bool]:
    """Record a payment: by the seller or the operator. What was written off before it came is so no
    more. The same reference again changes nothing (False).

    UnknownInvoice, NotForYou, BadPayment, NothingOpen."""
    now = house.clock()
    async with house.books.open() as book:
        found = await _to_change(book, number, party, house.hub)
        entries = await book.entries(number)
        for before in entries:
            if before.entry.reference == entry.reference:
                if _says_the_same(before.entry, entry):
                    return found, False
                raise standing.ReferenceTaken(
                    "the reference names another payment of this invoice",
                    field="reference",
                    value=entry.reference,
                    rule="a reference for each payment, and the same payment with it each time",
                )
        if entry.on > now.date():
            raise BadPayment(
                "a day to come", field="on", value=entry.on.isoformat(), rule="today, or before"
            )
        back = standing.recovered(found.standing, entry)
        if back:
            undone = Entry(
                reference=_free(f"no longer written off {now.date()}", entries),
                way=Way.WRITTEN_OFF,
                amount_minor=-back,
                on=entry.on,
                note="paid after all",
            )
            found = await _enter(book, found, undone, party, now)
        found = await _enter(book, found, entry, party, now)
    return found, True


async def write_off(
    number: str, party: PartyId, reason: str, *, house: House
) -> tuple[Found, bool]:
    """Write off all that is open of an invoice; of what is open no more, nothing."""
    now = house.clock()
    async with house.books.open() as book:
        found = await _to_change(book, number, party, house.hub)
        if found.standing.open_minor <= 0:
            return found, False
        entry = Entry(
            reference=_free(f"written off {now.date()}", await book.entries(number)),
            way=Way.WRITTEN_OFF,
            amount_minor=found.standing.open_minor,
            on=now.date(),
            note=reason,
        )
        return await _enter(book, found, entry, party, now), True


async def _enter(book: Book, found: Found, entry: Entry, by: PartyId, now: datetime) -> Found:
    figure = Money(max(0, found.standing.open_minor), found.invoice.currency)
    after = standing.entered(found.standing, entry, str(figure))
    await book.record(found, entry, by, after.open_minor, now)
    return found._replace(standing=after)


def _free(reference: str, entries: Sequence[Recorded]) -> str:
    """A reference that no entry of the invoice has: the same may be done twice on one day."""
    taken = {one.entry.reference for one in entries}
    numbered = (f"{reference} ({n})" for n in count(2))
    return next(one for one in chain([reference], numbered) if one not in taken)


def _says_the_same(one: Entry, other: Entry) -> bool:
    return (one.way, one.amount_minor, one.on) == (other.way, other.amount_minor, other.on)


async def remind(*, house: House) -> int:
    """Remind of every invoice that is overdue, once for each level; how many were."""
    now = house.clock()
    today = now.date()
    after, sent = 0, 0
    while True:
        async with house.books.open() as book:
            page = await book.overdue(today, after, AT_ONCE)
            sent += sum([await _remind(book, found, had, today, now) for found, had in page])
        if len(page) < AT_ONCE:
            return sent
        after = page[-1][0].position


async def _remind(book: Book, found: Found, had: int, today: Day, now: datetime) -> bool:
    level = found.standing.level(today)
    if level <= had:
        return False
    for missed in range(had + 1, level + 1):
        await book.remind(found, missed, now)
    return True


async def _to_change(book: Book, number: str, party: PartyId, hub: PartyId) -> Found:
    found = await book.find(number, None if party == hub else party, lock=True)
    if found is None:
        raise UnknownInvoice(f"no invoice {number}", field="number", value=number)
    if party not in (hub, found.invoice.seller.party):
        raise NotForYou(
            "the seller of an invoice says what is paid or credited of it",
            field="number",
            value=number,
            rule=f"asked by {found.invoice.seller.party}, or the operator of the hub",
        )
    return found
