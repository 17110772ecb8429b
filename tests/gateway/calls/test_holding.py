"""What bodies take of a process's memory: no more than there is, and never another's share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.calls.holding import Holding, Pot
from gateway.calls.refusals import CallerTooBusy, HubBusy


@given(some.lists(some.tuples(some.sampled_from("abc"), some.integers(0, 40), some.booleans())))
def test_nobody_takes_more_than_its_share_nor_all_together_more_than_there_is(
    steps: list[tuple[str, int, bool]],
) -> None:
    pot = Pot(100, 60)
    calls: list[tuple[str, Holding]] = []
    for client_id, size, ends in steps:
        calls.append((client_id, pot.of_client(client_id)))
        of_one = sum(call.bytes for name, call in calls if name == client_id)
        kind = None
        try:
            calls[-1][1].more(size)
        except (CallerTooBusy, HubBusy) as refusal:
            kind = type(refusal)
        held = sum(call.bytes for _, call in calls)
        assert pot.bytes == held <= 100
        if kind is CallerTooBusy:
            assert of_one + size > 60
        elif kind is HubBusy:
            assert held + size > 100
        else:
            assert calls[-1][1].bytes == size
            assert of_one + size <= 60
        if ends:
            calls.pop(0)[1].let_go()
    for _, call in calls:
        call.let_go()
        call.let_go()
    assert pot.bytes == 0


def test_strangers_have_a_share_together_and_those_of_one_address_a_part_of_it() -> None:
    pot = Pot(200, 80)
    filled = [pot.of_stranger(f"192.0.2.{n}") for n in range(8)]
    for one in filled:
        with pytest.raises(CallerTooBusy):
            one.more(11)
        one.more(10)
    with pytest.raises(CallerTooBusy):
        pot.of_stranger("192.0.2.9").more(1)
    pot.of_client("known").more(80)
    filled[0].let_go()
    pot.of_stranger("192.0.2.9").more(10)
