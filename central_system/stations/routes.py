"""HTTP for an operator's charge points: enrol them, look at them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from central_system.stations import flows
from central_system.stations.model import STATIONS_AT_ONCE, Enrolment, Station, enrolment
from central_system.stations.ports import Stations
from kit.clock import Clock
from kit.http import Caller, caller_of, page_link


class StationAsked(BaseModel):
    """`connectors`: EVSE id by connector number. Without `password` a new station gets one."""

    model_config = ConfigDict(extra="forbid")

    charge_point: str
    connectors: dict[str, str]
    password: str | None = None

    def to_enrolment(self) -> Enrolment:
        return enrolment(self.charge_point, self.connectors, self.password)


class StationKept(BaseModel):
    """`password` is told once, when the hub made it; nobody can look it up later."""

    charge_point: str
    created: bool
    changed: bool
    password: str | None


class ConnectorShown(BaseModel):
    """`status` and `error_code` in the words of OCPP 1.6; `status_at` by the station's clock."""

    connector_id: int
    evse_id: str | None
    status: str | None
    error_code: str | None
    status_at: datetime | None


class StationShown(BaseModel):
    charge_point: str
    connected: bool
    last_seen_at: datetime | None
    booted_at: datetime | None
    vendor: str | None
    model: str | None
    firmware: str | None
    connectors: list[ConnectorShown]

    @classmethod
    def of(cls, station: Station) -> StationShown:
        return cls(
            charge_point=station.ref.charge_point,
            connected=station.connected,
            last_seen_at=station.last_seen_at,
            booted_at=station.booted_at,
            vendor=station.vendor,
            model=station.model,
            firmware=station.firmware,
            connectors=[
                ConnectorShown(
                    connector_id=one.connector_id,
                    evse_id=None if one.evse_id is None else one.evse_id.display,
                    status=one.status,
                    error_code=one.error_code,
                    status_at=one.status_at,
                )
                for one in station.connectors
            ],
        )


class StationPage(BaseModel):
    stations: list[StationShown]


def _operator(request: Request) -> Caller:
    caller = caller_of(request)
    caller.must_be("evse-operator")
    return caller


Operator = Annotated[Caller, Depends(_operator)]


def router(stations: Stations, clock: Clock) -> APIRouter:
    """`/central-system/stations`, for EVSE operators, each for its own charge points."""
    routes = APIRouter(prefix="/central-system", tags=["central-system"])

    @routes.put("/stations", operation_id="put-stations")
    async def put_stations(
        asked: Annotated[list[StationAsked], Field(min_length=1, max_length=STATIONS_AT_ONCE)],
        caller: Operator,
        response: Response,
    ) -> list[StationKept]:
        """Enrol charge points, all of them or none; those that are known are brought up to date.

        A lost answer with new passwords in it is mended by giving passwords of one's own.
        """
        # Passwords are in the answer: no cache on the way may keep it.
        response.headers["Cache-Control"] = "no-store"
        enrolments = [one.to_enrolment() for one in asked]
        outcome = await flows.enrol(stations, caller.party, enrolments, clock())
        return [
            StationKept(
                charge_point=one.charge_point,
                created=one.created,
                changed=one.changed,
                password=one.password,
            )
            for one in outcome
        ]

    @routes.get("/stations", operation_id="list-stations")
    async def list_stations(
        request: Request,
        caller: Operator,
        response: Response,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        cursor: Annotated[str, Query(max_length=48)] = "",
    ) -> StationPage:
        """The caller's charge points by name: connected or not, last seen, connectors' status."""
        after = cursor.replace("\0", "")
        page = await stations.page(caller.party, after=after, limit=limit, now=clock())
        more = page[-1].ref.charge_point if len(page) == limit else None
        response.headers.update(page_link(request, more))
        return StationPage(stations=[StationShown.of(one) for one in page])

    return routes
