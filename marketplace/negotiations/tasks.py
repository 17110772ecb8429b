"""The worker that ends what nobody has answered."""

from __future__ import annotations

from kit.clock import Clock
from kit.worker import Worker
from marketplace.negotiations import flows
from marketplace.negotiations.ports import Negotiations
from roaming.party import PartyId


def lapsing(
    negotiations: Negotiations, hub: PartyId, clock: Clock, *, idle_s: float = 10.0
) -> Worker:
    """Looks every few seconds; whoever answers too late is refused all the same."""

    async def step() -> bool:
        return await flows.lapse(negotiations, hub, clock()) == flows.LAPSED_AT_ONCE

    return Worker("negotiations: lapsing", step, idle_s=idle_s)
