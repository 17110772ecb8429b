"""Enrolling charge points over HTTP: bulk, again, for oneself alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.types import Receive, Scope, Send

from central_system.stations import flows, routes
from central_system.stations.model import StationRef, WrongPassword
from central_system.stations.store import SqlStations
from kit import problem
from kit.clock import utc_now
from kit.database import Database
from kit.http import CALLER, Caller
from roaming.party import PartyId
from tests.central_system.fakes import OPERATOR, OTHER


@pytest.fixture
def stations(database: Database) -> SqlStations:
    return SqlStations(database)


@pytest.fixture
async def client(stations: SqlStations) -> AsyncIterator[AsyncClient]:
    inner = FastAPI()
    problem.install(inner)
    inner.include_router(routes.router(stations, utc_now))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if "party" in headers:
            party = PartyId(headers["party"])
            roles = frozenset(headers.get("roles", "evse-operator").split())
            scope[CALLER] = Caller(party, roles, "client", None, "request")
        await inner(scope, receive, send)

    async with AsyncClient(
        transport=ASGITransport(app), base_url="http://house", headers={"party": OPERATOR}
    ) as client:
        yield client


def asked(name: str, evse: str = "FR*PD1*E1", **more: Any) -> dict[str, Any]:
    return {"charge_point": name, "connectors": {"1": evse}, **more}


async def put(client: AsyncClient, *stations: dict[str, Any], **headers: str) -> Any:
    answer = await client.put("/central-system/stations", json=stations, headers=headers)
    return answer.json()


async def admits(stations: SqlStations, name: str, password: str) -> bool:
    ref = StationRef(OPERATOR, name)
    try:
        await flows.admit(stations, ref, (name, password.encode()))
    except WrongPassword:
        return False
    return True


async def test_a_new_station_is_told_its_password_once(
    client: AsyncClient, stations: SqlStations
) -> None:
    (first,) = await put(client, asked("CP1"))
    assert first["created"]
    assert await admits(stations, "CP1", first["password"])
    (second,) = await put(client, asked("CP1"))
    assert second == {"charge_point": "CP1", "created": False, "changed": False, "password": None}
    assert await admits(stations, "CP1", first["password"])


async def test_a_given_password_replaces_the_one_before(
    client: AsyncClient, stations: SqlStations
) -> None:
    (first,) = await put(client, asked("CP1"))
    (second,) = await put(client, asked("CP1", password="a password of mine"))
    assert second["password"] is None
    assert await admits(stations, "CP1", "a password of mine")
    assert not await admits(stations, "CP1", first["password"])


async def test_five_thousand_stations_are_enrolled_in_one_call_and_one_event(
    client: AsyncClient, database: Database
) -> None:
    many = [asked(f"CP{n:04}", f"FR*PD1*E{n}") for n in range(5_000)]
    answers = await put(client, *many)
    assert len({one["password"] for one in answers}) == 5_000
    rows = await database.pool.fetch("SELECT body FROM kit.event WHERE type = 'station-enrolled'")
    assert [row["body"]["created"] for row in rows] == [5_000]
    assert answers[0]["password"] not in str(rows[0]["body"])
    refused = await put(client, *many, asked("ONE-MORE", "FR*PD1*E9999"))
    assert refused["status"] == 422


async def test_one_bad_station_enrols_none(client: AsyncClient) -> None:
    refused = await put(client, asked("CP1"), asked("CP:2", "FR*PD1*E2"))
    assert (refused["status"], refused["field"], refused["value"]) == (422, "charge_point", "CP:2")
    page = (await client.get("/central-system/stations")).json()
    assert page == {"stations": []}


async def test_an_evse_has_one_charge_point_and_may_move(client: AsyncClient) -> None:
    await put(client, asked("CP1"))
    taken = await put(client, asked("CP2"))
    assert (taken["status"], taken["type"].rpartition("/")[2]) == (409, "evse-taken")
    swapped = await put(client, asked("CP1", "FR*PD1*E2"), asked("CP2"))
    assert [one["created"] for one in swapped] == [False, True]
    page = (await client.get("/central-system/stations")).json()["stations"]
    assert [one["connectors"][1]["evse_id"] for one in page] == ["FR*PD1*E2", "FR*PD1*E1"]


async def test_connectors_that_are_gone_are_gone(client: AsyncClient) -> None:
    both = {"1": "FR*PD1*E1", "2": "FR*PD1*E2"}
    await put(client, {"charge_point": "CP1", "connectors": both})
    await put(client, asked("CP1"))
    (shown,) = (await client.get("/central-system/stations")).json()["stations"]
    assert [one["connector_id"] for one in shown["connectors"]] == [0, 1]


async def test_an_operator_sees_and_changes_its_own_stations_alone(
    client: AsyncClient, stations: SqlStations
) -> None:
    await put(client, asked("CP1", password="the first one's own"))
    await put(client, asked("CP1", password="the other one's own"), party=OTHER)
    assert await admits(stations, "CP1", "the first one's own")
    others = await client.get("/central-system/stations", headers={"party": OTHER})
    assert len(others.json()["stations"]) == 1


async def test_pages_follow_each_other_to_the_end(client: AsyncClient) -> None:
    await put(client, *(asked(f"CP{n}", f"FR*PD1*E{n}") for n in range(5)))
    found, path = [], "/central-system/stations?limit=2"
    while path:
        answer = await client.get(path)
        found += [one["charge_point"] for one in answer.json()["stations"]]
        path = answer.links.get("next", {}).get("url", "")
    assert found == [f"CP{n}" for n in range(5)]


async def test_only_evse_operators_have_charge_points(client: AsyncClient) -> None:
    refused = await put(client, asked("CP1"), roles="evsp")
    assert refused["status"] == 403
    listed = await client.get("/central-system/stations", headers={"roles": "evsp dso"})
    assert listed.status_code == 403
    del client.headers["party"]
    assert (await client.get("/central-system/stations")).status_code == 401


async def test_an_answer_with_passwords_is_not_to_be_cached(client: AsyncClient) -> None:
    answer = await client.put("/central-system/stations", json=[asked("CP1")])
    assert answer.headers["cache-control"] == "no-store"
