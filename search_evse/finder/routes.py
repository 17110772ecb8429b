"""The finder over HTTP: search, and one EVSE. Whoever has a contract may ask."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from kit.http import caller_of, page_link
from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.refusal import Malformed, Unknown
from search_evse.finder import model
from search_evse.finder.model import BadQuery, EvseFound, Point
from search_evse.finder.ports import Finder
from search_evse.sites.model import CAPABILITIES, CONNECTOR_TYPES, Status, folded

_RADIUS_MOST_M = 20_040_000
_WORDS_MOST = 10


class NoSuchEvse(Unknown):
    """No operator has told us of this EVSE, or none that the caller may know of."""


class PlaceShown(BaseModel):
    latitude: float
    longitude: float


class ConnectorShown(BaseModel):
    id: str
    standard: str
    format: str | None
    power_type: str | None
    max_electric_power_w: int | None


class SiteShown(BaseModel):
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


class EvseShown(BaseModel):
    """`distance_m` along the great circle, where `near` was asked."""

    evse_id: str
    operator: str
    status: Status
    status_at: datetime
    distance_m: float | None
    coordinates: PlaceShown
    connectors: list[ConnectorShown]
    capabilities: list[str]
    uid: str | None
    physical_reference: str | None
    floor_level: str | None
    last_updated: datetime
    site: SiteShown

    @classmethod
    def of(cls, found: EvseFound) -> EvseShown:
        site = found.site
        return cls(
            evse_id=found.evse_id.display,
            operator=found.operator,
            status=found.status,
            status_at=found.status_at,
            distance_m=None if found.distance_m is None else round(found.distance_m, 1),
            coordinates=PlaceShown(latitude=found.place.latitude, longitude=found.place.longitude),
            connectors=[
                ConnectorShown(
                    id=connector.id,
                    standard=connector.standard,
                    format=connector.format,
                    power_type=connector.power_type,
                    max_electric_power_w=connector.max_electric_power_w,
                )
                for connector in found.connectors
            ],
            capabilities=list(found.capabilities),
            uid=found.uid,
            physical_reference=found.physical_reference,
            floor_level=found.floor_level,
            last_updated=found.last_updated,
            site=SiteShown(
                id=site.id,
                name=site.name,
                operator_name=site.operator_name,
                address=site.address,
                city=site.city,
                postal_code=site.postal_code,
                country=site.country,
                time_zone=site.time_zone,
                opening=site.opening,
                access=site.access,
            ),
        )


class PageShown(BaseModel):
    """`next` is the cursor of the next page, as in the Link header; null on the last one."""

    evses: list[EvseShown]
    next: str | None


class Search(BaseModel):
    """The search criteria. Lists are parted by commas; a parameter not listed here is refused."""

    model_config = {"extra": "forbid"}

    near: str | None = None
    radius_m: Annotated[float | None, Query(gt=0, le=_RADIUS_MOST_M)] = None
    connector: str | None = None
    min_power_w: Annotated[int | None, Query(ge=0, le=100_000_000)] = None
    operator: str | None = None
    status: str | None = None
    capability: str | None = None
    open_all_hours: bool = False
    city: str | None = None
    postal_code: str | None = None
    q: str | None = None
    limit: Annotated[int, Query(ge=1, le=model.LIMIT_MOST)] = 50
    cursor: str | None = None

    def to_query(self) -> model.Query:
        return model.Query(
            limit=self.limit,
            near=None if self.near is None else _point(self.near),
            radius_m=self.radius_m,
            connectors=_words_of("connector", self.connector, CONNECTOR_TYPES),
            min_power_w=self.min_power_w,
            operators=frozenset(_party(told) for told in _split("operator", self.operator)),
            statuses=frozenset(
                Status(word) for word in _words_of("status", self.status, _SEARCHED)
            ),
            capabilities=_words_of("capability", self.capability, CAPABILITIES),
            open_all_hours=self.open_all_hours,
            city=None if self.city is None else _text("city", self.city),
            postal_code=None
            if self.postal_code is None
            else _text("postal_code", self.postal_code),
            words=() if self.q is None else tuple(_text("q", self.q).split()[:_WORDS_MOST]),
            after=None if self.cursor is None else model.read_cursor(self.cursor),
        )


_SEARCHED = frozenset(status.value for status in Status if status is not Status.REMOVED)


def _point(told: str) -> Point:
    rule = "latitude,longitude in decimal degrees, as 48.85,2.35"
    try:
        latitude, longitude = (float(part) for part in told.split(","))
    except ValueError:
        raise BadQuery("near is not a place", field="near", value=told, rule=rule) from None
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise BadQuery("near is not in the world", field="near", value=told, rule=rule)
    return Point(latitude, longitude)


def _split(name: str, told: str | None) -> list[str]:
    if told is None:
        return []
    parts = [part.strip() for part in told.split(",")]
    if not all(parts):
        raise BadQuery(f"{name} is empty", field=name, value=told, rule="one or more, by commas")
    return parts


def _party(told: str) -> PartyId:
    try:
        return PartyId(told)
    except Malformed as refusal:
        raise BadQuery(refusal.detail, field="operator", value=told, rule=refusal.rule) from None


def _words_of(name: str, told: str | None, allowed: frozenset[str]) -> frozenset[str]:
    words = frozenset(word.upper() for word in _split(name, told))
    for word in words - allowed:
        rule = f"one of: {', '.join(sorted(allowed))}"
        raise BadQuery(f"{name} {word!r} is not known", field=name, value=word, rule=rule)
    return words


def _text(name: str, told: str) -> str:
    text = folded(told)
    if not text:
        raise BadQuery(f"{name} has no word in it", field=name, value=told, rule="a word or more")
    return text


def router(finder: Finder) -> APIRouter:
    """The finder's routes, relative to the service's root."""
    routes = APIRouter(tags=["search-evse: finder"])

    @routes.get("/evses")
    async def search_evses(
        asked: Annotated[Search, Query()], request: Request, response: Response
    ) -> PageShown:
        """Find EVSEs: nearest first where `near` is given, else by EVSE id."""
        caller_of(request)
        page = await finder.search(asked.to_query())
        following = None if page.after is None else model.write_cursor(page.after)
        response.headers.update(page_link(request, following))
        return PageShown(evses=[EvseShown.of(found) for found in page.found], next=following)

    @routes.get("/evses/{evse_id}")
    async def look_up_evse(evse_id: str, request: Request) -> EvseShown:
        """One EVSE by its id, with or without separators; a removed one, too."""
        caller = caller_of(request)
        found = await finder.look_up(EvseId(evse_id), asker=caller.party)
        if found is None:
            raise NoSuchEvse(
                f"{evse_id} is not known here", field="evse_id", value=evse_id, rule="a known EVSE"
            )
        return EvseShown.of(found)

    return routes
