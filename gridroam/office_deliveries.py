"""What the hub's operator does with records that their EVSPs refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clearinghouse.forwarding import flows
from clearinghouse.forwarding.model import DeadLetter
from clearinghouse.forwarding.store import SqlOutbox
from gridroam.office import open_core
from roaming.party import PartyId

_AT_ONCE = 1_000


async def list_dead_letters(
    home: Path, database_url: str | None, evsp: PartyId | None, *, also_delivered: bool
) -> list[DeadLetter]:
    """Of one EVSP or of all; those that have arrived since only where asked for."""
    found: list[DeadLetter] = []
    async with open_core(home, database_url) as parts:
        outbox = SqlOutbox(parts.database)
        for one in await outbox.evsps() if evsp is None else [evsp]:
            after = 0
            while page := await flows.list_dead_letters(
                one, after=after, limit=_AT_ONCE, outbox=outbox
            ):
                found += [letter for letter in page if also_delivered or not letter.delivered_at]
                after = page[-1].dead_letter_id
    return found


async def replay_dead_letters(
    home: Path, database_url: str | None, evsp: PartyId, ids: Sequence[int] | None
) -> int:
    """Have these sent again, or all; how many were not on their way already."""
    async with open_core(home, database_url) as parts:
        return await flows.replay_many(
            evsp, ids, outbox=SqlOutbox(parts.database), clock=parts.clock
        )
