"""The life of a record: its table has no gaps, and the drawing in the docs is the table."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearinghouse.cdrs.life import LIFE, CannotBecome, State, Step, after
from tests.clearinghouse.cdrs.fakes import DOCS


@given(st.sampled_from(State), st.lists(st.sampled_from(Step), max_size=6))
def test_a_life_ends_where_nothing_follows_and_never_goes_back(
    state: State, steps: list[Step]
) -> None:
    settled = {State.REVISED, State.REJECTED}
    for step in steps:
        if step not in LIFE[state]:
            with pytest.raises(CannotBecome):
                after(state, step)
            continue
        reached = after(state, step)
        assert state not in settled
        assert reached not in (State.ACCEPTED, State.FLAGGED, State.REJECTED)
        state = reached


def test_every_state_has_its_row_and_every_step_leads_somewhere() -> None:
    assert set(LIFE) == set(State)
    assert {step for row in LIFE.values() for step in row} == set(Step)
    reached = {state for row in LIFE.values() for state in row.values()}
    assert reached == set(State) - {State.ACCEPTED, State.FLAGGED, State.REJECTED}


def test_the_drawing_of_a_records_life_is_its_table() -> None:
    drawn = re.findall(r"^    ([a-z]+) --> ([a-z]+): ([a-z]+)$", DOCS.read_text(), re.M)
    assert drawn == [
        (str(state), str(reached), str(step))
        for state, row in LIFE.items()
        for step, reached in row.items()
        if reached is not state
    ]
