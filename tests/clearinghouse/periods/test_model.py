"""Every amount belongs to one month, and a closed month stays as it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clearinghouse.periods.model import (
    TRANSITIONS,
    Month,
    Period,
    PeriodCannot,
    PeriodNotOver,
    State,
    Step,
    after,
    value_date,
)

JANUARY = Month(2025, 1)
NOW = datetime(2025, 2, 3, tzinfo=UTC)

far = some.integers(946_684_800, 7_226_582_400).map(lambda s: datetime.fromtimestamp(s, UTC))
near = some.integers(-100_000_000_000, 2_800_000_000_000).map(
    # Around January 2025, by the clocks of Tonga.
    lambda us: (JANUARY.starts_at + timedelta(microseconds=us)).astimezone(
        timezone(timedelta(hours=13))
    )
)
instants = far | near
months = some.builds(Month, some.integers(2024, 2025), some.integers(1, 12))
states = some.dictionaries(months, some.sampled_from(State), max_size=24)


@given(instants, states)
def test_what_happened_in_an_open_month_belongs_to_it_and_else_to_the_first_open_one_after_it(
    at: datetime, known: dict[Month, State]
) -> None:
    value = value_date(at, known)
    month = Month.of(value)
    assert known.get(month, State.OPEN) is State.OPEN
    if known.get(Month.of(at), State.OPEN) is State.OPEN:
        assert value == at
    else:
        assert value == month.starts_at
        between = Month.of(at)
        while between != month:
            assert known[between] is not State.OPEN
            between = between.next


def test_a_month_goes_through_its_states_in_one_direction() -> None:
    period = Period(JANUARY, State.OPEN)
    for step in Step:
        period = after(period, step, NOW)
    assert period.state is State.SETTLED
    assert (period.begun_closing_at, period.closed_at, period.settled_at) == (NOW, NOW, NOW)
    assert TRANSITIONS.keys() == set(State)


@given(some.sampled_from(State), some.sampled_from(Step))
def test_what_is_not_in_the_table_is_refused(state: State, step: Step) -> None:
    period = Period(JANUARY, state)
    if step in TRANSITIONS[state]:
        assert after(period, step, NOW).state is TRANSITIONS[state][step]
    else:
        with pytest.raises(PeriodCannot, match=f"is {state}"):
            after(period, step, NOW)


def test_a_month_that_runs_is_closed_only_when_that_is_said() -> None:
    last = datetime(2025, 1, 31, 23, 59, 59, tzinfo=UTC)
    with pytest.raises(PeriodNotOver, match="runs until 2025-02-01"):
        after(Period(JANUARY, State.OPEN), Step.BEGIN_CLOSING, last)
    early = after(Period(JANUARY, State.OPEN), Step.BEGIN_CLOSING, last, early=True)
    assert early.state is State.CLOSING
    on_time = after(Period(JANUARY, State.OPEN), Step.BEGIN_CLOSING, JANUARY.ends_at)
    assert on_time.state is State.CLOSING
