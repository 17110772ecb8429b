"""How a partner stands through time, by example and by law."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from marketplace.partners import standing
from marketplace.partners.model import Partner, PartnerAbsent, Role, check_present
from marketplace.partners.standing import (
    ABSENT,
    TRANSITIONS,
    UNTROUBLED,
    Action,
    BadReason,
    PartnerStatus,
    RoleAction,
    Standing,
    StandingCannot,
)
from roaming.refusal import Refusal
from tests.marketplace.fakes import EVSP, HUB, NOW

HOUR = timedelta(hours=1)
A_TICK = timedelta(microseconds=1)


def turned(
    one: Standing,
    action: Action,
    now: datetime = NOW,
    *,
    role: Role | None = None,
    notice: timedelta = timedelta(),
) -> Standing:
    leaves_at = now + notice if action is Action.LEAVE else None
    return standing.changed(one, action, HUB, now, role=role, leaves_at=leaves_at)


steps = some.tuples(
    some.sampled_from(Action),
    some.none() | some.sampled_from([Role.EVSP, Role.DSO]),
    some.integers(0, 4),
    some.integers(0, 6),
)
histories = some.lists(steps, max_size=12)


def played(asked: list[tuple[Action, Role | None, int, int]]) -> tuple[Standing, datetime]:
    """What comes of it, refusals passed over, and when the last step was made."""
    one, now = UNTROUBLED, NOW
    for action, role, hours, notice in asked:
        now += hours * HOUR
        if action is Action.LEAVE:
            role = None
        with suppress(Refusal):
            one = turned(one, action, now, role=role, notice=notice * HOUR)
    return one, now


# Gone, back, and gone again in the very moment of the return.
@example(
    [(Action.LEAVE, None, 0, 0), (Action.RESTORE, None, 1, 0)],
    (Action.LEAVE, None, 0, 0),
)
@given(histories, steps)
def test_a_step_leads_where_the_table_says_and_leaves_the_past_alone(
    asked: list[tuple[Action, Role | None, int, int]],
    step: tuple[Action, Role | None, int, int],
) -> None:
    one, now = played(asked)
    action, _, hours, notice = step
    now += hours * HOUR
    before = one.at(now)
    try:
        after = turned(one, action, now, notice=notice * HOUR)
    except StandingCannot:
        assert action not in TRANSITIONS[before]
        return
    for back in range(1, 60):
        then = now - back * HOUR / 2
        assert after.at(then) is one.at(then)
        assert after.suspended_in(Role.EVSP, then) is one.suspended_in(Role.EVSP, then)
    # Once more changes nothing.
    assert turned(after, action, now, notice=notice * HOUR) is after
    if after is one:
        return
    expected = TRANSITIONS[before][action]
    if expected is PartnerStatus.LEAVING and notice == 0:
        expected = PartnerStatus.LEFT
    if before is PartnerStatus.SUSPENDED and action is Action.LEAVE and notice == 0:
        expected = PartnerStatus.LEFT
    ends = after.leaves_at
    if before is PartnerStatus.SUSPENDED and action is Action.RESTORE and ends is not None:
        expected = PartnerStatus.LEAVING
    assert after.at(now) is expected
    if action is Action.LEAVE:
        assert ends == now + notice * HOUR
        assert after.at(ends) is PartnerStatus.LEFT
        # Without a notice the moment before is the past, in which it may have been gone as well.
        assert not notice or after.at(ends - A_TICK) is not PartnerStatus.LEFT


@given(histories, some.integers(-5, 80))
def test_nothing_is_in_force_while_it_is_suspended_or_has_left(
    asked: list[tuple[Action, Role | None, int, int]], half_hours: int
) -> None:
    one, _ = played(asked)
    at = NOW + half_hours * HOUR / 2
    whole = one.at(at)
    for role in (None, Role.EVSP, Role.DSO):
        absent = one.absent(role, at)
        if whole in ABSENT:
            assert absent is whole
        elif role is not None and one.suspended_in(role, at):
            assert absent is PartnerStatus.SUSPENDED
        else:
            assert absent is None


@given(histories, some.integers(-5, 80))
def test_between_its_turns_it_says_the_same_throughout(
    asked: list[tuple[Action, Role | None, int, int]], half_hours: int
) -> None:
    one, _ = played(asked)
    at = NOW + half_hours * HOUR / 2
    since, until = one.unchanged(at)
    assert since is None or since <= at
    assert until is None or at < until
    first = at - 100 * HOUR if since is None else since
    last = at + 100 * HOUR if until is None else until - A_TICK
    for role in (None, *Role):
        assert one.absent(role, first) is one.absent(role, at) is one.absent(role, last)


def test_who_leaves_is_there_until_the_notice_has_run() -> None:
    one = turned(UNTROUBLED, Action.LEAVE, notice=timedelta(days=30))
    last = NOW + timedelta(days=30)
    assert one.at(NOW - A_TICK) is PartnerStatus.ACTIVE
    assert one.at(NOW) is one.at(last - A_TICK) is PartnerStatus.LEAVING
    assert one.at(last) is PartnerStatus.LEFT
    # Suspended in between, it is leaving again when that is over, on the same day.
    held = turned(one, Action.SUSPEND, NOW + HOUR)
    free = turned(held, Action.RESTORE, NOW + 2 * HOUR)
    assert held.at(NOW + HOUR) is PartnerStatus.SUSPENDED
    assert free.at(NOW + 2 * HOUR) is PartnerStatus.LEAVING
    assert free.at(last) is held.at(last) is PartnerStatus.LEFT


def test_who_has_left_may_come_back_and_leave_again() -> None:
    gone = turned(UNTROUBLED, Action.LEAVE)
    with pytest.raises(StandingCannot):
        turned(gone, Action.SUSPEND, NOW + HOUR)
    back = turned(gone, Action.RESTORE, NOW + 2 * HOUR)
    assert back.leaves_at is None
    assert back.at(NOW + HOUR) is PartnerStatus.LEFT
    assert back.at(NOW + 2 * HOUR) is PartnerStatus.ACTIVE
    again = turned(back, Action.LEAVE, NOW + 3 * HOUR)
    assert again.at(NOW + 3 * HOUR) is PartnerStatus.LEFT


def test_a_role_is_suspended_alone_and_the_whole_partner_with_all_of_them() -> None:
    roles = frozenset({Role.EVSP, Role.DSO})
    one = turned(UNTROUBLED, Action.SUSPEND, role=Role.DSO)
    partner = Partner(EVSP, "Cards", roles, NOW, one)
    assert partner.status_at(NOW) is PartnerStatus.ACTIVE
    assert partner.roles_at(NOW) == {Role.EVSP}
    assert partner.roles_at(NOW - A_TICK) == roles
    whole = Partner(EVSP, "Cards", roles, NOW, turned(one, Action.SUSPEND, NOW + HOUR))
    assert whole.roles_at(NOW + HOUR) == frozenset()
    back = turned(whole.standing, Action.RESTORE, NOW + 2 * HOUR)
    # The role was suspended for a reason of its own.
    assert back.suspended_in(Role.DSO, NOW + 2 * HOUR)


def test_nothing_is_agreed_with_who_is_not_there() -> None:
    check_present(EVSP, UNTROUBLED, NOW, "provider")
    for action in (Action.SUSPEND, Action.LEAVE):
        with pytest.raises(PartnerAbsent) as refused:
            check_present(EVSP, turned(UNTROUBLED, action), NOW, "provider")
        assert (refused.value.field, refused.value.value) == ("provider", EVSP)
    check_present(EVSP, turned(UNTROUBLED, Action.LEAVE, notice=HOUR), NOW, "provider")


@pytest.mark.parametrize("reason", ["x" * 1_001, "a\x00b"])
def test_a_reason_can_be_kept(reason: str) -> None:
    with pytest.raises(BadReason):
        standing.changed(UNTROUBLED, Action.SUSPEND, HUB, NOW, reason=reason)


def test_the_table_knows_every_status_and_roles_are_not_left() -> None:
    assert set(TRANSITIONS) == set(PartnerStatus)
    assert {one.value for one in RoleAction} == {one.value for one in Action} - {"leave"}
