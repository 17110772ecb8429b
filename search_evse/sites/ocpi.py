"""An OCPI 2.2.1 Location object as sites and EVSEs (mod_locations, Location object).

Fields may be spelled as the specification does or in camelCase, as several national access points
hand them on (`postalCode`, `ocpiId`, flat `latitude` and `longitude`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.refusal import Malformed
from search_evse.sites.countries import TIME_ZONE_OF_COUNTRY
from search_evse.sites.fields import EVSE_ID_RULE, Fields, coordinates
from search_evse.sites.model import (
    ALL_HOURS,
    CAPABILITIES,
    CONNECTOR_FORMATS,
    CONNECTOR_TYPES,
    POWER_TYPES,
    Connector,
    Evse,
    Rejection,
    Site,
    Status,
    Told,
)

# Above this a "line to neutral" voltage (which OCPI asks for) is really line to line.
_LINE_TO_NEUTRAL_MOST_V = 300
_DAYS = ("", "Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
_STATUSES = frozenset(status.value for status in Status)
_HOUR = re.compile(r"[0-2][0-9]:[0-5][0-9]")


def looks_like_a_location(thing: object) -> bool:
    """Enough to tell a file of locations from one of something else."""
    if not isinstance(thing, dict):
        return False
    values = snake_keys(thing)
    has_place = "coordinates" in values or "latitude" in values
    return "evses" in values or (has_place and ("id" in values or "ocpi_id" in values))


def read_location(
    line: int, thing: object, *, operator: PartyId | None, now: datetime
) -> Iterator[Told | Rejection]:
    """Every EVSE of one location; a rejection for each that cannot be taken."""
    if not isinstance(thing, dict):
        yield Rejection.of(line, "location", thing, "must be a JSON object")
        return
    fields = Fields(snake_keys(thing), [])
    evses = fields.get("evses")
    if evses is None:
        evses = []
    if not isinstance(evses, list):
        yield Rejection.of(line, "evses", evses, "must be a list")
        return
    site_id = fields.text("id", "ocpi_id", "location_id")
    if site_id is None:
        for _ in range(max(1, len(evses))):
            yield Rejection.of(line, "id", None, "must be given")
        return
    location = _Location(fields, site_id, operator or _operator_of(fields), now)
    for evse in evses:
        yield _read_evse(line, evse, location, now)
        # What is to be said of the location is said once, with its first EVSE.
        fields.notes.clear()


class _Location:
    """What all EVSEs of a location share. Its site is made with the first of them."""

    def __init__(
        self, fields: Fields, site_id: str, operator: PartyId | None, now: datetime
    ) -> None:
        self.fields = fields
        self.place = _coordinates_of(fields)
        self._site_id = site_id
        self._operator = operator
        self._now = now
        self._sites: dict[tuple[EvseId | None, PartyId], Site] = {}

    def site_of(self, evse_id: EvseId, place: tuple[float, float]) -> Site:
        """Where the location has no place of its own, each EVSE's place is a site's."""
        key = (evse_id if isinstance(self.place, str) else None, evse_id.party)
        site = self._sites.get(key)
        if site is None:
            whose = self._operator or evse_id.party
            site = _read_site(self.fields, self._site_id, whose, evse_id, place, self._now)
            self._sites[key] = site
        return site


def _read_evse(line: int, thing: object, location: _Location, now: datetime) -> Told | Rejection:
    if not isinstance(thing, dict):
        return Rejection.of(line, "evse", thing, "must be a JSON object")
    fields = Fields(snake_keys(thing), location.fields.notes)
    told_id = fields.get("evse_id")
    if told_id is None:
        return Rejection.of(line, "evse_id", None, "must be given")
    try:
        evse_id = EvseId(told_id)
    except Malformed:
        return Rejection.of(line, "evse_id", told_id, EVSE_ID_RULE)
    place = location.place
    if fields.get("coordinates", "latitude") is not None:
        own = _coordinates_of(fields)
        if isinstance(own, str):
            fields.note("evse.coordinates", f"{own}, left out")
        else:
            place = own
    if isinstance(place, str):
        told_place = location.fields.get("coordinates", "latitude")
        return Rejection.of(line, "coordinates", told_place, place)
    own_place = location.place
    site = location.site_of(evse_id, place if isinstance(own_place, str) else own_place)
    status = fields.one_of(_STATUSES, "status")
    evse = Evse(
        id=evse_id,
        latitude=place[0],
        longitude=place[1],
        status=None if status is None else Status(status),
        connectors=_connectors_of(fields),
        capabilities=_capabilities_of(fields),
        uid=fields.text("uid"),
        physical_reference=fields.text("physical_reference"),
        floor_level=fields.text("floor_level"),
        last_updated=fields.time("last_updated", now=now) or site.last_updated,
    )
    return Told(line, site, evse, tuple(fields.notes))


def _read_site(
    fields: Fields,
    site_id: str,
    operator: PartyId,
    evse_id: EvseId,
    place: tuple[float, float],
    now: datetime,
) -> Site:
    country = fields.country("country") or evse_id.party.country
    time_zone = fields.time_zone("time_zone")
    if time_zone is None:
        time_zone = TIME_ZONE_OF_COUNTRY.get(country)
        how = "missing" if time_zone is None else "missing, taken from the country"
        fields.note("time_zone", how)
    return Site(
        operator=operator,
        id=site_id,
        latitude=place[0],
        longitude=place[1],
        name=fields.text("name"),
        operator_name=_name_of(fields),
        address=fields.text("address"),
        city=fields.text("city"),
        postal_code=fields.text("postal_code", most=20),
        country=country,
        time_zone=time_zone,
        opening=_opening_of(fields),
        published=fields.yes("publish") is not False,
        last_updated=fields.time("last_updated", now=now),
    )


def _operator_of(fields: Fields) -> PartyId | None:
    """The CPO that owns the location, if it says so in full."""
    country, code = fields.text("country_code"), fields.text("party_id")
    if country is None and code is None:
        return None
    try:
        return PartyId(f"{country or ''}*{code or ''}")
    except Malformed:
        fields.note("party_id", "not a party with country_code, taken from the EVSE id")
        return None


def _coordinates_of(fields: Fields) -> tuple[float, float] | str:
    place = fields.get("coordinates")
    if isinstance(place, dict):
        return coordinates(place.get("latitude"), place.get("longitude"))
    return coordinates(fields.get("latitude"), fields.get("longitude"))


def _name_of(fields: Fields) -> str | None:
    details = fields.get("operator")
    if isinstance(details, dict):
        return Fields(details, fields.notes).text("name")
    return fields.text("operator_name")


def _opening_of(fields: Fields) -> str | None:
    """Opening hours in OpenStreetMap's notation; exceptional days are not kept."""
    if fields.yes("twenty_four_seven") is True:
        return ALL_HOURS
    times = fields.get("opening_times")
    if not isinstance(times, dict):
        return None
    values = snake_keys(times)
    if values.get("twentyfourseven") is True:
        return ALL_HOURS
    regular = values.get("regular_hours")
    parts: list[str] = []
    for hours in regular if isinstance(regular, list) else []:
        each = snake_keys(hours) if isinstance(hours, dict) else {}
        day, begin, end = (each.get(k) for k in ("weekday", "period_begin", "period_end"))
        if (
            not (isinstance(day, int) and 1 <= day <= 7)
            or not (isinstance(begin, str) and _HOUR.fullmatch(begin))
            or not (isinstance(end, str) and _HOUR.fullmatch(end))
        ):
            fields.note("opening_times.regular_hours", "not weekday, begin and end, left out")
            return None
        parts.append(f"{_DAYS[day]} {begin}-{end}")
    return "; ".join(parts) or None


def _capabilities_of(fields: Fields) -> tuple[str, ...]:
    told = fields.get("capabilities")
    if told is None:
        return ()
    if not isinstance(told, list):
        fields.note("capabilities", "not a list, left out")
        return ()
    known = {word for word in told if isinstance(word, str) and word in CAPABILITIES}
    if any(word not in known for word in told if isinstance(word, str)):
        fields.note("capabilities", "not a word of the specification, left out")
    return tuple(sorted(known))


def _connectors_of(fields: Fields) -> tuple[Connector, ...]:
    told = fields.get("connectors")
    if not isinstance(told, list):
        fields.note("connectors", "not a list, left out")
        return ()
    connectors: list[Connector] = []
    for position, thing in enumerate(told, start=1):
        if not isinstance(thing, dict):
            fields.note("connector", "not a JSON object, left out")
            continue
        each = Fields(snake_keys(thing), fields.notes)
        standard = each.one_of(CONNECTOR_TYPES, "standard")
        if standard is None:
            if each.get("standard") is None:
                each.note("standard", "missing, connector left out")
            continue
        power_type = each.one_of(POWER_TYPES, "power_type")
        connectors.append(
            Connector(
                id=each.text("id", most=36) or str(position),
                standard=standard,
                format=each.one_of(CONNECTOR_FORMATS, "format"),
                power_type=power_type,
                max_electric_power_w=_power_of(each, power_type),
            )
        )
    if not connectors:
        fields.note("connectors", "none of a known type")
    return tuple(connectors)


def _power_of(fields: Fields, power_type: str | None) -> int | None:
    """`max_electric_power`, else what voltage and current give.

    OCPI wants `max_electric_power` set where it is lower than that product; so where it is not set,
    the product is meant.
    """
    told = fields.number("max_electric_power")
    if told is not None:
        return fields.power_w(told, "max_electric_power")
    voltage, amperage = fields.number("max_voltage"), fields.number("max_amperage")
    if not voltage or not amperage or power_type is None:
        return None
    if power_type == "AC_3_PHASE":
        lines = math.sqrt(3) if voltage > _LINE_TO_NEUTRAL_MOST_V else 3.0
    else:
        lines = 2.0 if power_type.startswith("AC_2_PHASE") else 1.0
    return fields.power_w(voltage * amperage * lines, "max_voltage x max_amperage")


def snake_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """`postalCode` as `postal_code`; where both are there, the specification's spelling counts."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        snake = _snake(key)
        if snake == key or snake not in values:
            out[snake] = value
    return out


@lru_cache(maxsize=4096)
def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower()
