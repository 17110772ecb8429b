"""One assertion serves all calls that it is true of, and no other; and not for long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway.calls import assertion
from gateway.calls.assertion import Assertions
from gateway.calls.model import Call, Grant, Service
from tests.gateway.calls.fakes import NOON, OPERATOR, PROVIDER, STRANGER


class Pen:
    """Signs with a number, and keeps what it signed."""

    def __init__(self) -> None:
        self.signed: list[tuple[str, Mapping[str, Any], datetime]] = []

    def sign_jwt(self, kind: str, claims: Mapping[str, Any], at: datetime) -> str:
        self.signed.append((kind, claims, at))
        return f"signed-{len(self.signed)}"


def call(**changes: Any) -> Call:
    made = Call(
        scope={},
        request_id="r-1",
        at=NOON,
        started_ns=0,
        method="GET",
        headers={},
        traceparent="",
        service_name="weather",
        party=OPERATOR,
        client_id="client-1",
        service=Service("weather", 1, PROVIDER, endpoint="http://weather.example"),
        operation="forecast",
        grant=Grant("C-1"),
    )
    return replace(made, **changes)


def test_it_says_who_calls_what_of_whom_under_which_contract_and_until_when() -> None:
    pen = Pen()
    assert Assertions("https://hub", pen).credentials(call()) == "Bearer signed-1"
    ((kind, claims, at),) = pen.signed
    assert (kind, at) == ("gridroam-call+jwt", NOON)
    jti = claims["jti"]
    assert len(jti) >= 20
    noon = int(NOON.timestamp())
    assert claims == {
        "iss": "https://hub",
        "aud": "NL*ABC",
        "sub": "FR*PD1",
        "contract_id": "C-1",
        "service": "weather",
        "major": 1,
        "operation": "forecast",
        "sandbox": False,
        "iat": noon,
        "exp": noon + 60,
        "jti": jti,
    }


def test_without_a_contract_none_is_named() -> None:
    pen = Pen()
    Assertions("https://hub", pen).credentials(call(grant=None, sandbox=True))
    ((_, claims, _),) = pen.signed
    assert "contract_id" not in claims
    assert claims["sandbox"] is True


def test_calls_that_it_is_true_of_share_it_for_half_its_life() -> None:
    pen = Pen()
    kept = Assertions("https://hub", pen)
    for seconds in (0, 1, 29):
        later = call(at=NOON + timedelta(seconds=seconds), request_id=f"r-{seconds}", query="a=1")
        assert kept.credentials(later) == "Bearer signed-1"
    assert kept.credentials(call(at=NOON + timedelta(seconds=30))) == "Bearer signed-2"
    assert len(pen.signed) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"party": STRANGER},
        {"grant": Grant("C-2")},
        {"grant": None},
        {"service_name": "tides"},
        {"major": 2},
        {"operation": "warn"},
        {"sandbox": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_call_that_it_is_not_true_of_gets_another(change: dict[str, Any]) -> None:
    kept = Assertions("https://hub", Pen())
    assert kept.credentials(call()) == "Bearer signed-1"
    assert kept.credentials(call(**change)) == "Bearer signed-2"
    assert kept.credentials(call()) == "Bearer signed-1"


def test_what_is_kept_is_bounded_and_the_oldest_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(assertion, "MOST_KEPT", 2)
    pen = Pen()
    kept = Assertions("https://hub", pen)
    for operation in ("a", "b", "c"):
        kept.credentials(call(operation=operation))
    assert kept.credentials(call(operation="b")) == "Bearer signed-2"
    assert kept.credentials(call(operation="c")) == "Bearer signed-3"
    assert kept.credentials(call(operation="a")) == "Bearer signed-4"


def test_of_a_long_operation_the_beginning_is_told() -> None:
    pen = Pen()
    Assertions("https://hub", pen).credentials(call(operation="GET /" + "x" * 8_000))
    assert pen.signed[0][1]["operation"] == "GET /" + "x" * 495


def test_a_path_that_a_caller_has_made_long_is_not_kept() -> None:
    pen = Pen()
    assertions = Assertions("https://hub", pen)
    long = "GET /" + "x" * assertion.LONGEST_OPERATION
    told = [assertions.credentials(call(operation=long)) for _ in range(2)]
    assert told == ["Bearer signed-1", "Bearer signed-2"]
    assert len(assertions._kept) == 0
