"""What can be asked of the finder, and the geometry by which "near" is exact anywhere on earth.

A query combines the five sections of Search EVSE: technical equipment (connectors, power), EVSE
operator, management (opening hours, capabilities, status), address (city, postal code, words) and
proximity.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.refusal import Malformed
from search_evse.sites.model import Connector, Status

LIMIT_MOST = 500
# Mean radius R1 of the earth (IUGG); on WGS 84 the sphere errs by at most half a per cent.
EARTH_RADIUS_M = 6_371_008.8
_WHOLE_WAY_ROUND = 180.0
_BEYOND_EVERY_NORTH = 10_000.0


class BadQuery(Malformed):
    """A search that cannot be meant as it is written."""


class Point(NamedTuple):
    """WGS 84, decimal degrees."""

    latitude: float
    longitude: float


class Position(NamedTuple):
    """Where the last page ended: behind this EVSE, at this distance if one was asked for."""

    distance_m: float | None
    evse_id: str


@dataclass(frozen=True, slots=True)
class Query:
    """Everything that is given must hold: all capabilities, and one of several other values."""

    limit: int
    near: Point | None = None
    radius_m: float | None = None
    connectors: frozenset[str] = field(default=frozenset())
    min_power_w: int | None = None
    operators: frozenset[PartyId] = field(default=frozenset())
    statuses: frozenset[Status] = field(default=frozenset())
    capabilities: frozenset[str] = field(default=frozenset())
    open_all_hours: bool = False
    city: str | None = None
    postal_code: str | None = None
    words: tuple[str, ...] = ()
    after: Position | None = None

    def __post_init__(self) -> None:
        if self.radius_m is not None and self.near is None:
            raise BadQuery(
                "radius_m is given without near", field="radius_m", rule="goes with near"
            )
        if self.after is not None and (self.after.distance_m is None) != (self.near is None):
            raise BadQuery("the cursor is of another search", field="cursor", rule=_CURSOR_RULE)


@dataclass(frozen=True, slots=True)
class SiteFound:
    id: str
    name: str | None
    operator_name: str | None
    address: str | None
    city: str | None
    postal_code: str | None
    country: str
    time_zone: str | None
    opening: str | None
    access: str | None


@dataclass(frozen=True, slots=True)
class EvseFound:
    """One EVSE as the finder answers it; `distance_m` where a place was asked for."""

    evse_id: EvseId
    operator: PartyId
    status: Status
    status_at: datetime
    place: Point
    connectors: tuple[Connector, ...]
    capabilities: tuple[str, ...]
    uid: str | None
    physical_reference: str | None
    floor_level: str | None
    last_updated: datetime
    site: SiteFound
    distance_m: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """`after` continues the search; None on the last page."""

    found: tuple[EvseFound, ...]
    after: Position | None


_CURSOR_RULE = "as the Link header of the page before gave it"


def write_cursor(position: Position) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def read_cursor(shown: str) -> Position:
    """The inverse of `write_cursor`; BadQuery for anything else."""
    try:
        raw = base64.b64decode(shown + "=" * (-len(shown) % 4), altchars=b"-_", validate=True)
        distance_m, evse_id = json.loads(raw)
    except (ValueError, TypeError, RecursionError, binascii.Error):
        distance_m, evse_id = None, None
    good_distance = distance_m is None or (
        isinstance(distance_m, float) and math.isfinite(distance_m)
    )
    if (
        not isinstance(evse_id, str)
        or "\x00" in evse_id
        or not evse_id.isascii()
        or not good_distance
    ):
        raise BadQuery("the cursor is not ours", field="cursor", value=shown, rule=_CURSOR_RULE)
    return Position(distance_m, evse_id)


def distance_m(one: Point, other: Point) -> float:
    """Along the great circle, by the haversine formula, which keeps its digits for near points."""
    north, other_north = math.radians(one.latitude), math.radians(other.latitude)
    half_up = (other_north - north) / 2
    half_across = math.radians(other.longitude - one.longitude) / 2
    square = math.sin(half_up) ** 2
    square += math.cos(north) * math.cos(other_north) * math.sin(half_across) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(square)))


class Box(NamedTuple):
    """A rectangle on Mercator's map: longitudes and projected latitudes, both in degrees."""

    west: float
    south: float
    east: float
    north: float

    def holds(self, point: Point) -> bool:
        northing = mercator_north(point.latitude)
        inside = self.south <= northing <= self.north
        return inside and self.west <= point.longitude <= self.east


def mercator_north(latitude: float) -> float:
    """The latitude on Mercator's map, in degrees of longitude; finite even at the poles."""
    return math.degrees(math.asinh(math.tan(math.radians(latitude))))


def boxes_around(centre: Point, radius_m: float) -> tuple[Box, ...]:
    """One or two boxes that hold every point within `radius_m` of `centre`, and a few others.

    Two where the circle crosses the antimeridian; the whole way round where it holds a pole.
    """
    # A millimetre more, for rounding here and in the database.
    reach = radius_m / EARTH_RADIUS_M * (1 + 1e-9) + 2e-10
    latitude = math.radians(centre.latitude)
    south, north = latitude - reach, latitude + reach
    lowest = -_BEYOND_EVERY_NORTH
    highest = _BEYOND_EVERY_NORTH
    across = _WHOLE_WAY_ROUND
    if south > -math.pi / 2:
        lowest = mercator_north(math.degrees(south))
    if north < math.pi / 2:
        highest = mercator_north(math.degrees(north))
    if south > -math.pi / 2 and north < math.pi / 2:
        # Where the meridians touch the circle, which is poleward of its centre.
        widest = math.sin(reach) / math.cos(latitude)
        if widest < 1:
            across = math.degrees(math.asin(widest)) + 1e-8
    west, east = centre.longitude - across, centre.longitude + across
    if across >= _WHOLE_WAY_ROUND:
        return (Box(-_WHOLE_WAY_ROUND, lowest, _WHOLE_WAY_ROUND, highest),)
    boxes = [Box(west, lowest, east, highest)]
    if west < -_WHOLE_WAY_ROUND:
        boxes.append(Box(west + 360, lowest, east + 360, highest))
    if east > _WHOLE_WAY_ROUND:
        boxes.append(Box(west - 360, lowest, east - 360, highest))
    return tuple(boxes)
