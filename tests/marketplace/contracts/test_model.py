"""A contract's status through time, by example and by law."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from marketplace.contracts import life, model
from marketplace.contracts.model import (
    TRANSITIONS,
    Absence,
    Action,
    Contract,
    ContractCannot,
    NotYoursToResume,
    OfferingOver,
    OwnOffering,
    Status,
    StatusChange,
)
from marketplace.offerings.model import Audience, Offering, ServiceTerms
from marketplace.offerings.model import Status as OfferingStatus
from marketplace.partners import standing
from marketplace.partners.model import Role
from marketplace.partners.standing import UNTROUBLED, PartnerStatus, Standing
from marketplace.partners.standing import Action as Move
from roaming.party import PartyId
from roaming.refusal import Refusal
from tests.marketplace.fakes import EVSP, NOW, OPERATOR

HOUR = timedelta(hours=1)


def offering(
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    notice_days: int = 0,
) -> Offering:
    return Offering(
        offering_id="o1",
        service="search",
        major=1,
        provider=OPERATOR,
        terms=ServiceTerms(notice_days=notice_days),
        audience=Audience.public(),
        valid_from=valid_from,
        valid_until=valid_until,
        status=OfferingStatus.PUBLISHED,
        published_at=NOW,
    )


def contract(**parts: object) -> Contract:
    return model.agreed("c1", offering(**parts), EVSP, NOW)  # type: ignore[arg-type]


def absence(one: Contract, at: datetime) -> Absence | None:
    return model.absence(one.valid_from, one.valid_until, one.history, at)


def test_nobody_makes_a_contract_with_itself() -> None:
    with pytest.raises(OwnOffering):
        model.agreed("c1", offering(), OPERATOR, NOW)


def test_without_a_beginning_it_begins_when_it_is_accepted() -> None:
    assert contract().valid_from == NOW
    assert contract(valid_from=NOW - HOUR).valid_from == NOW - HOUR


@pytest.mark.parametrize(
    ("service", "begins", "ends", "over"),
    [
        ("search", -2 * HOUR, -HOUR, True),
        ("search", -2 * HOUR, 0 * HOUR, True),
        ("search", -2 * HOUR, HOUR, False),
        ("search", None, None, False),
        ("roaming", -2 * HOUR, -HOUR, False),
        # It would begin when it is accepted, and have ended by then.
        ("roaming", None, -HOUR, True),
    ],
)
def test_of_a_time_that_is_over_roaming_alone_is_agreed_upon(
    service: str, begins: timedelta | None, ends: timedelta | None, over: bool
) -> None:
    one = offering(None if begins is None else NOW + begins, None if ends is None else NOW + ends)
    with pytest.raises(OfferingOver) if over else nullcontext():
        model.check_time(replace(one, service=service), NOW)


@given(
    some.integers(-100, 100),
    some.integers(1, 100),
    some.integers(-300, 300),
)
def test_it_is_in_force_from_its_beginning_until_just_before_its_end(
    begins: int, lasts: int, asked: int
) -> None:
    start = NOW + begins * HOUR
    one = contract(valid_from=start, valid_until=start + lasts * HOUR)
    at = NOW + asked * HOUR
    expected = begins <= asked < begins + lasts
    assert (absence(one, at) is None) is expected
    if not expected:
        late = asked >= begins + lasts
        assert absence(one, at) is (Absence.EXPIRED if late else Absence.NOT_YET_VALID)


actions = some.lists(
    some.tuples(
        some.sampled_from(Action), some.sampled_from([OPERATOR, EVSP]), some.integers(0, 5)
    ),
    max_size=12,
)


@given(actions, some.integers(0, 3))
def test_whatever_the_parties_do_a_suspended_contract_is_never_in_force(
    asked: list[tuple[Action, PartyId, int]], notice_days: int
) -> None:
    one, now = contract(notice_days=notice_days), NOW
    held: set[PartyId] = set()
    for action, by, hours in asked:
        now += hours * HOUR
        terminated = one.status_at(now) is Status.TERMINATED
        try:
            changed = model.changed(one, action, by, now)
        except Refusal:
            continue
        # Idempotent: once more changes nothing.
        assert model.changed(changed, action, by, now) == changed
        # The past stays as it was.
        for back in (HOUR / 2, HOUR, 3 * HOUR):
            assert changed.status_at(now - back) is one.status_at(now - back)
        one = changed
        if not terminated and one.status_at(now) is not Status.TERMINATED:
            if action is Action.SUSPEND:
                held.add(by)
            if action is Action.RESUME:
                held.discard(by)
            assert (one.status_at(now) is Status.SUSPENDED) is bool(held)
            assert one.suspended_by == held
        if one.status_at(now) in (Status.SUSPENDED, Status.TERMINATED):
            assert absence(one, now) is not None
        else:
            assert absence(one, now) is None


@given(actions, some.integers(0, 3), some.integers(-30, 30), some.integers(1, 40))
def test_between_its_turns_a_contract_is_in_force_throughout_or_nowhere(
    asked: list[tuple[Action, PartyId, int]], notice_days: int, begins: int, lasts: int
) -> None:
    one, now = (
        contract(
            notice_days=notice_days,
            valid_from=NOW + begins * HOUR,
            valid_until=NOW + (begins + lasts) * HOUR,
        ),
        NOW,
    )
    for action, by, hours in asked:
        now += hours * HOUR
        with suppress(Refusal):
            one = model.changed(one, action, by, now)
    for hours in range(-40, 100):
        at = NOW + hours * HOUR
        since, until = model.unchanged(one.valid_from, one.valid_until, one.history, at)
        assert since is None or since <= at
        assert until is None or at < until
        first = at - HOUR if since is None else since
        last = at + HOUR if until is None else until - timedelta(microseconds=1)
        assert absence(one, first) is absence(one, at) is absence(one, last)


def test_a_table_says_what_may_follow_what() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert TRANSITIONS[Status.TERMINATED] == {}
    for follow in TRANSITIONS.values():
        assert set(follow.values()) <= set(Status)


def test_each_party_lifts_only_its_own_suspension() -> None:
    one = model.changed(contract(), Action.SUSPEND, OPERATOR, NOW)
    with pytest.raises(NotYoursToResume):
        model.changed(one, Action.RESUME, EVSP, NOW)
    both = model.changed(one, Action.SUSPEND, EVSP, NOW)
    still = model.changed(both, Action.RESUME, OPERATOR, NOW + HOUR)
    assert still.status_at(NOW + HOUR) is Status.SUSPENDED
    free = model.changed(still, Action.RESUME, EVSP, NOW + HOUR)
    assert free.status_at(NOW + HOUR) is Status.RESUMED


def test_a_suspension_does_not_reach_back() -> None:
    one = model.changed(contract(valid_from=NOW - HOUR), Action.SUSPEND, OPERATOR, NOW)
    assert absence(one, NOW - timedelta(seconds=1)) is None
    assert absence(one, NOW) is Absence.SUSPENDED


def test_a_terminated_contract_takes_nothing_more() -> None:
    one = model.changed(contract(), Action.TERMINATE, EVSP, NOW)
    assert absence(one, NOW) is Absence.TERMINATED
    for action in (Action.SUSPEND, Action.RESUME):
        with pytest.raises(ContractCannot):
            model.changed(one, action, EVSP, NOW)


def test_nothing_that_is_written_behind_a_termination_brings_it_back() -> None:
    """Two who act at once may write in another order than that of their clocks."""
    entry = StatusChange(Status.RESUMED, NOW + 2 * HOUR, OPERATOR, NOW + 2 * HOUR)
    ended = replace(entry, status=Status.TERMINATED, since=NOW + HOUR, recorded_at=NOW + HOUR)
    history = (contract().history[0], ended, entry)
    assert model.status_at(history, NOW + 3 * HOUR) is Status.TERMINATED


def test_a_termination_waits_for_the_notice_of_the_terms() -> None:
    one = model.changed(contract(notice_days=30), Action.TERMINATE, EVSP, NOW)
    last = NOW + timedelta(days=30)
    assert one.ends == last
    assert absence(one, last - HOUR) is None
    assert absence(one, last) is Absence.TERMINATED
    held = model.changed(one, Action.SUSPEND, OPERATOR, NOW + HOUR)
    assert absence(held, NOW + HOUR) is Absence.SUSPENDED
    free = model.changed(held, Action.RESUME, OPERATOR, NOW + 2 * HOUR)
    assert absence(free, NOW + 2 * HOUR) is None
    assert absence(free, last) is Absence.TERMINATED


def test_before_its_first_change_a_contract_was_agreed() -> None:
    history = (StatusChange(Status.AGREED, NOW, EVSP, NOW),)
    assert model.status_at(history, NOW - 1000 * HOUR) is Status.AGREED


times = some.integers(0, 20)
spans = some.tuples(times, some.none() | some.integers(-3, 20)).map(
    lambda span: (
        NOW + span[0] * HOUR,
        None if span[1] is None else NOW + (span[0] + span[1]) * HOUR,
    )
)


@given(spans, spans)
def test_two_spans_overlap_if_and_only_if_they_share_an_hour(
    one: tuple[datetime, datetime | None], other: tuple[datetime, datetime | None]
) -> None:
    def hours(span: tuple[datetime, datetime | None]) -> set[int]:
        return {
            n
            for n in range(60)
            if span[0] <= NOW + n * HOUR and (span[1] is None or NOW + n * HOUR < span[1])
        }

    assert model.overlap(*one, *other) is bool(hours(one) & hours(other))
    assert model.overlap(*one, *other) is model.overlap(*other, *one)


standings = some.lists(
    some.tuples(
        some.sampled_from(Move), some.none() | some.sampled_from([*Role]), some.integers(0, 5)
    ),
    max_size=5,
).map(lambda asked: stood(asked))


def stood(asked: list[tuple[Move, Role | None, int]]) -> Standing | None:
    """What became of a partner; None: it has no history."""
    one, now = UNTROUBLED, NOW
    for move, role, hours in asked:
        now += hours * HOUR
        ends = now + 2 * HOUR if move is Move.LEAVE else None
        with suppress(Refusal):
            one = standing.changed(
                one, move, OPERATOR, now, role=None if ends else role, leaves_at=ends
            )
    return None if one is UNTROUBLED else one


@given(standings, standings, some.sampled_from(["roaming", "search"]), some.integers(-5, 40))
def test_nothing_is_in_force_with_who_is_suspended_or_has_left_and_all_is_with_others(
    provider: Standing | None, requester: Standing | None, service: str, hours: int
) -> None:
    at = NOW + hours * HOUR
    roles = model.acts_as(service)
    statuses = {
        one.absent(role, at)
        for one, role in zip((provider, requester), roles, strict=True)
        if one is not None
    } - {None}
    absent = model.absence_of_parties(provider, requester, service, at)
    assert (absent is None) is not bool(statuses)
    if absent is Absence.PARTNER_LEFT:
        assert PartnerStatus.LEFT in statuses
    # And so it stays until the next turn of either.
    since, until = model.narrowed(None, None, provider, at)
    since, until = model.narrowed(since, until, requester, at)
    for then in (since, until and until - timedelta(microseconds=1)):
        if then is not None:
            assert model.absence_of_parties(provider, requester, service, then) is absent


def test_roaming_is_done_by_operator_and_evsp_and_a_suspended_role_ends_its_own_alone() -> None:
    held = standing.changed(UNTROUBLED, Move.SUSPEND, OPERATOR, NOW, role=Role.EVSE_OPERATOR)
    assert model.absence_of_parties(held, None, "roaming", NOW) is Absence.PARTNER_SUSPENDED
    assert model.absence_of_parties(held, None, "search", NOW) is None
    assert model.absence_of_parties(None, held, "roaming", NOW) is None
    assert model.absence_of_parties(None, None, "roaming", NOW) is None


@given(actions, some.integers(0, 3), some.integers(0, 100))
def test_who_leaves_ends_its_contracts_on_its_last_day_and_no_earlier(
    asked: list[tuple[Action, PartyId, int]], notice_days: int, hours: int
) -> None:
    one, now = contract(notice_days=notice_days), NOW
    for action, by, later in asked:
        now += later * HOUR
        with suppress(Refusal):
            one = model.changed(one, action, by, now)
    ends = now + hours * HOUR
    gone = life.ended(one, ends, EVSP, now, "It leaves.")
    assert gone.ends is not None
    assert gone.ends <= ends
    if one.ends is not None and one.ends <= ends:
        assert gone is one
    assert absence(gone, ends) is not None
    for back in range(1, 20):
        then = ends - back * HOUR
        assert absence(gone, then) is absence(one, then)
