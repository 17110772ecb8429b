"""What several processes have seen, put together."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.health.model import (
    Failed,
    Place,
    Report,
    State,
    quantile_us,
    spread_of,
    step_of,
    together,
)
from roaming.party import PartyId

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
PLACE = Place("weather", 1, False, 1, "https://weather.example")
times = st.lists(st.integers(1, 120_000_000), min_size=1, max_size=60)


def report(state: State, failed_at: int | None, times_us: list[int]) -> Report:
    failed = None if failed_at is None else Failed("silent", NOON + timedelta(seconds=failed_at))
    return Report(PLACE, PartyId("NL*ABC"), state, True, 7, 2, failed, spread_of(times_us))


reports = st.lists(
    st.builds(
        report,
        st.sampled_from(State),
        st.none() | st.integers(0, 100),
        st.lists(st.integers(0, 10_000_000), max_size=20),
    ),
    max_size=5,
)


@given(times, st.sampled_from((0.5, 0.9, 0.99, 1.0)))
def test_a_percentile_is_right_to_a_twentieth(times_us: list[int], share: float) -> None:
    exact = sorted(times_us)[math.ceil(share * len(times_us)) - 1]
    told = quantile_us(spread_of(times_us), share)
    assert told is not None
    assert abs(told - exact) <= max(1, 0.05 * exact)


@given(st.lists(times, min_size=1, max_size=4))
def test_spreads_of_several_processes_add_up_to_that_of_all(parts: list[list[int]]) -> None:
    added: Counter[int] = Counter()
    for part in parts:
        added.update(spread_of(part))
    assert added == spread_of([time for part in parts for time in part])


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_who_took_longer_is_never_a_step_below(one_us: int, other_us: int) -> None:
    low, high = sorted((one_us, other_us))
    assert step_of(low) <= step_of(high)


@given(reports)
def test_all_together_are_as_bad_as_the_worst_and_as_busy_as_their_sum(
    seen: list[Report],
) -> None:
    health = together(PLACE, seen)
    states = {one.state for one in seen}
    assert (health.state is State.OPEN) == (State.OPEN in states) == (health.resting_in > 0)
    assert (health.state is State.CLOSED) == (states <= {State.CLOSED})
    assert health.processes == len(seen)
    assert (health.calls, health.failures) == (7 * len(seen), 2 * len(seen))
    failed = [one.failed for one in seen if one.failed is not None]
    assert (health.failed is None) == (failed == [])
    assert all(health.failed is not None and health.failed.at >= one.at for one in failed)
    assert (health.p50_us is None) == (not any(one.spread for one in seen))
