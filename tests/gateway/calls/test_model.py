"""Lanes, limits and contracts of a call: the rules that need nothing but themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.model import ContentMap, Lane, Limits, Period, Quota, Reason, Service, Speaks
from roaming.party import PartyId


def test_a_lane_refills_with_time_and_never_beyond_its_rate() -> None:
    limits = Limits(calls_per_second=10.0)
    lane = Lane(10.0, 0.0)

    def burst(now_s: float) -> int:
        passed = 0
        while lane.take(now_s, limits) is None:
            lane.leave()
            passed += 1
        return passed

    assert burst(0.0) == 10
    assert burst(0.5) == 5
    assert burst(100.0) == 10


def test_a_call_refused_for_want_of_a_place_takes_none() -> None:
    limits = Limits(calls_at_once=2)
    lane = Lane(2000.0, 0.0)
    assert [lane.take(0.0, limits) for _ in range(3)] == [None, None, Reason.TOO_MANY_AT_ONCE]
    lane.leave()
    assert lane.take(0.0, limits) is None
    assert lane.under_way == 2


def test_a_path_that_streams_may_have_one_step_below_it_and_no_more() -> None:
    limits = Limits(body_bytes=1, stream_bytes=2, streams=frozenset({"/a/bulk", "/a/files/"}))
    sizes = [
        limits.body_of(path) for path in ("/a/bulk", "/a/bulk/x", "/a/files/x", "/a/files/x/y")
    ]
    assert sizes == [2, 1, 2, 1]
    assert limits.body_of("/a/files") == 1


@pytest.mark.parametrize(
    ("changes", "turned"),
    [
        ({}, False),
        ({"interface": b"digest"}, False),
        ({"speaks": Speaks.SOAP}, False),
        ({"speaks": Speaks.SOAP, "interface": b"digest"}, True),
        ({"maps": {"search": ContentMap("evses", None)}}, True),
    ],
    ids=["plain", "described", "undescribed soap", "soap", "mapped"],
)
def test_what_is_said_is_turned_where_the_provider_speaks_otherwise(
    changes: dict[str, Any], turned: bool
) -> None:
    assert Service("a", 1, PartyId("NL*ABC"), **changes).turned is turned


@given(
    st.integers(946_684_800, 4_102_444_800),
    st.sampled_from([Period.SECOND, Period.DAY, Period.MONTH]),
)
def test_a_period_ends_when_it_says_and_the_next_one_begins_then(
    seconds: int, period: Period
) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    reset_s = period.reset_s(at)
    assert reset_s is not None
    assert reset_s >= 1
    ends = at + timedelta(seconds=reset_s)
    assert period.window(ends) == period.window(at) + 1
    assert period.window(ends - timedelta(seconds=1)) == period.window(at)


def test_a_month_is_as_long_as_it_is() -> None:
    at = datetime(2028, 2, 28, 23, 59, 59, tzinfo=UTC)
    assert Period.MONTH.reset_s(at) == 86_401
    assert Period.MONTH.window(datetime(2028, 12, 31, tzinfo=UTC)) + 1 == Period.MONTH.window(
        datetime(2029, 1, 1, tzinfo=UTC)
    )


def test_a_pack_has_no_end_but_its_last_call() -> None:
    at = datetime(2028, 2, 28, tzinfo=UTC)
    assert (Period.PACK.window(at), Period.PACK.reset_s(at)) == (0, None)


def test_a_quota_has_the_limits_that_were_agreed_the_shortest_first() -> None:
    assert not Quota()
    quota = Quota(per_day=5, per_second=1, per_month=9, pack=100)
    assert quota.limits == (
        (Period.SECOND, 1),
        (Period.DAY, 5),
        (Period.MONTH, 9),
        (Period.PACK, 100),
    )
