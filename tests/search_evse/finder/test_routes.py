"""The finder over HTTP: its wire shape, its pages, and how it says no."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI

from kit import problem
from kit.database import Database
from kit.http import Answer, call_asgi
from search_evse.finder import routes
from search_evse.finder.store import SqlFinder
from search_evse.sites.model import Connector, Intake, Status
from search_evse.sites.store import SqlBooks
from tests.search_evse.cuts import FAST, NOW, OTHER, let_in, told

COMBO = Connector("1", "IEC_62196_T2_COMBO", "CABLE", "DC", 150_000)


@pytest.fixture
async def app(database: Database) -> FastAPI:
    rows = [told(f"NL*FAS*E{n}", 52 + n / 100, 5, connectors=(COMBO,)) for n in range(5)]
    rows.append(told("NL*FAS*E9", 52, 5, published=False))
    async with SqlBooks(database).open() as book:
        await book.write(Intake(now=NOW).take(rows, {}).changes)
    app = FastAPI()
    problem.install(app)
    app.include_router(routes.router(SqlFinder(database)))
    return app


async def get(app: FastAPI, path: str = "/evses", *, query: str = "", **asked: object) -> Answer:
    shown = query or urlencode(asked)
    return await call_asgi(let_in(app, OTHER, "evsp"), "GET", path, query=shown)


async def found(app: FastAPI, **asked: object) -> list[dict[str, Any]]:
    answer = await get(app, query=urlencode(asked))
    assert answer.status == 200, answer.body
    evses: list[dict[str, Any]] = json.loads(answer.body)["evses"]
    return evses


async def test_the_call_of_the_interface_is_answered(app: FastAPI) -> None:
    evses = await found(
        app,
        near="52.001,5",
        radius_m=5000,
        connector="IEC_62196_T2_COMBO",
        min_power_w=50000,
        operator="NL*FAS",
        status="AVAILABLE",
        limit=50,
    )
    assert [evse["evse_id"] for evse in evses] == [f"NL*FAS*E{number}" for number in range(5)]
    assert evses[0] == {
        "evse_id": "NL*FAS*E0",
        "operator": "NL*FAS",
        "status": "AVAILABLE",
        "status_at": "2026-08-01T12:00:00Z",
        "distance_m": 111.2,
        "coordinates": {"latitude": 52.0, "longitude": 5.0},
        "connectors": [
            {
                "id": "1",
                "standard": "IEC_62196_T2_COMBO",
                "format": "CABLE",
                "power_type": "DC",
                "max_electric_power_w": 150_000,
            }
        ],
        "capabilities": [],
        "uid": None,
        "physical_reference": None,
        "floor_level": None,
        "last_updated": "2026-08-01T12:00:00Z",
        "site": {
            "id": "site of NLFASE0",
            "name": "Plein",
            "operator_name": None,
            "address": None,
            "city": None,
            "postal_code": None,
            "country": "NL",
            "time_zone": "Europe/Amsterdam",
            "opening": None,
            "access": None,
        },
    }


async def test_lists_by_commas_and_any_case(app: FastAPI) -> None:
    assert len(await found(app, status="charging,available", operator="nlfas,DE-ABC")) == 5
    assert await found(app, status="CHARGING,RESERVED") == []


@pytest.mark.parametrize("asked", [{}, {"near": "52,5"}])
async def test_the_link_header_leads_to_the_last_page(app: FastAPI, asked: dict[str, str]) -> None:
    query = urlencode({**asked, "limit": 2})
    ids: list[str] = []
    sizes: list[int] = []
    while query:
        answer = await get(app, query=query)
        body = json.loads(answer.body)
        ids += [evse["evse_id"] for evse in body["evses"]]
        sizes.append(len(body["evses"]))
        link = answer.headers.get("link", "")
        assert bool(link) == (body["next"] is not None)
        query = link.partition("?")[2].partition(">")[0]
    assert sizes == [2, 2, 1]
    assert ids == [f"NL*FAS*E{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"near": "52"}, "near"),
        ({"near": "52,5,1"}, "near"),
        ({"near": "here,there"}, "near"),
        ({"near": "91,5"}, "near"),
        ({"near": "nan,5"}, "near"),
        ({"near": "52,5", "radius_m": "-1"}, "radius_m"),
        ({"near": "52,5", "radius_m": "nan"}, "radius_m"),
        ({"radius_m": "100"}, "radius_m"),
        ({"connector": "USB"}, "connector"),
        ({"connector": ","}, "connector"),
        ({"min_power_w": "much"}, "min_power_w"),
        ({"min_power_w": "99999999999"}, "min_power_w"),
        ({"operator": "Fastned"}, "operator"),
        ({"status": "REMOVED"}, "status"),
        ({"capability": "FLYING"}, "capability"),
        ({"open_all_hours": "perhaps"}, "open_all_hours"),
        ({"city": "--"}, "city"),
        ({"postal_code": "%_"}, "postal_code"),
        ({"q": "!"}, "q"),
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"conector": "CHADEMO"}, "conector"),
    ],
)
async def test_a_parameter_that_cannot_be_meant_is_named(
    app: FastAPI, asked: dict[str, str], field: str
) -> None:
    answer = await get(app, **asked)
    assert answer.status == 422
    assert json.loads(answer.body)["field"].rpartition(".")[2] == field


@pytest.mark.parametrize("shown", ["NL*FAS*E1", "nl-fas-e1", "NLFASE1"])
async def test_an_evse_is_looked_up_by_any_spelling(app: FastAPI, shown: str) -> None:
    answer = await get(app, f"/evses/{shown}")
    assert answer.status == 200
    assert json.loads(answer.body)["evse_id"] == "NL*FAS*E1"


async def test_an_evse_that_is_unknown_or_not_for_the_caller_is_not_there(app: FastAPI) -> None:
    assert (await get(app, "/evses/NL*FAS*E99")).status == 404
    assert (await get(app, "/evses/NL*FAS*E9")).status == 404
    own = await call_asgi(let_in(app, FAST, "evse-operator"), "GET", "/evses/NL*FAS*E9")
    assert own.status == 200
    assert (await get(app, "/evses/garbage")).status == 422


@pytest.mark.parametrize("path", ["/evses", "/evses/NL*FAS*E1"])
async def test_nobody_asks_without_having_come_through_the_door(app: FastAPI, path: str) -> None:
    assert (await call_asgi(app, "GET", path)).status == 401


async def test_statuses_that_can_be_asked_are_all_but_removed(app: FastAPI) -> None:
    for status in Status:
        answer = await get(app, status=status.value)
        assert answer.status == (422 if status is Status.REMOVED else 200)
