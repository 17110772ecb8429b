"""A month of the calendar, in UTC and in one spelling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as some

from roaming.month import BadPeriodId, Month

far = some.integers(946_684_800, 7_226_582_400).map(lambda s: datetime.fromtimestamp(s, UTC))
near = some.integers(-100_000_000_000, 2_800_000_000_000).map(
    # Around January 2025, by the clocks of Tonga.
    lambda us: (datetime(2025, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).astimezone(
        timezone(timedelta(hours=13))
    )
)


@given(far | near)
def test_a_month_holds_its_first_moment_and_not_its_last(at: datetime) -> None:
    month = Month.of(at)
    assert month.starts_at <= at < month.ends_at
    assert Month.of(month.last_moment) == month
    assert Month.of(month.ends_at) == month.next
    assert Month.parse(str(month)) == month


@pytest.mark.parametrize(
    "name", ["", "2025", "2025-1", "2025-13", "2025-00", "1999-12", "2025-01-01"]
)
def test_a_month_has_one_spelling(name: str) -> None:
    with pytest.raises(BadPeriodId) as refused:
        Month.parse(name, "month")
    assert refused.value.field == "month"
