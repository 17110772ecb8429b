"""How a service is to be called is read with care, and written back in one form."""

from __future__ import annotations

from typing import Any

import pytest

from marketplace.services.handling import USUAL, BadHandling, ContentMap, Handling, Mode

WHOLE = {
    "mode": "shadow",
    "timeout_s": 5.0,
    "timeouts_s": {"forecast": 60.0},
    "maps": {"forecast": {"request": "{id: point}", "answer": None}},
    "health_path": "/health",
    "headers": ["X-Version", "X-Page"],
}


def test_nothing_told_is_as_it_always_was() -> None:
    assert Handling.parse({}) == USUAL
    assert USUAL.to_json() == {}
    assert USUAL.mode is Mode.ENFORCE


def test_what_was_told_is_told_again() -> None:
    handling = Handling.parse(WHOLE)
    assert handling.to_json() == WHOLE
    assert handling.maps["forecast"] == ContentMap("{id: point}")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ([], "handling"),
        ({"speed": 1}, "handling.speed"),
        ({"mode": "open"}, "handling.mode"),
        ({"timeout_s": 0}, "handling.timeout_s"),
        ({"timeout_s": True}, "handling.timeout_s"),
        ({"timeouts_s": {"a": 1_000}}, "handling.timeouts_s.a"),
        ({"timeouts_s": {"": 1}}, "handling.timeouts_s"),
        ({"timeouts_s": {str(n): 1 for n in range(501)}}, "handling.timeouts_s"),
        ({"maps": {"a": {"reply": "x"}}}, "handling.maps.a.reply"),
        ({"maps": {"a": {"request": ""}}}, "handling.maps.a.request"),
        ({"maps": {"a": {"answer": 1}}}, "handling.maps.a.answer"),
        ({"headers": "X-Version"}, "handling.headers"),
        ({"headers": [f"X-{n}" for n in range(21)]}, "handling.headers"),
        ({"headers": ["X-Version", "X Version"]}, "handling.headers.1"),
        ({"headers": ["Authorization"]}, "handling.headers.0"),
        ({"headers": ["X-Version", "x-version"]}, "handling.headers.1"),
        ({"health_path": ""}, "handling.health_path"),
        ({"health_path": 1}, "handling.health_path"),
        ({"health_path": "/" + "a" * 200}, "handling.health_path"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_what_breaks_a_rule_is_refused_by_its_path(wrong: Any, field: str) -> None:
    with pytest.raises(BadHandling) as refused:
        Handling.parse(wrong)
    assert refused.value.field == field


@pytest.mark.parametrize("path", ["/health", "/health/", "/v1/.well-known/up", "/a%20b", "/...x"])
def test_a_health_path_is_a_path(path: str) -> None:
    assert Handling.parse({"health_path": path}).health_path == path


@pytest.mark.parametrize(
    "path",
    [
        *("health", "/", "//elsewhere.example/", "/a//b", "/../admin", "/a/..", "/.", "/%2e%2E/a"),
        *(
            "/health?deep=1",
            "/health#a",
            "/a b",
            "/a\r\nX-Evil: 1",
            "/a\n",
            "/%zz",
            "/\xfc",
            "http://a/",
        ),
    ],
)
def test_a_health_path_leads_nowhere_else(path: str) -> None:
    with pytest.raises(BadHandling):
        Handling.parse({"health_path": path})
