"""The outbox of records: at least once, for ever, and one operator's trouble its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from central_system.hub.model import CdrAnswer, HubAway, HubRefused
from central_system.transactions import tasks
from central_system.transactions.model import CdrState
from central_system.transactions.tasks import CdrSender
from roaming.party import PartyId
from tests.central_system.fakes import OPERATOR, OTHER


@dataclass
class Outbox:
    waiting: dict[PartyId, dict[int, Mapping[str, Any]]]
    states: dict[int, CdrState] = field(default_factory=dict)

    async def operators(self) -> list[PartyId]:
        return [operator for operator, records in self.waiting.items() if records]

    async def next(self, operator: PartyId, limit: int) -> list[tuple[int, Mapping[str, Any]]]:
        return sorted(self.waiting[operator].items())[:limit]

    async def answered(self, answers: Sequence[tuple[int, CdrState, Sequence[str]]]) -> None:
        for number, state, _ in answers:
            self.states[number] = state
            for records in self.waiting.values():
                records.pop(number, None)


@dataclass
class House:
    trouble: dict[PartyId, Exception] = field(default_factory=dict)
    calls: list[tuple[PartyId, int]] = field(default_factory=list)

    async def send(self, operator: PartyId, cdrs: Sequence[Mapping[str, Any]]) -> list[CdrAnswer]:
        self.calls.append((operator, len(cdrs)))
        if operator in self.trouble:
            raise self.trouble[operator]
        return [CdrAnswer(cdr["cdr_id"], "accepted", ()) for cdr in cdrs]


def records(count: int, size: int = 10) -> dict[int, Mapping[str, Any]]:
    return {n: {"cdr_id": f"CP1-{n}", "filling": "x" * size} for n in range(count)}


async def test_more_than_a_call_may_carry_goes_in_several() -> None:
    outbox, house = Outbox({OPERATOR: records(1_200)}), House()
    sender = CdrSender(outbox, house)
    while await sender.step():
        pass
    assert house.calls == [(OPERATOR, 500), (OPERATOR, 500), (OPERATOR, 200)]
    assert set(outbox.states.values()) == {CdrState.ACCEPTED}


async def test_large_records_go_in_smaller_calls_and_a_huge_one_alone() -> None:
    outbox = Outbox({OPERATOR: records(5, size=tasks.MOST_BYTES * 2 // 5)})
    house = House()
    sender = CdrSender(outbox, house)
    while await sender.step():
        pass
    assert house.calls == [(OPERATOR, 2), (OPERATOR, 2), (OPERATOR, 1)]
    outbox.waiting[OPERATOR] = records(2, size=tasks.MOST_BYTES + 1)
    house.calls.clear()
    while await sender.step():
        pass
    assert house.calls == [(OPERATOR, 1), (OPERATOR, 1)]


@pytest.mark.parametrize("trouble", [HubAway("503"), HubRefused(403, "no-contract", "no")])
async def test_the_trouble_of_one_operator_is_not_the_others(trouble: Exception) -> None:
    outbox = Outbox({OPERATOR: records(1), OTHER: {7: {"cdr_id": "X-7"}}})
    house = House({OPERATOR: trouble})
    sender = CdrSender(outbox, house, back_off_least_s=0.0)
    assert await sender.step() is False
    assert outbox.states == {7: CdrState.ACCEPTED}
    del house.trouble[OPERATOR]
    await sender.step()
    assert outbox.states[0] is CdrState.ACCEPTED


async def test_an_operator_in_trouble_is_left_alone_for_a_while() -> None:
    outbox, house = Outbox({OPERATOR: records(1)}), House({OPERATOR: HubAway("503")})
    sender = CdrSender(outbox, house)
    for _ in range(5):
        assert await sender.step() is False
    assert len(house.calls) == 1
