"""How a month is closed: no posting is lost between two months, and none is in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clearinghouse.periods import model
from clearinghouse.periods.model import Month, Overview, Period, State, Step
from clearinghouse.periods.ports import Book, Books
from kit.clock import Clock
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.party import PartyId


async def close(
    month: Month, *, early: bool = False, hub: PartyId, books: Books, clock: Clock
) -> Overview:
    """Close a month. Asked again, it goes on where it was broken off, or tells what it came to.

    First the month takes no more charges: whoever posts at that moment is waited for, whoever comes
    later posts into the next open month. Then the house posts what is its own, and the month is
    closed. Raises PeriodCannot (it is settled already), PeriodNotOver.
    """
    async with books.alone() as book:
        period = await book.find(month)
        if period.state is State.OPEN:
            period = model.after(period, Step.BEGIN_CLOSING, clock(), early=early)
            await book.keep(period, _event(EventType.PERIOD_CLOSING, period, hub))
    async with books.closing(month) as book:
        period = await book.find(month)
        if period.state is State.CLOSING:
            now = clock()
            await book.post_closing(month, now)
            period = model.after(period, Step.CLOSE, now)
            totals = [_told(total) for total in await book.totals(month)]
            await book.keep(period, _event(EventType.PERIOD_CLOSED, period, hub, totals=totals))
        return await _overview(period, book)


async def show(month: Month, *, books: Books) -> Overview:
    """A month as it stands, with its totals."""
    async with books.read() as book:
        return await _overview(await book.find(month), book)


async def known(*, books: Books) -> Sequence[Period]:
    """Every month that anything was posted to, oldest first."""
    async with books.read() as book:
        return await book.known()


async def _overview(period: Period, book: Book) -> Overview:
    return Overview(period, tuple(await book.totals(period.month)))


def _told(total: model.Total) -> dict[str, Any]:
    return {
        "currency": total.currency,
        "charges_minor": total.charges_minor,
        "vat_minor": total.vat_minor,
        "fees_minor": total.fees_minor,
        "fee_vat_minor": total.fee_vat_minor,
        "disputed_minor": total.disputed_minor,
        "cdrs": total.cdrs,
    }


def _event(type_: EventType, period: Period, hub: PartyId, **more: Any) -> NewEvent:
    at = period.closed_at or period.begun_closing_at
    assert at is not None
    return NewEvent(
        stream="periods",
        type=type_,
        party=hub,
        body={"period_id": str(period.month), "state": period.state.value, **more},
        occurred_at=at,
    )
