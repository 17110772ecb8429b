"""Months and days of a contract, counted as law and people count them.

A contract's times are instants; months and days between them are counted on the calendar of its
time zone: that of a roaming agreement's terms, UTC for all else. The time of day stays what the
clock on the wall shows, through any change to summer time. Where the clock skips that time, the
instant is as much later as it skips; where it comes twice, the first one counts. A month from the
31st is the last day of a month that has none, and months are always counted from where they began:
31 January, 28 February, 31 March.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


def months_after(start: datetime, months: int, zone: str) -> datetime:
    """The instant so many months after another, in UTC."""
    local = start.astimezone(ZoneInfo(zone))
    years, month = divmod(local.year * 12 + local.month - 1 + months, 12)
    day = min(local.day, monthrange(years, month + 1)[1])
    return _instant(local.replace(year=years, month=month + 1, day=day))


def days_before(end: datetime, days: int, zone: str) -> datetime:
    """The instant so many days before another, in UTC."""
    local = end.astimezone(ZoneInfo(zone))
    return _instant(local - timedelta(days=days))


def _instant(local: datetime) -> datetime:
    # The first of two; and of a time that is skipped, what the clock before the change makes of it.
    return local.replace(fold=0).astimezone(UTC)
