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
        calls.append((client_id, Holding(pot, client_id)))
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


def test_who_has_not_said_who_it_is_has_one_share_with_all_others_of_its_kind() -> None:
    pot = Pot(100, 60)
    Holding(pot, None).more(40)
    with pytest.raises(CallerTooBusy):
        Holding(pot, None).more(40)
    Holding(pot, "known").more(40)
