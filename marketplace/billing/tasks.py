"""The workers of billing: one goes on with runs, and begins them after the cut-off day; one
reminds of what is not paid."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from kit.worker import Worker
from marketplace.billing import corrections, flows
from marketplace.billing.model import (
    LOOK_BACK,
    BadCutOff,
    OtherRunUnderWay,
    State,
    next_to_bill,
)
from marketplace.billing.ports import House
from roaming.month import Month

LOOKS_EVERY_S = 2.0
REMINDS_EVERY_S = 3_600.0


def biller(
    house: House, *, billing_day: int | None = None, idle_s: float = LOOKS_EVERY_S
) -> Worker:
    """Goes on with the run that is open, whoever began it; of several processes, one does.

    `billing_day`: from this day of a month on, the month before is billed by itself; None: the
    operator does it.
    """
    holder = uuid4().hex

    async def step() -> bool:
        async with house.books.open() as book:
            run = await book.open_run()
        if run is None:
            return billing_day is not None and await _begin(house, billing_day)
        went_on = await flows.step(run.run_id, holder, house=house)
        return went_on is not None and went_on.state is not State.DONE

    return Worker("billing", step, idle_s=idle_s)


async def _begin(house: House, billing_day: int) -> bool:
    """Begin to bill the month before, once it is time and nobody has; those first that the hub was
    away for."""
    now = house.clock()
    if now.day < billing_day:
        return False
    last = Month.of(Month.of(now).starts_at - timedelta(days=1))
    async with house.books.open() as book:
        billed = await book.billed_up_to(flows.back(last, LOOK_BACK + 1))
    month = next_to_bill(last, billed)
    if month is None:
        return False
    try:
        await flows.begin(month, None, house.hub, house=house)
    except (OtherRunUnderWay, BadCutOff):
        # Somebody else was quicker.
        return False
    return True


def reminders(house: House, *, idle_s: float = REMINDS_EVERY_S) -> Worker:
    """Looks once an hour: a level is reached at midnight, and told once."""

    async def step() -> bool:
        await corrections.remind(house=house)
        return False

    return Worker("billing: reminders", step, idle_s=idle_s)
