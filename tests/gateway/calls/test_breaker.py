"""The laws of letting an endpoint alone, whatever becomes of its calls and in whatever order."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.breaker import Breaker, RetryBudget, Rules, State

RULES = Rules(
    failures_in_a_row=3,
    calls_to_judge=6,
    window_s=10.0,
    first_rest_s=1.0,
    longest_rest_s=8.0,
    probes_at_once=2,
)
# What happens next, and how many seconds later: a call begins, or one under way ends.
steps = st.lists(
    st.tuples(
        st.sampled_from(("begins", "succeeds", "fails", "of no account")),
        # Quarters of a second: floats add them up without a rest.
        st.integers(0, 12).map(lambda quarters: quarters / 4),
        st.integers(0, 9),
    ),
    max_size=80,
)
Steps = Sequence[tuple[str, float, int]]


class Play:
    """A breaker with its calls under way, and what has been seen of it."""

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.now_s = 0.0
        self.under_way: list[int] = []
        self.opened: list[float] = []
        self.begun: list[tuple[float, State]] = []

    def step(self, what: str, later_s: float, which: int) -> None:
        self.now_s += later_s
        before = self.breaker.state
        if what == "begins":
            if self.breaker.lets_through(self.now_s):
                self.begun.append((self.now_s, before))
                self.under_way.append(self.breaker.begin(self.now_s))
        elif self.under_way:
            epoch = self.under_way.pop(which % len(self.under_way))
            if what == "succeeds":
                self.breaker.succeeded(epoch)
            elif what == "fails":
                self.breaker.failed(epoch, self.now_s)
            else:
                self.breaker.of_no_account(epoch)
        if self.breaker.state is State.OPEN and before is not State.OPEN:
            self.opened.append(self.now_s)

    def all(self, steps: Steps) -> Play:
        for step in steps:
            self.step(*step)
        return self


def fail(breaker: Breaker, times: int, now_s: float) -> None:
    for _ in range(times):
        breaker.failed(breaker.begin(now_s), now_s)


@given(steps)
def test_nothing_goes_through_while_it_rests(steps: Steps) -> None:
    play = Play(Breaker(RULES)).all(steps)
    for at_s in play.opened:
        begun = [when for when, state in play.begun if at_s < when < at_s + RULES.first_rest_s]
        assert begun == []


@given(steps)
def test_never_more_probes_are_under_way_than_the_rules_say(steps: Steps) -> None:
    play = Play(Breaker(RULES))
    for step in steps:
        play.step(*step)
        if play.breaker.state is State.HALF_OPEN:
            probing = [epoch for epoch in play.under_way if epoch == play.breaker.epoch]
            assert len(probing) <= RULES.probes_at_once


@given(steps)
def test_whatever_has_been_it_closes_with_the_first_success_after_its_rest(steps: Steps) -> None:
    play = Play(Breaker(RULES)).all(steps)
    breaker = play.breaker
    for epoch in play.under_way:
        breaker.of_no_account(epoch)
    now_s = play.now_s + breaker.rest_s(play.now_s)
    assert breaker.lets_through(now_s)
    breaker.succeeded(breaker.begin(now_s))
    assert breaker.state is State.CLOSED
    # It is as good as new: it takes as many failures, and rests as short, as the first time.
    fail(breaker, RULES.failures_in_a_row - 1, now_s + 60)
    assert breaker.state is State.CLOSED
    breaker.succeeded(breaker.begin(now_s + 60))
    fail(breaker, RULES.failures_in_a_row, now_s + 120)
    assert breaker.rest_s(now_s + 120) == RULES.first_rest_s


@given(steps)
def test_its_rest_is_never_longer_than_the_bound(steps: Steps) -> None:
    play = Play(Breaker(RULES)).all(steps)
    assert play.breaker.rest_s(play.now_s) <= RULES.longest_rest_s


@given(steps, st.sampled_from(("succeeds", "fails", "of no account")))
def test_a_call_from_before_a_change_says_nothing_after_it(steps: Steps, end: str) -> None:
    play = Play(Breaker(RULES)).all(steps)
    breaker = play.breaker
    before = (breaker.state, breaker.epoch, breaker.in_a_row, breaker.rest_s(play.now_s))
    for epoch in [epoch for epoch in play.under_way if epoch != breaker.epoch]:
        play.under_way = [epoch]
        play.step(end, 0.0, 0)
    after = (breaker.state, breaker.epoch, breaker.in_a_row, breaker.rest_s(play.now_s))
    assert after == before


def test_it_opens_after_failures_in_a_row_and_rests_twice_as_long_after_each_probe_that_fails() -> (
    None
):
    breaker = Breaker(RULES)
    fail(breaker, 2, 0.0)
    breaker.succeeded(breaker.begin(0.0))
    fail(breaker, 2, 0.0)
    assert breaker.lets_through(0.0)
    fail(breaker, 1, 0.0)
    assert breaker.state is State.OPEN
    now_s, rests = 0.0, []
    for _ in range(6):
        rests.append(breaker.rest_s(now_s))
        now_s += rests[-1]
        fail(breaker, 1, now_s)
    assert rests == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_it_opens_when_every_other_call_of_enough_fails_and_never_by_old_failures() -> None:
    breaker = Breaker(RULES)
    for number in range(3):
        fail(breaker, 1, 0.0)
        assert breaker.rest_s(0.0) == 0.0, number
        breaker.succeeded(breaker.begin(0.0))
    fail(breaker, 1, 0.0)
    assert breaker.state is State.OPEN
    slowly = Breaker(RULES)
    for number in range(50):
        fail(slowly, 1, number * 6.0)
        slowly.succeeded(slowly.begin(number * 6.0))
    assert slowly.state is State.CLOSED


@given(st.lists(st.integers(0, 50), max_size=100))
def test_repeats_are_a_tenth_of_the_calls_and_a_reserve_at_most(calls: list[int]) -> None:
    budget = RetryBudget()
    total = taken = 0
    for more in calls:
        total += more
        for _ in range(5):
            taken += budget.take(total)
        assert taken <= total * RetryBudget.SHARE + RetryBudget.RESERVE


def test_the_reserve_fills_again_with_calls_that_need_no_repeat() -> None:
    budget = RetryBudget()
    assert [budget.take(0) for _ in range(101)] == [True] * 100 + [False]
    assert [budget.take(25) for _ in range(3)] == [True, True, False]
