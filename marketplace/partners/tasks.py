"""Of partners whose notice has run, leave is taken on the day."""

from __future__ import annotations

from kit.clock import Clock
from kit.worker import Worker
from marketplace.partners import flows
from marketplace.partners.ports import Partners


def leave_taker(partners: Partners, clock: Clock, *, idle_s: float = 30.0) -> Worker:
    """What the day itself decides (calls, contracts, offers) goes by dates and waits for nobody:
    this withdraws what is still shown, ends tokens, and tells whom it concerns.
    """

    async def step() -> bool:
        return await flows.take_leave(partners, now=clock())

    return Worker("partners-leaving", step, idle_s=idle_s)
