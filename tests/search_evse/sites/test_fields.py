"""A field that breaks its rule is left out with a note, and costs only itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from search_evse.sites.fields import Fields, coordinates, is_time_zone, to_number
from tests.search_evse.cuts import NOW


def fields(**values: Any) -> Fields:
    return Fields(values, [])


def test_text_loses_what_postgresql_would_refuse() -> None:
    assert fields(name="Plein\x00\ud8005 ").text("name") == "Plein 5"


def test_long_text_is_cut_with_a_note() -> None:
    row = fields(name="x" * 300)
    assert row.text("name") == "x" * 255
    assert row.notes == ["name: longer than 255 characters, cut"]


@pytest.mark.parametrize("value", [{}, [], True, {"a": 1}])
def test_what_is_no_text_is_left_out(value: object) -> None:
    row = fields(name=value)
    assert row.text("name") is None
    assert row.notes == ["name: not text, left out"]


@pytest.mark.parametrize(
    ("value", "number"),
    [(5, 5.0), ("50,5", 50.5), (" -2.5 ", -2.5), ("1e3", 1000.0)],
)
def test_numbers_may_be_text_with_point_or_comma(value: object, number: float) -> None:
    assert to_number(value) == number


@pytest.mark.parametrize(
    "value", [True, None, "", "1_000", "nan", "inf", float("nan"), 10**400, "12 kW", [], "1e999"]
)
def test_what_is_no_finite_number_is_none(value: object) -> None:
    assert to_number(value) is None


def test_a_time_without_offset_is_utc() -> None:
    expected = datetime(2026, 6, 7, 18, 40, 7, tzinfo=UTC)
    assert fields(t="2026-06-07T18:40:07").time("t", now=NOW) == expected
    assert fields(t="2026-06-07T20:40:07+02:00").time("t", now=NOW) == expected


@pytest.mark.parametrize("value", ["yesterday", 12, "0001-01-01T00:00:00+14:00", "2026-13-01"])
def test_what_is_no_time_is_left_out(value: object) -> None:
    row = fields(t=value)
    assert row.time("t", now=NOW) is None
    assert row.notes == ["t: not a time, left out"]


def test_a_time_in_the_future_would_outrank_all_news_and_is_left_out() -> None:
    row = fields(t="2099-01-01T00:00:00Z")
    assert row.time("t", now=NOW) is None
    assert row.notes == ["t: in the future, left out"]


@pytest.mark.parametrize("power_w", [400_000.0, 1_000.0, 22_000.4])
def test_power_that_can_be_believed_is_whole_watts(power_w: float) -> None:
    assert fields().power_w(power_w, "power") == round(power_w)


@pytest.mark.parametrize(
    ("power_w", "note"),
    [(400_500.0, "power: over 400 kW, left out"), (0.1, "power: under 1 kW, left out")],
)
def test_power_that_cannot_be_believed_is_left_out(power_w: float, note: str) -> None:
    row = fields()
    assert row.power_w(power_w, "power") is None
    assert row.notes == [note]


@pytest.mark.parametrize(
    ("latitude", "longitude", "rule"),
    [
        (None, 5, "must be given"),
        ("", "", "must be given"),
        ("north", 5, "must be two numbers in decimal degrees"),
        (float("nan"), 5, "must be two numbers in decimal degrees"),
        (91, 5, "must lie in the world"),
        (52, -180.1, "must lie in the world"),
        (0, 0, "0, 0 stands for missing"),
    ],
)
def test_coordinates_break_one_named_rule(latitude: object, longitude: object, rule: str) -> None:
    broken = coordinates(latitude, longitude)
    assert isinstance(broken, str)
    assert rule in broken


def test_coordinates_may_be_text() -> None:
    assert coordinates("52.1769", "-5.9123") == (52.1769, -5.9123)


def test_coordinates_are_kept_to_the_millimetre() -> None:
    assert coordinates(1e-300, 5.123456789) == (0.0, 5.12345679)


@pytest.mark.parametrize(
    "name", ["Europe", "../etc/passwd", "Mars/Olympus", "", "Europe/Paris\x00"]
)
def test_what_is_no_time_zone_is_known_to_be_none(name: str) -> None:
    assert not is_time_zone(name)
