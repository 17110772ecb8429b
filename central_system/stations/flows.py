"""Who may speak as a charge point, and how an operator enrols its charge points."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from central_system.stations.model import (
    Enrolled,
    Enrolment,
    Station,
    StationRef,
    UnknownStation,
    WrongPassword,
    without_doubles,
)
from central_system.stations.ports import Stations
from roaming.party import PartyId


async def enrol(
    stations: Stations, operator: PartyId, asked: Sequence[Enrolment], now: datetime
) -> list[Enrolled]:
    """Know these charge points from now on, all of them or none. BadStation, EvseTaken.

    A charge point that is known gets its connectors anew, and its password if one is given.
    """
    without_doubles(asked)
    return await stations.enrol(operator, asked, now)


async def admit(
    stations: Stations, ref: StationRef, credentials: tuple[str, bytes] | None
) -> Station:
    """The station that may speak (OCPP 1.6 security profile 1: HTTP Basic, its identity as user).

    UnknownStation before WrongPassword: OCPP-J 1.6 section 3.2 wants 404 for an unknown identity.
    """
    station = await stations.find(ref)
    if station is None:
        raise UnknownStation(
            f"{ref.operator} has no charge point of this name",
            field="charge_point",
            value=ref.charge_point,
            rule="enrolled with PUT /central-system/stations",
        )
    if credentials is None:
        raise WrongPassword("no password", field="Authorization", rule="HTTP Basic")
    user, password = credentials
    if user != ref.charge_point or not station.password.matches(password):
        raise WrongPassword(
            "not the name and password of this charge point",
            field="Authorization",
            rule="HTTP Basic: the charge point's identity and its password",
        )
    return station
