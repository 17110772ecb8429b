"""Status reports over HTTP."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from fastapi import FastAPI

from kit import problem
from kit.database import Database
from kit.http import Answer, call_asgi
from roaming.party import PartyId
from search_evse.availability import routes
from search_evse.availability.store import SqlBoards
from search_evse.sites.model import Intake
from search_evse.sites.store import SqlBooks
from tests.search_evse.cuts import FAST, NOW, OTHER, clock, let_in, told


@pytest.fixture
async def app(database: Database) -> FastAPI:
    row = told("NL*FAS*E1", last_updated=NOW - timedelta(hours=2))
    async with SqlBooks(database).open() as book:
        await book.write(Intake(now=NOW).take([row], {}).changes)
    app = FastAPI()
    problem.install(app)
    app.include_router(routes.router(SqlBoards(database), clock))
    return app


async def put(
    app: FastAPI,
    body: object,
    *,
    evse_id: str = "NL*FAS*E1",
    party: PartyId = FAST,
    role: str = "evse-operator",
) -> Answer:
    return await call_asgi(
        let_in(app, party, role),
        "PUT",
        f"/evses/{evse_id}/status",
        headers={"content-type": "application/json"},
        body=json.dumps(body).encode(),
    )


async def test_an_operator_reports_a_status(app: FastAPI) -> None:
    answer = await put(app, {"status": "CHARGING", "at": "2026-08-01T13:30:00+02:00"})
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "evse_id": "NL*FAS*E1",
        "status": "CHARGING",
        "at": "2026-08-01T11:30:00Z",
    }


async def test_without_a_time_it_is_so_now_and_a_later_report_of_before_is_ignored(
    app: FastAPI,
) -> None:
    assert json.loads((await put(app, {"status": "OUTOFORDER"})).body)["at"] == (
        "2026-08-01T12:00:00Z"
    )
    late = await put(app, {"status": "AVAILABLE", "at": "2026-08-01T11:59:00Z"})
    assert (late.status, json.loads(late.body)["status"]) == (200, "OUTOFORDER")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "Charging"},
        {"status": "CHARGING", "at": "2026-08-01T11:30:00"},
        {"status": "CHARGING", "at": "2027-08-01T11:30:00Z"},
        {"status": "CHARGING", "since": "2026-08-01T11:30:00Z"},
        [],
    ],
)
async def test_a_report_that_breaks_its_rules_is_refused(app: FastAPI, body: object) -> None:
    answer = await put(app, body)
    assert answer.status == 422
    assert json.loads(answer.body)["field"]


async def test_only_the_operator_of_the_evse_reports(app: FastAPI) -> None:
    told_off = await put(app, {"status": "CHARGING"}, party=OTHER)
    assert told_off.status == 403
    assert json.loads(told_off.body)["type"].endswith("/evse-of-another")
    assert (await put(app, {"status": "CHARGING"}, role="evsp")).status == 403
    outside = await call_asgi(
        app,
        "PUT",
        "/evses/NL*FAS*E1/status",
        headers={"content-type": "application/json"},
        body=b'{"status": "CHARGING"}',
    )
    assert outside.status == 401


async def test_an_evse_that_nobody_provided_is_unknown(app: FastAPI) -> None:
    assert (await put(app, {"status": "CHARGING"}, evse_id="NL*FAS*E2")).status == 404


async def post(app: FastAPI, statuses: object, *, role: str = "evse-operator") -> Answer:
    return await call_asgi(
        let_in(app, FAST, role),
        "POST",
        "/statuses",
        headers={"content-type": "application/json"},
        body=json.dumps({"statuses": statuses}).encode(),
    )


async def test_many_statuses_are_taken_each_by_itself_and_in_order(app: FastAPI) -> None:
    told_at = "2026-08-01T11:30:00Z"
    answer = await post(
        app,
        [
            {"evse_id": "NL*STR*E1", "status": "CHARGING"},
            {"evse_id": "no id", "status": "CHARGING"},
            {"evse_id": "NLFASE1", "status": "CHARGING", "at": told_at},
            {"evse_id": "NL*FAS*E1", "status": "BLOCKED", "at": "2026-08-01T11:00:00Z"},
            {"evse_id": "NL*FAS*E1", "status": "BLOCKED", "at": "2027-08-01T11:00:00Z"},
        ],
    )
    assert answer.status == 200
    taken = json.loads(answer.body)["statuses"]
    assert taken[2] == taken[3]
    assert taken[2] == {
        "evse_id": "NL*FAS*E1",
        "status": "CHARGING",
        "at": told_at,
        "problem": None,
    }
    why = [None if one["problem"] is None else one["problem"]["type"] for one in taken]
    assert [one and one.rpartition("/")[2] for one in why] == [
        *("no-such-evse", "bad-identifier", None, None, "status-in-the-future"),
    ]


@pytest.mark.parametrize(
    "statuses",
    [
        [],
        [{"evse_id": "NL*FAS*E1"}],
        [{"evse_id": "NL*FAS*E1", "status": "CHARGING", "since": 1}],
        [{"evse_id": "NL*FAS*E1", "status": "CHARGING"}] * 1001,
    ],
    ids=["none", "without-status", "with-more", "too-many"],
)
async def test_statuses_that_cannot_be_read_are_refused_as_a_whole(
    app: FastAPI, statuses: object
) -> None:
    assert (await post(app, statuses)).status == 422


async def test_statuses_are_the_operators_to_tell(app: FastAPI) -> None:
    one = [{"evse_id": "NL*FAS*E1", "status": "CHARGING"}]
    assert (await post(app, one, role="evsp")).status == 403
