"""The worker that reminds of payments which are late."""

from __future__ import annotations

from clearinghouse.payments import flows
from clearinghouse.payments.ports import Books, Businesses
from clearinghouse.settling.flows import House
from kit.worker import Worker

ONCE_IN_S = 3_600.0


def reminders(
    books: Books, house: House, businesses: Businesses, *, idle_s: float = ONCE_IN_S
) -> Worker:
    """Looks once an hour: a level is reached at midnight, and sent once."""

    async def step() -> bool:
        await flows.remind(books=books, house=house, businesses=businesses)
        return False

    return Worker("payments: reminders", step, idle_s=idle_s)
