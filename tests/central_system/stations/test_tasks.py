"""Telling the search what is free: the newest status, every EVSE, and no endless quarrel."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from central_system.hub.model import HubAway, HubRefused
from central_system.stations.model import Due, StationRef
from central_system.stations.tasks import MOST_AT_ONCE, StatusTeller
from roaming.evse_id import EvseId
from roaming.party import PartyId
from tests.central_system.fakes import OPERATOR


@dataclass
class Statuses:
    open: list[Due]

    async def due(self, limit: int) -> list[Due]:
        return self.open[:limit]

    async def told(self, due: Due) -> None:
        self.open.remove(due)


@dataclass
class Search:
    trouble: dict[EvseId, Exception] = field(default_factory=dict)
    heard: list[EvseId] = field(default_factory=list)

    async def tell_status(self, _: PartyId, evse_id: EvseId, __: str) -> None:
        if evse_id in self.trouble:
            raise self.trouble[evse_id]
        self.heard.append(evse_id)


def due(number: int) -> Due:
    evse_id = EvseId(f"FR*PD1*E{number}")
    return Due(StationRef(OPERATOR, f"CP{number}"), evse_id, "AVAILABLE", {1: 1})


async def test_every_evse_is_told_a_hundred_at_a_time() -> None:
    statuses, search = Statuses([due(n) for n in range(MOST_AT_ONCE + 1)]), Search()
    teller = StatusTeller(statuses, search)
    assert await teller.step() is True
    assert await teller.step() is False
    assert len(search.heard) == MOST_AT_ONCE + 1


async def test_an_evse_that_the_hub_refuses_is_not_told_for_ever() -> None:
    one, other = due(1), due(2)
    search = Search({one.evse_id: HubRefused(404, "unknown-evse", "unknown")})
    statuses = Statuses([one, other])
    await StatusTeller(statuses, search).step()
    assert statuses.open == []
    assert search.heard == [other.evse_id]


async def test_a_hub_that_is_away_leaves_what_it_missed_due() -> None:
    one, other = due(1), due(2)
    search = Search({one.evse_id: HubAway("503")})
    statuses = Statuses([one, other])
    with pytest.raises(HubAway):
        await StatusTeller(statuses, search).step()
    assert statuses.open == [one]
