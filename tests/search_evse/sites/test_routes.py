"""An operator provides its master data over HTTP."""

from __future__ import annotations

import gzip
import json

import pytest
from fastapi import FastAPI

from kit import problem
from kit.database import Database
from kit.http import Answer, call_asgi
from roaming.party import PartyId
from search_evse.sites import routes
from search_evse.sites.store import SqlBooks
from tests.search_evse.cuts import DUTCH, clock, dutch_locations, let_in

TNM = PartyId("NL*TNM")


@pytest.fixture
def app(database: Database) -> FastAPI:
    app = FastAPI()
    problem.install(app)
    app.include_router(routes.router(SqlBooks(database), clock, database))
    return app


async def post(
    app: FastAPI, body: object, *, role: str = "evse-operator", key: str | None = None
) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if key is None else {"idempotency-key": key}
    return await call_asgi(
        let_in(app, TNM, role), "POST", "/locations", body=content, headers=headers
    )


async def test_an_operator_provides_its_locations(app: FastAPI) -> None:
    answer = await post(app, dutch_locations()[:2])
    assert answer.status == 200
    report = json.loads(answer.body)
    assert (report["read"], report["created"], report["rejected"]) == (4, 2, 2)
    assert report["examples"][0] == {
        "line": 2,
        "field": "evse_id",
        "value": "NL.SPI.ECO01064*1",
        "rule": "must be an EVSE id of eMI3, as FR*PD1*E123, or of DIN SPEC 91286",
    }


async def test_json_lines_are_taken_too_and_evses_of_others_are_not(app: FastAPI) -> None:
    report = json.loads((await post(app, DUTCH.read_bytes())).body)
    assert (report["read"], report["created"]) == (27, 2)
    assert report["reasons"]["evse_id: must be an EVSE of the party that provides it"] == 21


async def test_only_an_operator_provides(app: FastAPI) -> None:
    assert (await post(app, dutch_locations(), role="evsp")).status == 403
    assert (await call_asgi(app, "POST", "/locations", body=b"[]")).status == 401


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b'{"a": 1}', gzip.compress(b"[]", mtime=0), b"id_pdc_itinerance\nFRTNME1\n"],
)
async def test_what_is_no_location_is_refused(app: FastAPI, body: bytes) -> None:
    answer = await post(app, body)
    assert answer.status == 422
    assert json.loads(answer.body)["field"] in ("file", "body")


async def test_the_same_key_gives_the_same_answer(app: FastAPI) -> None:
    first = await post(app, dutch_locations()[:1], key="k1")
    again = await post(app, dutch_locations()[:1], key="k1")
    without = await post(app, dutch_locations()[:1])
    assert json.loads(again.body) == json.loads(first.body)
    assert json.loads(without.body)["unchanged"] == 2


async def test_a_body_beyond_the_limit_is_refused(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "BODY_MOST_BYTES", 100)
    assert (await post(app, dutch_locations())).status == 413
