"""What an answer means for the records, how long to wait after a bad one, and when to send."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clearinghouse.forwarding.model import (
    BackOff,
    BadPreference,
    Cadence,
    Place,
    Preference,
    Reply,
    Schedule,
    Trace,
    Verdict,
    Weekday,
    Whereabouts,
    delivery_id,
    replay_id,
    schedule,
    sftp_place,
    verdict,
)
from roaming.party import PartyId
from roaming.refusal import Malformed

EVSP = PartyId("DE*BET")


@pytest.mark.parametrize(
    ("status", "means"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (400, Verdict.REFUSED),
        (409, Verdict.REFUSED),
        (413, Verdict.REFUSED),
        (422, Verdict.REFUSED),
        (None, Verdict.RETRY),
        (302, Verdict.RETRY),
        (401, Verdict.RETRY),
        (404, Verdict.RETRY),
        (408, Verdict.RETRY),
        (429, Verdict.RETRY),
        (500, Verdict.RETRY),
        (599, Verdict.RETRY),
    ],
)
def test_an_answer_is_delivery_refusal_or_a_reason_to_try_again(
    status: int | None, means: Verdict
) -> None:
    assert verdict(Reply(status, "")) is means


def test_an_id_belongs_to_a_stretch_of_the_log() -> None:
    one = delivery_id(EVSP, Place(7, 1), Place(9, 4))
    assert one == "DEBET-7-1-9-4"
    assert one != delivery_id(EVSP, Place(7, 1), Place(9, 5))
    assert replay_id(EVSP, 4, 1) != replay_id(EVSP, 4, 2)


@given(some.integers(1, 10_000), some.floats(0, 1, exclude_max=True))
def test_a_pause_doubles_up_to_a_minute(failures: int, chance: float) -> None:
    pause_s = BackOff().pause_s(failures, chance)
    full = min(60.0, 0.2 * 2 ** min(failures - 1, 20))
    assert full / 2 <= pause_s <= full


def test_a_channel_that_says_more_than_a_status_is_believed() -> None:
    assert verdict(Reply(500, "", means=Verdict.REFUSED)) is Verdict.REFUSED
    assert verdict(Reply(None, "", means=Verdict.DELIVERED)) is Verdict.DELIVERED


# One that moves by half an hour, one that lost a day, those of the north and the south, and none.
ZONES = [
    *("UTC", "Europe/Paris", "America/New_York", "America/Santiago", "Asia/Kolkata"),
    *("Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "Asia/Kathmandu"),
]
instants = some.floats(0, 30 * 365).map(
    lambda days: datetime(2005, 1, 1, tzinfo=UTC) + timedelta(days=days)
)
times = some.times().map(lambda at: time(at.hour, at.minute))
schedules = some.builds(
    Schedule,
    cadence=some.sampled_from([one for one in Cadence if one is not Cadence.AT_ONCE]),
    time_zone=some.sampled_from(ZONES),
    at=times,
    weekday=some.sampled_from(Weekday),
    day_of_month=some.integers(1, 31),
)


@given(schedules, instants, some.floats(0, 1, exclude_max=True))
def test_what_is_booked_before_a_due_moment_goes_with_it_and_nothing_waits_past_it(
    wished: Schedule, booked_at: datetime, part: float
) -> None:
    due = wished.due_after(booked_at)
    assert due > booked_at
    assert due - booked_at <= timedelta(days=33)
    between = booked_at + (due - booked_at) * part
    assert wished.due_after(min(between, due - timedelta(microseconds=1))) == due


@given(schedules, instants)
def test_a_due_moment_is_what_was_asked_for_on_the_local_clock(
    wished: Schedule, booked_at: datetime
) -> None:
    zone = ZoneInfo(wished.time_zone)
    due = wished.due_after(booked_at)
    local = due.astimezone(zone)
    if wished.cadence is Cadence.HOURLY:
        assert (local.minute, local.second) == (wished.at.minute, 0)
        return
    if local.time() != wished.at:
        # The clock jumped over it: there is no such moment on the day it was asked for.
        asked = datetime.combine(local.date(), wished.at)
        day = min(
            (asked + timedelta(days=ahead) for ahead in (-1, 0)),
            key=lambda one: abs(one - local.replace(tzinfo=None)),
        )
        there = day.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
        assert there.replace(tzinfo=None) != day
        return
    if wished.cadence is Cadence.WEEKLY:
        assert local.strftime("%A").lower() == wished.weekday
    if wished.cadence is Cadence.MONTHLY:
        last = (local + timedelta(days=1)).day == 1
        assert local.day == wished.day_of_month or (last and local.day < wished.day_of_month)


@given(some.sampled_from(ZONES), times, instants)
def test_daily_means_once_for_every_day_of_the_calendar(
    zone_name: str, at: time, booked_at: datetime
) -> None:
    wished = Schedule(Cadence.DAILY, zone_name, at)
    due = [wished.due_after(booked_at)]
    for _ in range(40):
        due.append(wished.due_after(due[-1]))
    assert all(
        timedelta(hours=22) <= later - earlier <= timedelta(hours=49)
        for earlier, later in pairwise(due)
    )


# In the night a clock that jumps could carry a due moment over the month's last midnight.
@given(
    some.sampled_from([zone for zone in ZONES if zone != "Pacific/Apia"]),
    times.filter(lambda at: at.hour >= 3),
    some.integers(1, 31),
    instants,
)
def test_monthly_means_once_a_month_also_where_the_day_is_missing(
    zone_name: str, at: time, day: int, booked_at: datetime
) -> None:
    wished = Schedule(Cadence.MONTHLY, zone_name, at, day_of_month=day)
    due = booked_at
    months = []
    for _ in range(13):
        due = wished.due_after(due)
        local = due.astimezone(ZoneInfo(zone_name))
        months.append(local.year * 12 + local.month)
    assert months == list(range(months[0], months[0] + 13))


@pytest.mark.parametrize(
    ("wished", "booked_at", "due"),
    [
        # 02:30 does not exist on 2026-03-29: it would have been 01:30 UTC.
        (
            schedule(Cadence.DAILY, time_zone="Europe/Paris", at="02:30"),
            "2026-03-28T12",
            "29T01:30",
        ),
        # 02:30 comes twice on 2026-10-25: the first.
        (
            schedule(Cadence.DAILY, time_zone="Europe/Paris", at="02:30"),
            "2026-10-24T12",
            "25T00:30",
        ),
        (
            schedule(Cadence.DAILY, time_zone="Europe/Paris", at="02:30"),
            "2026-10-25T01",
            "26T01:30",
        ),
        (
            schedule(Cadence.HOURLY, time_zone="Asia/Kolkata", at="00:10"),
            "2026-05-01T00",
            "01T00:40",
        ),
        (schedule(Cadence.MONTHLY, day_of_month=31), "2026-02-01T00", "28T00:00"),
        (schedule(Cadence.MONTHLY, day_of_month=31), "2024-02-01T00", "29T00:00"),
        (schedule(Cadence.WEEKLY, weekday=Weekday.FRIDAY, at="18:00"), "2026-11-23T00", "27T18:00"),
        (schedule(Cadence.DAILY, at="06:00"), "2026-11-26T06", "27T06:00"),
        (Schedule(), "2026-11-26T06", "26T06:00"),
    ],
)
def test_known_due_moments(wished: Schedule, booked_at: str, due: str) -> None:
    booked = datetime.fromisoformat(f"{booked_at}:00:00+00:00")
    assert wished.due_after(booked).strftime("%dT%H:%M") == due


def test_a_wish_is_for_what_was_waiting_when_it_came_too_but_not_for_a_moment_before_it() -> None:
    changed = datetime(2026, 5, 2, 10, tzinfo=UTC)
    wish = Preference(schedule=schedule(Cadence.DAILY, at="06:00"), changed_at=changed)
    assert wish.due(changed - timedelta(days=9)) == datetime(2026, 5, 3, 6, tzinfo=UTC)
    assert wish.due(changed + timedelta(days=1)) == datetime(2026, 5, 4, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"time_zone": "Europe/Atlantis"}, "time_zone"),
        ({"at": "24:00"}, "at"),
        ({"at": "6:00"}, "at"),
        ({"at": "06:00\n"}, "at"),
        ({"day_of_month": 32}, "day_of_month"),
        ({"day_of_month": 0}, "day_of_month"),
    ],
)
def test_a_schedule_that_is_none_is_refused_by_field(wrong: dict[str, object], field: str) -> None:
    with pytest.raises(Malformed) as refused:
        schedule(Cadence.DAILY, **wrong)  # type: ignore[arg-type]
    assert refused.value.field == field


HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "-oProxyCommand=evil"),
        ("host", "a b"),
        ("host", ""),
        ("port", 0),
        ("user", "-root"),
        ("user", "a@b"),
        ("directory", "../other"),
        ("directory", 'in"; rm'),
        ("directory", "in\nrm x"),
        ("directory", "-rm"),
        ("host_key", "ssh-ed25519 AAAA"),
        ("host_key", f"{HOST_KEY}\n* {HOST_KEY}"),
        ("host_key", f"@revoked {HOST_KEY}"),
    ],
)
def test_no_word_that_is_more_than_a_word_reaches_a_command(name: str, value: object) -> None:
    sound = {
        "host": "files.example",
        "port": 22,
        "user": "grid",
        "directory": "in/cdrs",
        "host_key": HOST_KEY,
    }
    assert sftp_place(**sound).user == "grid"  # type: ignore[arg-type]
    with pytest.raises(BadPreference) as refused:
        sftp_place(**sound | {name: value})  # type: ignore[arg-type]
    assert refused.value.field == f"sftp.{name}"


def test_where_a_record_is_is_the_furthest_that_it_has_come() -> None:
    at = datetime(2026, 5, 2, tzinfo=UTC)
    trace = Trace(EVSP, "A")
    assert trace.whereabouts is Whereabouts.UNKNOWN
    assert Trace(EVSP, "A", rejected=True).whereabouts is Whereabouts.REJECTED
    booked = Trace(EVSP, "A", evsp=EVSP, booked_at=at)
    assert booked.whereabouts is Whereabouts.WAITING
    assert Trace(EVSP, "A", booked_at=at, open_delivery_id="x").whereabouts is Whereabouts.UNDER_WAY
    buried = Trace(EVSP, "A", booked_at=at, dead_lettered_at=at, open_delivery_id="again")
    assert buried.whereabouts is Whereabouts.DEAD_LETTERED
    assert (
        Trace(EVSP, "A", booked_at=at, dead_lettered_at=at, acknowledged_at=at).whereabouts
        is Whereabouts.ACKNOWLEDGED
    )
    assert (
        Trace(EVSP, "A", booked_at=at, dead_lettered_at=at, delivered_at=at).whereabouts
        is Whereabouts.DELIVERED
    )
