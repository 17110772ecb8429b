"""Identifiers that sort by time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as some

from kit.sortable_id import is_id, sortable_id

times = some.integers(0, 7 * 10**12).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC))


@given(times, some.timedeltas(timedelta(milliseconds=2), timedelta(days=9_000)))
def test_a_later_id_sorts_behind(now: datetime, gap: timedelta) -> None:
    assert sortable_id(now) < sortable_id(now + gap)


@given(times)
def test_an_id_is_a_uuid_of_version_7(now: datetime) -> None:
    uuid = UUID(sortable_id(now))
    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
    assert uuid.int >> 80 == int(now.timestamp() * 1000)


def test_ids_of_one_moment_differ() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({sortable_id(now) for _ in range(1_000)}) == 1_000


@given(times)
def test_what_was_given_out_could_be_an_id(now: datetime) -> None:
    assert is_id(sortable_id(now))


@given(some.text())
def test_no_other_text_could(text: str) -> None:
    assert not is_id(text)
