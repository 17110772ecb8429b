from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.topics import model
from gateway.topics.model import (
    START,
    BackOff,
    BadEvent,
    BadEventId,
    BadSubscription,
    Draft,
    Event,
    EventId,
    Filter,
    Reply,
    Source,
    Verdict,
    Way,
    Wish,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
NUMBERS = some.integers(min_value=0, max_value=10**18 - 1)
WORDS = some.text(alphabet="abc", min_size=1, max_size=2)


def event(key: str = "k", type_: str = "t", at: datetime = NOW) -> Event:
    return Event(EventId(1, 1), "topic", key, type_, at, at, None)


@given(NUMBERS, NUMBERS)
def test_an_id_is_read_as_it_is_written(xid: int, position: int) -> None:
    id_ = EventId(xid, position)
    assert model.event_id(str(id_), "after") == id_
    assert id_ >= START


@pytest.mark.parametrize("text", ["", "1", "-1", "1-", "a-b", "1-2-3", "1-2 ", "9" * 30 + "-1"])
def test_what_is_no_id_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(BadEventId) as refused:
        model.event_id(text, "after")
    assert refused.value.field == "after"


@given(WORDS, WORDS, some.frozensets(WORDS), some.frozensets(WORDS))
def test_a_filter_takes_what_it_names_and_all_where_it_names_nothing(
    key: str, type_: str, keys: frozenset[str], types: frozenset[str]
) -> None:
    takes = Filter(types, keys).takes(event(key, type_))
    assert takes == ((not keys or key in keys) and (not types or type_ in types))


def test_a_filter_by_time_takes_what_was_written_down_since() -> None:
    wanted = Filter(since=NOW)
    assert wanted.takes(event(at=NOW))
    assert not wanted.takes(event(at=NOW - timedelta(seconds=1)))


def test_an_event_of_the_log_is_read_by_its_party_and_by_the_subscribers_of_its_topic() -> None:
    assert model.sources_of("cdr-accepted", "FR*PD1", "cdrs:FR*PD1") == (
        Source("own-events", "FR*PD1"),
    )
    assert Source("evse-status") in model.sources_of(
        "evse-status-changed", "FR*PD1", "evses:FR*PD1"
    )
    stream = model.stream_of("alerts", "a:b")
    assert model.sources_of("topic-event-published", "FR*PD1", stream) == (
        Source("own-events", "FR*PD1"),
        Source("alerts"),
    )


@pytest.mark.parametrize(
    ("draft", "size", "field"),
    [
        (Draft("", "t", None, NOW), 1, "key"),
        (Draft("k" * 201, "t", None, NOW), 1, "key"),
        (Draft("a\nb", "t", None, NOW), 1, "key"),
        (Draft("k", "", None, NOW), 1, "type"),
        (Draft("k", "1", None, NOW), 1, "type"),
        (Draft("k", "t", None, NOW), model.LONGEST_EVENT_BYTES + 1, "data"),
    ],
    ids=["no key", "long key", "control in key", "no type", "type", "size"],
)
def test_an_event_that_breaks_a_rule_is_refused_by_its_field(
    draft: Draft, size: int, field: str
) -> None:
    with pytest.raises(BadEvent) as refused:
        model.checked(draft, size, "")
    assert refused.value.field == field


def test_a_filter_is_bounded() -> None:
    with pytest.raises(BadSubscription):
        model.checked_filter([str(n) for n in range(101)], ())
    with pytest.raises(BadSubscription):
        model.checked_filter((), ["x" * 500])


def test_a_webhook_needs_a_url_and_nothing_else_has_one() -> None:
    url = "https://a.example/"
    for wish in (Wish(Way.WEBHOOK), Wish(Way.PULL, url)):
        with pytest.raises(BadSubscription, match=r"where do|nothing is sent"):
            model.checked_wish("name", wish)
    assert model.checked_wish("a", Wish(Way.WEBHOOK, url)).url == url


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, Verdict.UNREACHABLE),
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (302, Verdict.UNREACHABLE),
        (401, Verdict.UNREACHABLE),
        (404, Verdict.UNREACHABLE),
        (410, Verdict.GONE),
        (422, Verdict.REFUSED),
        (429, Verdict.UNREACHABLE),
        (500, Verdict.BROKEN),
        (503, Verdict.UNREACHABLE),
    ],
    ids=str,
)
def test_an_answer_speaks_of_the_events_or_of_the_endpoint(
    status: int | None, expected: Verdict
) -> None:
    assert model.verdict(Reply(status, "")) is expected


@given(some.integers(1, 10_000), some.floats(0, 1, exclude_max=True))
def test_pauses_double_up_to_a_bound_and_are_spread(failures: int, chance: float) -> None:
    back_off = BackOff()
    full = min(back_off.most_s, back_off.first_s * 2 ** min(failures - 1, 40))
    assert full / 2 <= back_off.pause_s(failures, chance) <= full


def test_nobody_is_tried_for_ever() -> None:
    back_off = BackOff()
    assert not back_off.hopeless(None, NOW)
    assert not back_off.hopeless(NOW - timedelta(days=2), NOW)
    assert back_off.hopeless(NOW - timedelta(days=3), NOW)


def test_what_an_operator_shows_nobody_is_left_out_of_what_is_told_to_others() -> None:
    status = replace(event(), topic="evse-status", data={"evse_id": "FRPD1E1", "to": "CHARGING"})
    assert model.evse_ids(status) == ["FRPD1E1"]
    assert model.without(status, {"FRPD1E1"}) is None
    assert model.without(status, {"FRPD1E2"}) == status
    told = {"created": ["FRPD1E1", "FRPD1E2"], "updated": ["FRPD1E3"]}
    changed = replace(event(), topic="evse-data", data=told)
    assert model.evse_ids(changed) == ["FRPD1E1", "FRPD1E2", "FRPD1E3"]
    left = model.without(changed, {"FRPD1E1", "FRPD1E3"})
    assert left is not None
    assert left.data == {"created": ["FRPD1E2"]}
    assert model.without(changed, set(model.evse_ids(changed))) is None
    assert model.evse_ids(event()) == []
