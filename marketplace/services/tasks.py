"""Services end on their day, whether anybody looks or not."""

from __future__ import annotations

from kit.clock import Clock
from kit.worker import Worker
from marketplace.services import flows
from marketplace.services.ports import Catalogue, Memory
from roaming.party import PartyId


def sunsets(
    catalogue: Catalogue, hub: PartyId, memory: Memory, clock: Clock, *, idle_s: float = 10.0
) -> Worker:
    """Retires what has come to its sunset. Contracts on it have ended by themselves at that very
    moment, so nothing depends on how soon it looks.
    """

    async def step() -> bool:
        return await flows.retire_due(catalogue, hub, memory=memory, now=clock())

    return Worker("sunsets", step, idle_s=idle_s)
