"""How the hub comes to its fees: a schedule is set, and a month that closes is charged by it."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Any

from clearinghouse.fees import model
from clearinghouse.fees.model import Due, Part, Payer, Schedule
from clearinghouse.fees.ports import Book, Books, Charged
from clearinghouse.periods.model import Month
from clearinghouse.tax.flows import treat
from clearinghouse.tax.model import AGREED_RATE, Supply, Treatment
from clearinghouse.tax.ports import Businesses
from roaming.money import Money
from roaming.party import PartyId
from roaming.rounding import half_up


async def set_schedule(
    schedule: Schedule, *, hub: PartyId, books: Books, now: datetime
) -> Schedule:
    """A price from a month on, which must not have begun: nobody is charged by surprise."""
    if schedule.valid_from <= Month.of(now):
        raise model.BadSchedule(
            f"{schedule.valid_from} has begun",
            field="valid_from",
            value=str(schedule.valid_from),
            rule="a month to come",
        )
    async with books.open() as book:
        await book.add(schedule, hub, now)
    return schedule


async def accrue_period(
    month: Month, *, book: Book, businesses: Businesses, hub: PartyId, now: datetime
) -> list[Charged]:
    """Charge a month: for whoever closes it, in its transaction, when no more records come."""
    found = model.due(await book.schedules(), await book.used(month), month)
    fees = [
        _charged(
            one, treat(businesses, hub, one.party, None, month.last_moment, Supply.SERVICE), month
        )
        for one in found
    ]
    await book.post(fees, hub, now)
    return fees


async def read(books: Books, party: PartyId, month: Month) -> tuple[list[Schedule], list[Charged]]:
    """The prices that hold for a party in a month, one for each side, and its latest fees."""
    async with books.open() as book:
        every = await book.schedules()
        charged = await book.charged(party, 24)
    holding = [model.applying(every, payer, party, month) for payer in Payer]
    return [one for one in holding if one is not None], list(charged)


def _charged(due: Due, vat: Treatment | None, month: Month) -> Charged:
    # Where no rule decides there is no agreement to fall back on: then the hub charges no VAT.
    percent = None if vat is None else vat.percent
    owed = half_up(due.net.minor * Fraction(percent or 0) / 100)
    return Charged(
        month=month,
        party=due.party,
        net=due.net,
        vat=Money(owed, due.net.currency),
        vat_rule=AGREED_RATE if vat is None else vat.rule,
        vat_category=None if vat is None else vat.category,
        vat_percent=percent,
        parts=[_part_shown(part) for part in due.parts],
    )


def _part_shown(part: Part) -> dict[str, Any]:
    return {
        "payer": part.usage.payer.value,
        "cdrs": part.usage.cdrs,
        "energy_wh": part.usage.energy_wh,
        "per_cdr": f"{part.schedule.per_cdr:f}",
        "per_kwh": f"{part.schedule.per_kwh:f}",
    }
