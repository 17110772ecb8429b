"""A call is told as a span: by its own ids, below its caller's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from gateway.calls.model import Call, Grant, Service
from gateway.calls.spans import span_of
from roaming.party import PartyId

AT = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALL = Call(
    scope={},
    request_id=TRACE,
    at=AT,
    started_ns=0,
    method="GET",
    headers={},
    traceparent=f"00-{TRACE}-b7ad6b7169203331-01",
    status=200,
)


def test_a_call_says_whose_it_was_and_under_which_contract() -> None:
    call = replace(
        CALL,
        service=Service("weather", 2, PartyId("NL*ABC")),
        operation="forecast",
        party=PartyId("FR*PD1"),
        grant=Grant("C-1"),
    )
    told = span_of(call, 1_500)
    assert (told.name, told.failed, told.ended_ns - told.began_ns) == ("GET weather", False, 1_500)
    assert told.began_ns == 1_777_896_000_123_456_000
    assert told.attributes["gridroam.contract_id"] == "C-1"
    assert told.attributes["gridroam.requester"] == "FR*PD1"
    assert told.attributes["gridroam.major"] == 2


def test_a_name_that_a_caller_made_up_names_no_span() -> None:
    assert span_of(replace(CALL, service_name="made-up", status=404), 1).name == "unknown service"


def test_the_callers_span_is_the_one_above() -> None:
    came = f"00-{TRACE}-00f067aa0ba902b7-01"
    below = replace(CALL, headers={b"traceparent": came.encode()})
    assert span_of(below, 1).parent == came
    forged = replace(CALL, headers={b"traceparent": b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01"})
    assert span_of(forged, 1).parent is None


def test_a_call_that_failed_is_told_as_failed() -> None:
    assert span_of(replace(CALL, status=502), 1).failed
    assert not span_of(replace(CALL, status=404), 1).failed
