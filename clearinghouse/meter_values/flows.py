"""Meters' keys, and what meters have signed. Checking is arithmetic, and goes off the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clearinghouse.meter_values import model
from clearinghouse.meter_values.model import Check, UnknownMeterKey
from clearinghouse.meter_values.ports import Evses, Keys, Meter
from kit.clock import Clock
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.refusal import NotYours


class NotYourEvse(NotYours):
    """An operator registers keys for its own EVSEs."""


@dataclass(frozen=True, slots=True)
class MeterChecks:
    """What the intake of records asks: do the meters stand by what it was told?"""

    keys: Keys

    async def check(self, told: Sequence[tuple[Meter, Sequence[Any]]]) -> list[Check | None]:
        """For each record's signed values what came of them; None for none."""
        bringing = {meter for meter, entries in told if entries}
        if not bringing:
            return [None] * len(told)
        registered = await self.keys.of(bringing)
        return await asyncio.to_thread(
            lambda: [model.check(entries, registered.get(meter, ())) for meter, entries in told]
        )


async def register(
    evse_id: EvseId,
    told: Sequence[str],
    *,
    operator: PartyId,
    keys: Keys,
    evses: Evses,
    clock: Clock,
) -> tuple[str, ...]:
    """From now on these keys, and no others, make the values of this EVSE verified."""
    known = (await evses.find_many([evse_id])).get(evse_id)
    if known is None or known[0] != operator:
        raise NotYourEvse(
            f"{evse_id.display} is not an EVSE of {operator}",
            field="evse_id",
            value=evse_id.display,
            rule="an EVSE that the caller has told Search EVSE of",
        )
    public_keys = model.keys_of(told)
    now = clock()
    async with keys.open() as book:
        await book.register((operator, evse_id), public_keys, now)
        await book.tell(
            NewEvent(
                stream=f"meter-keys:{operator}",
                type=EventType.METER_KEYS_REGISTERED,
                party=operator,
                body={"evse_id": evse_id, "public_keys": list(public_keys)},
                occurred_at=now,
            )
        )
    return public_keys


async def show(evse_id: EvseId, keys: Keys) -> Sequence[str]:
    """The keys by which anybody may check what this EVSE's meter has signed."""
    found = await keys.find(evse_id)
    if found is None:
        raise UnknownMeterKey(
            f"no keys for {evse_id.display}", field="evse_id", value=evse_id.display
        )
    return found[1]
