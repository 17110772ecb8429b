"""Which questions about calls are answered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.monitoring.model import BadWindow, Every, Question, checked

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("every", list(Every))
def test_a_day_is_told_in_any_steps_but_minutes(every: Every) -> None:
    question = Question(NOON, NOON + timedelta(days=1), every=every)
    if every is Every.MINUTE:
        with pytest.raises(BadWindow) as refused:
            checked(question)
        assert refused.value.field == "every"
    else:
        assert checked(question) is question


@pytest.mark.parametrize(
    ("length", "field"), [(timedelta(), "until"), (timedelta(days=32), "since")], ids=str
)
def test_a_time_has_a_length_that_can_be_reckoned(length: timedelta, field: str) -> None:
    with pytest.raises(BadWindow) as refused:
        checked(Question(NOON, NOON + length))
    assert refused.value.field == field
