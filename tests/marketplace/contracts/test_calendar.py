"""Months and days on the calendar: the end of a month, a leap day, summer time, midnight."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from marketplace.contracts.calendar import days_before, months_after

PARIS = "Europe/Paris"
zones = some.sampled_from(["UTC", PARIS, "America/New_York", "Asia/Tokyo", "Pacific/Apia"])
EPOCH = datetime(1990, 1, 1, tzinfo=UTC)
moments = some.integers(0, 57_816_000).map(lambda minutes: EPOCH + timedelta(minutes=minutes))


def at(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        # A month from the last day of one is the last day of the next, and then the 31st again.
        ("2026-01-31T00:00", 1, "2026-02-28T00:00"),
        ("2026-01-31T00:00", 2, "2026-03-31T00:00"),
        ("2024-01-31T00:00", 1, "2024-02-29T00:00"),
        # A year from a leap day, and four.
        ("2024-02-29T00:00", 12, "2025-02-28T00:00"),
        ("2024-02-29T00:00", 48, "2028-02-29T00:00"),
        ("2025-12-15T13:30", 1, "2026-01-15T13:30"),
        ("2026-03-31T23:59:59.999999", 6, "2026-09-30T23:59:59.999999"),
    ],
)
def test_a_month_later_is_the_same_day_or_the_last_one(start: str, months: int, end: str) -> None:
    for zone in ("UTC", PARIS, "Asia/Tokyo"):
        assert months_after(at(start, zone), months, zone) == at(end, zone)


def test_midnight_stays_midnight_through_a_change_to_summer_time_and_back() -> None:
    winter = at("2026-03-01T00:00", PARIS)
    summer = months_after(winter, 1, PARIS)
    assert (winter.hour, summer.hour) == (23, 22)
    assert months_after(winter, 12, PARIS) == at("2027-03-01T00:00", PARIS)
    assert days_before(at("2026-04-01T00:00", PARIS), 30, PARIS) == at("2026-03-02T00:00", PARIS)


def test_a_time_that_is_skipped_is_as_much_later_and_one_that_comes_twice_is_the_first() -> None:
    # On 29 March 2026 the clock goes from 2 to 3; on 25 October from 3 back to 2.
    assert months_after(at("2026-02-28T02:30", PARIS), 1, PARIS) == at("2026-03-28T02:30", PARIS)
    skipped = months_after(at("2026-01-29T02:30", PARIS), 2, PARIS)
    assert skipped == at("2026-03-29T03:30", PARIS)
    twice = months_after(at("2026-09-25T02:30", PARIS), 1, PARIS)
    assert twice == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@given(moments, some.integers(0, 240), zones)
def test_so_many_months_later_is_in_that_month_and_at_that_time(
    start: datetime, months: int, zone: str
) -> None:
    end = months_after(start, months, zone)
    before, after = start.astimezone(ZoneInfo(zone)), end.astimezone(ZoneInfo(zone))
    ordinal = before.year * 12 + before.month - 1 + months
    assert after.year * 12 + after.month - 1 in (ordinal, ordinal + 1)
    last = monthrange(ordinal // 12, ordinal % 12 + 1)[1]
    if (after.hour, after.minute) == (before.hour, before.minute):
        assert after.day == min(before.day, last)


@given(moments, some.integers(1, 36), some.integers(1, 36), zones)
def test_more_months_are_later(start: datetime, months: int, more: int, zone: str) -> None:
    assert months_after(start, months, zone) < months_after(start, months + more, zone)


@given(moments, some.integers(0, 400), zones)
def test_days_before_are_so_many_days_but_for_a_change_of_the_clock(
    end: datetime, days: int, zone: str
) -> None:
    gap = abs((end - days_before(end, days, zone)) - timedelta(days=days))
    # Samoa skipped a whole day in 2011.
    assert gap <= timedelta(hours=24)
