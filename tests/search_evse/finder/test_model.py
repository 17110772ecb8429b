"""The geometry of "near", held to laws all over the world; and what a query may not be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from search_evse.finder.model import (
    EARTH_RADIUS_M,
    BadQuery,
    Point,
    Position,
    Query,
    boxes_around,
    distance_m,
    mercator_north,
    read_cursor,
    write_cursor,
)

PARIS, AMSTERDAM = Point(48.8566, 2.3522), Point(52.3676, 4.9041)
points = some.builds(
    Point,
    some.floats(-90, 90) | some.sampled_from([-90.0, 90.0, 89.9999, 0.0]),
    some.floats(-180, 180) | some.sampled_from([-180.0, 180.0, 179.9999]),
)
radii = some.floats(0, 20_100_000) | some.floats(0, 50_000)


def test_paris_and_amsterdam_are_430_kilometres_apart() -> None:
    assert distance_m(PARIS, AMSTERDAM) == pytest.approx(430_000, rel=0.005)


def test_a_degree_of_longitude_shrinks_to_the_north() -> None:
    equator = distance_m(Point(0, 10), Point(0, 11))
    assert distance_m(Point(60, 10), Point(60, 11)) == pytest.approx(equator / 2, rel=0.001)


def test_the_antimeridian_is_no_border() -> None:
    assert distance_m(Point(0, 179.9), Point(0, -179.9)) < 25_000


@given(points, points)
def test_distance_is_the_same_both_ways_and_never_beyond_the_antipode(
    one: Point, other: Point
) -> None:
    there = distance_m(one, other)
    assert there == pytest.approx(distance_m(other, one), abs=1e-6)
    assert 0 <= there <= math.pi * EARTH_RADIUS_M + 1e-6


@given(points, points, radii)
def test_no_point_within_the_radius_lies_outside_the_boxes(
    centre: Point, point: Point, radius_m: float
) -> None:
    if distance_m(centre, point) <= radius_m:
        assert any(box.holds(point) for box in boxes_around(centre, radius_m))


@given(points, radii, some.floats(0, 360))
def test_nor_does_a_point_on_the_very_edge(centre: Point, radius_m: float, bearing: float) -> None:
    reach, course = radius_m / EARTH_RADIUS_M, math.radians(bearing)
    latitude = math.radians(centre.latitude)
    north = math.sin(latitude) * math.cos(reach)
    north += math.cos(latitude) * math.sin(reach) * math.cos(course)
    across = math.atan2(
        math.sin(course) * math.sin(reach) * math.cos(latitude),
        math.cos(reach) - math.sin(latitude) * north,
    )
    longitude = (centre.longitude + math.degrees(across) + 540) % 360 - 180
    edge = Point(math.degrees(math.asin(max(-1.0, min(1.0, north)))), longitude)
    if distance_m(centre, edge) <= radius_m:
        assert any(box.holds(edge) for box in boxes_around(centre, radius_m))


@given(some.floats(-90, 90), some.floats(-90, 90))
def test_north_stays_north_on_the_map(one: float, other: float) -> None:
    assert math.isfinite(mercator_north(one))
    if one <= other:
        assert mercator_north(one) <= mercator_north(other)


@given(some.builds(Position, some.none() | some.floats(0, 1e8), some.just("FRPD1E1")))
def test_a_cursor_is_read_as_it_was_written(position: Position) -> None:
    assert read_cursor(write_cursor(position)) == position


@pytest.mark.parametrize(
    "shown",
    ["", "!", "bm90IGpzb24", "W10", "WzEsIDIsIDNd", "WyJ4IiwgIkEiXQ", "W05hTiwgIkEiXQ", "ééé"],
)
def test_a_cursor_that_is_not_ours_is_refused(shown: str) -> None:
    with pytest.raises(BadQuery) as refusal:
        read_cursor(shown)
    assert refusal.value.field == "cursor"


def test_a_radius_needs_a_place() -> None:
    with pytest.raises(BadQuery) as refusal:
        Query(limit=10, radius_m=100)
    assert refusal.value.field == "radius_m"


def test_a_cursor_of_another_kind_of_search_is_refused() -> None:
    with pytest.raises(BadQuery):
        Query(limit=10, near=PARIS, after=Position(None, "FRPD1E1"))
    with pytest.raises(BadQuery):
        Query(limit=10, after=Position(5.0, "FRPD1E1"))
