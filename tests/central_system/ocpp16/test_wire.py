"""Frames and times, whatever arrives."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocpp.v16 import call_result, datatypes
from ocpp.v16.enums import AuthorizationStatus

from central_system.ocpp16 import wire
from central_system.ocpp16.wire import CallRefused, Heard

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=15,
)


@given(JSON.map(json.dumps) | st.text())
def test_any_text_is_heard_or_refused_with_an_error_that_can_be_sent(text: str) -> None:
    try:
        heard = wire.read(text)
    except CallRefused as refused:
        frame = json.loads(wire.call_error(refused.unique_id, refused.error))
        assert frame[0] == 4
        assert len(frame[3]) <= 255
    else:
        assert isinstance(heard, Heard)


@given(st.timedeltas(timedelta(0), timedelta(days=80_000)))
def test_a_time_that_we_show_reads_as_the_same_millisecond(since: timedelta) -> None:
    at = datetime(1971, 1, 1, tzinfo=UTC) + since
    shown = wire.shown_moment(at)
    cut = at.replace(microsecond=at.microsecond // 1000 * 1000)
    assert wire.moment("timestamp", shown) == cut


@pytest.mark.parametrize(
    "said", ["2025-03-01T12:00:00", "2025-03-01T13:00:00+01:00", "2025-03-01T12:00:00.000Z"]
)
def test_every_spelling_of_a_time_is_one_time(said: str) -> None:
    assert wire.moment("timestamp", said) == datetime(2025, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("said", ["", "12:00", "1969-01-01T00:00:00Z", "2201-01-01T00:00:00Z"])
def test_what_is_no_time_of_this_business_is_refused(said: str) -> None:
    with pytest.raises(CallRefused, match="ISO 8601"):
        wire.moment("timestamp", said)


def test_a_result_goes_out_in_the_specifications_words() -> None:
    result = call_result.StartTransaction(
        transaction_id=7, id_tag_info=datatypes.IdTagInfo(status=AuthorizationStatus.blocked)
    )
    assert wire.to_payload(result) == {"transactionId": 7, "idTagInfo": {"status": "Blocked"}}


def test_an_error_never_shows_a_card() -> None:
    refused = CallRefused(wire.TYPE, "at most 20 characters", field="idTag", value="SECRET")
    assert "SECRET" not in json.dumps(refused.error)
