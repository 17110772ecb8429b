"""What time does to a contract: reminded once each, renewed without a gap, ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from marketplace.contracts import life, model
from marketplace.contracts.life import Because, Ended, EndNear, Renewed, Turn
from marketplace.contracts.model import (
    Action,
    Contract,
    NothingToRenew,
    NoticeTooLate,
    Status,
    StatusChange,
    absence,
)
from marketplace.offerings.model import ServiceTerms
from roaming.party import PartyId

NOW = datetime(2026, 1, 31, tzinfo=UTC)
END = datetime(2027, 1, 31, tzinfo=UTC)
PROVIDER, REQUESTER = PartyId("NL*FCS"), PartyId("FR*PD1")
DAY = timedelta(days=1)


def contract(until: datetime | None = END, **terms: Any) -> Contract:
    return Contract(
        contract_id="c-1",
        offering_id=None,
        provider=PROVIDER,
        requester=REQUESTER,
        service="forecast",
        major=1,
        terms=ServiceTerms(**terms),
        valid_from=NOW,
        valid_until=until,
        history=(StatusChange(Status.AGREED, NOW, REQUESTER, NOW),),
        suspended_by=frozenset(),
        version=1,
    )


def lived(
    one: Contract, until: datetime, *, step: timedelta | None = None
) -> tuple[Contract, list[Turn]]:
    """The contract at a moment, looked at whenever it is due or only every `step`."""
    due, told, now = life.first_due(one, one.history[0].since), list[Turn](), NOW
    while due is not None and max(due, now) <= until:
        now = max(due, now) if step is None else max(due, now + step)
        if now > until:
            break
        done = life.tended(one, due, now, free=True)
        one, due = done.contract, done.due
        told += done.turns
    return one, told


def test_both_are_reminded_90_45_and_30_days_before_the_end_and_told_of_it() -> None:
    _, told = lived(contract(), END + DAY)
    assert told == [
        EndNear(90, END),
        EndNear(45, END),
        EndNear(30, END),
        Ended(END, Because.EXPIRED),
    ]


def test_reminders_say_when_it_renews_and_until_when_that_can_be_stopped() -> None:
    one, told = lived(contract(renews_months=12, notice_days=60), END + DAY)
    until = datetime(2028, 1, 31, tzinfo=UTC)
    near = [turn for turn in told if isinstance(turn, EndNear)]
    assert [(turn.days, turn.renews_until, turn.notice_until) for turn in near] == [
        (days, until, END - 60 * DAY) for days in (90, 45, 30)
    ]
    assert told[-1] == Renewed(END - DAY, until)
    assert (one.valid_until, one.agreed_until, one.renewals) == (until, END, 1)


def test_months_of_a_renewal_are_counted_from_the_end_that_was_agreed() -> None:
    one, told = lived(contract(renews_months=1), datetime(2027, 5, 1, tzinfo=UTC))
    ends = [turn.until for turn in told if isinstance(turn, Renewed)]
    assert [(end.month, end.day) for end in ends] == [(2, 28), (3, 31), (4, 30), (5, 31)]
    assert one.renewals == 4


def test_a_contract_without_an_end_is_never_looked_at() -> None:
    assert life.first_due(contract(None, renews_months=12), NOW) is None
    assert life.first_due(contract(datetime(9999, 12, 31, 23, tzinfo=UTC)), NOW) is None


def test_what_was_missed_while_the_hub_was_away_is_told_by_its_nearest_alone() -> None:
    one = contract()
    due = life.first_due(one, NOW)
    assert due == END - 90 * DAY
    done = life.tended(one, due, END - 40 * DAY, free=True)
    assert (done.turns, done.due) == ([EndNear(45, END)], END - 30 * DAY)
    gone = life.tended(one, due, END + 5 * DAY, free=True)
    assert (gone.turns, gone.due) == ([Ended(END, Because.EXPIRED)], None)


def test_a_hub_that_was_away_for_years_renews_for_all_of_them() -> None:
    one = contract(renews_months=12)
    due = life.first_due(one, NOW)
    assert due is not None
    done = life.tended(one, due, END + 800 * DAY, free=True)
    assert (done.contract.renewals, done.contract.valid_until) == (
        *(3, datetime(2030, 1, 31, tzinfo=UTC)),
    )


def test_notice_in_time_keeps_it_from_renewing_and_notice_too_late_is_refused() -> None:
    one = contract(renews_months=12, notice_days=60)
    last = END - 60 * DAY
    life.check_notice(one, last - DAY)
    stopped = model.changed(one, Action.DO_NOT_RENEW, REQUESTER, last - DAY)
    assert stopped.ends == END
    assert not life.renews(stopped)
    assert model.changed(stopped, Action.DO_NOT_RENEW, PROVIDER, last) is stopped
    life.check_notice(stopped, last)
    _, told = lived(stopped, END + DAY)
    assert told[-1] == Ended(END, Because.TERMINATED)
    with pytest.raises(NoticeTooLate):
        life.check_notice(one, last)
    with pytest.raises(NothingToRenew):
        life.check_notice(contract(), NOW)


def test_a_termination_whose_notice_outlasts_the_end_ends_the_renewed_contract() -> None:
    one = contract(renews_months=12, notice_days=60)
    ended = model.changed(one, Action.TERMINATE, PROVIDER, END - 10 * DAY)
    assert life.renews(ended)
    # Told so from the day of the notice on, and not as the end of a term that is renewed.
    assert life.end_to_tell(ended) == END + 50 * DAY
    assert [life.end_to_tell(other) for other in (one, contract(), contract(None))] == [
        *(END, END, None),
    ]
    after, told = lived(ended, END + 90 * DAY)
    assert after.ends == END + 50 * DAY
    assert told[-1] == Ended(END + 50 * DAY, Because.TERMINATED)


def test_a_termination_that_runs_beyond_the_end_makes_no_late_notice_come_in_time() -> None:
    one = contract(renews_months=12, notice_days=60)
    late = END - 10 * DAY
    ended = model.changed(one, Action.TERMINATE, REQUESTER, late)
    with pytest.raises(NoticeTooLate):
        life.check_notice(ended, late)
    # What ends at its end anyway, or before it, is kept from nothing.
    life.check_notice(model.changed(one, Action.TERMINATE, REQUESTER, END - 61 * DAY), late)
    with pytest.raises(NothingToRenew):
        life.check_notice(
            model.changed(contract(notice_days=60), Action.TERMINATE, PROVIDER, late), late
        )


def test_who_has_declined_a_renewal_may_still_terminate_sooner() -> None:
    one = contract(renews_months=12, notice_days=10)
    stopped = model.changed(one, Action.DO_NOT_RENEW, REQUESTER, NOW + DAY)
    sooner = model.changed(stopped, Action.TERMINATE, REQUESTER, NOW + 2 * DAY)
    assert sooner.ends == NOW + 12 * DAY
    assert model.changed(sooner, Action.TERMINATE, PROVIDER, NOW + 3 * DAY) is sooner


def test_another_contract_in_the_way_lets_it_end() -> None:
    one = contract(renews_months=12)
    due = END - DAY
    done = life.tended(one, due, due, free=False)
    assert (done.contract, done.due) == (one, END)
    assert life.tended(one, END, END, free=False).turns == [Ended(END, Because.EXPIRED)]


def test_one_that_is_replaced_ends_where_the_other_begins() -> None:
    one = contract(renews_months=12)
    at = NOW + 100 * DAY
    gone = life.replaced(one, "c-2", at, REQUESTER, NOW + DAY)
    assert gone.ends == at
    assert gone.history[-1].reason == "replaced by contract c-2"
    # Where it ends anyway it is kept from renewing, and nothing else changes.
    stopped = life.replaced(one, "c-2", END, REQUESTER, NOW + DAY)
    assert (stopped.ends, life.renews(stopped)) == (END, False)
    plain = contract()
    assert life.replaced(plain, "c-2", END, REQUESTER, NOW + DAY) is plain


@given(some.integers(1, 400), some.integers(0, 24), some.integers(0, 120), some.integers(0, 700))
def test_a_contract_that_renews_is_in_force_at_every_moment_and_no_other_behind_its_end(
    days: int, renews_months: int, notice_days: int, later: int
) -> None:
    end = NOW + days * DAY
    one = contract(end, renews_months=renews_months, notice_days=notice_days)
    moment = NOW + later * DAY
    after, _ = lived(one, moment)
    why = absence(after.valid_from, after.valid_until, after.history, moment)
    assert (why is None) is (moment < end or renews_months > 0)


@given(some.integers(100, 400), some.integers(1, 90))
def test_each_reminder_comes_once_however_seldom_somebody_looks(days: int, step: int) -> None:
    end = NOW + days * DAY
    _, told = lived(contract(end), end + 100 * DAY, step=step * DAY)
    reminded = [turn.days for turn in told if isinstance(turn, EndNear)]
    assert reminded == sorted(set(reminded), reverse=True)
    assert [turn for turn in told if isinstance(turn, Ended)] == [Ended(end, Because.EXPIRED)]


def test_a_suspension_does_not_keep_a_contract_from_renewing_and_outlasts_it() -> None:
    one = contract(renews_months=1)
    held = model.changed(one, Action.SUSPEND, PROVIDER, END - 5 * DAY)
    after, _ = lived(held, END + DAY)
    assert after.valid_until == datetime(2027, 2, 28, tzinfo=UTC)
    assert absence(after.valid_from, after.valid_until, after.history, END) is not None
    assert after.suspended_by == {PROVIDER}


def test_what_renews_does_not_outlast_who_leaves_or_what_it_is_about() -> None:
    gone_at = END + 100 * DAY
    one = contract(renews_months=12, notice_days=30)
    gone = life.ended(one, gone_at, PROVIDER, NOW, "It leaves.")
    later, told = lived(gone, END + 800 * DAY)
    assert later.ends == gone_at
    assert told[-1] == Ended(gone_at, Because.TERMINATED)
    # What has been kept from renewing is over before.
    kept = model.changed(one, Action.DO_NOT_RENEW, PROVIDER, NOW)
    assert life.ended(kept, gone_at, PROVIDER, NOW, "It leaves.") is kept


def test_whose_notice_came_too_late_for_its_end_lasts_until_the_notice_has_run() -> None:
    one, late = contract(renews_months=12, notice_days=30), END - 10 * DAY
    assert life.end_by_notice(one, late) == late + 30 * DAY
    assert life.end_by_notice(one, END - 90 * DAY) == END - 60 * DAY
    assert life.end_by_notice(contract(notice_days=30), late) == END
