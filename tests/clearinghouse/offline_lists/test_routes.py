"""Offline lists over HTTP: their shapes, their pages, and who may ask."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from ocpp.messages import Call, validate_payload

from clearinghouse.customers import routes as customer_routes
from clearinghouse.customers.store import SqlCustomers
from clearinghouse.offline_lists import routes
from clearinghouse.offline_lists.model import Shares
from clearinghouse.offline_lists.store import SqlOfflineLists
from kit import problem
from kit.database import Database
from kit.http import CALLER, Answer, Caller, call_asgi
from roaming.contract_id import ContractId
from roaming.party import PartyId

NOW = datetime(2025, 1, 7, tzinfo=UTC)
EVSP, OPERATOR = "FR*XYZ", "FR*PD1"


class Agreed:
    def partners(self, operator: PartyId, at: datetime) -> Shares:
        return {PartyId(EVSP): None} if operator == OPERATOR else {}


@pytest.fixture
async def app(database: Database) -> FastAPI:
    app = FastAPI()
    problem.install(app)
    app.include_router(
        routes.router(SqlOfflineLists(database), Agreed(), database, clock=lambda: NOW)
    )
    app.include_router(customer_routes.router(SqlCustomers(database), database, lambda: NOW))
    lines = [
        {"contract_id": f"FRXYZ00000000{n}", "token_uids": [uid], "valid_until": until}
        for n, uid, until in (
            (1, "A1", None),
            (2, "B" * 21, None),
            (3, "C3", "2026-01-01T00:00:00Z"),
        )
    ]
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    assert (await call(app, "POST", "/customer-contracts/bulk", body, party=EVSP)).status == 200
    answer = await call(app, "PUT", "/offline-consents/all", {"consent": True}, party=EVSP)
    assert (answer.status, told(answer)) == (200, {"operator": "all", "consent": True})
    return app


async def call(
    app: FastAPI,
    method: str,
    path: str,
    body: Any = None,
    *,
    party: str = OPERATOR,
    query: str = "",
    accept: str = "application/json",
) -> Answer:
    role = "evsp" if party == EVSP else "evse-operator"
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return await call_asgi(
        app,
        method,
        path,
        headers={"content-type": "application/json", "accept": accept},
        body=raw,
        query=query,
        extra_scope={CALLER: Caller(PartyId(party), frozenset({role}), "client", None, "request")},
    )


def told(answer: Answer) -> Any:
    return json.loads(answer.body)


async def test_a_list_goes_on_by_its_link(app: FastAPI) -> None:
    query, uids = "limit=1", []
    for _ in range(10):
        page = await call(app, "GET", "/offline-list", query=query)
        assert (told(page)["version"], told(page)["update_type"]) == (1, "full")
        uids += [one["token_uid"] for one in told(page)["entries"]]
        if "link" not in page.headers:
            break
        link = page.headers["link"]
        query = link[link.index("?") + 1 : link.index(">")]
    assert uids == ["A1", "B" * 21, "C3"]


async def test_a_whole_list_comes_as_a_stream_that_says_its_end(app: FastAPI) -> None:
    answer = await call(app, "GET", "/offline-list", query="limit=1", accept="application/x-ndjson")
    first, *entries, last = [json.loads(line) for line in answer.body.splitlines()]
    assert first == {"version": 1, "update_type": "full"}
    assert [one["token_uid"] for one in entries] == ["A1", "B" * 21, "C3"]
    assert last == {"complete": True, "entries": 3, "removed": 0}


async def test_the_ocpp_16_shape_is_a_message_that_the_specifications_schema_takes(
    app: FastAPI,
) -> None:
    page = told(await call(app, "GET", "/offline-list", query="format=ocpp1.6"))
    assert page["left_out"] == 1
    assert page["send_local_list"] == {
        "listVersion": 1,
        "updateType": "Full",
        "localAuthorizationList": [
            {
                "idTag": "A1",
                "idTagInfo": {"status": "Accepted", "parentIdTag": ContractId("FRXYZ000000001")},
            },
            {
                "idTag": "C3",
                "idTagInfo": {
                    "status": "Accepted",
                    "parentIdTag": ContractId("FRXYZ000000003"),
                    "expiryDate": "2026-01-01T00:00:00Z",
                },
            },
        ],
    }
    await call(app, "DELETE", "/customer-contracts/FRXYZ000000001", party=EVSP)
    query = "format=ocpp1.6&since_version=1"
    difference = told(await call(app, "GET", "/offline-list", query=query))
    assert difference["send_local_list"] == {
        "listVersion": 2,
        "updateType": "Differential",
        "localAuthorizationList": [{"idTag": "A1"}],
    }
    for one in (page, difference):
        await validate_payload(Call("1", "SendLocalList", one["send_local_list"]), "1.6")


async def test_each_side_keeps_to_its_own(app: FastAPI) -> None:
    assert (await call(app, "GET", "/offline-list", party=EVSP)).status == 403
    assert (await call(app, "GET", "/offline-consents")).status == 403
    body = {"consent": True}
    assert (await call(app, "PUT", "/offline-consents/all", body)).status == 403
    other = await call(app, "GET", "/offline-list", party="NL*STR")
    assert told(other)["entries"] == []
    shown = await call(app, "GET", "/offline-consents", party=EVSP)
    assert told(shown) == [{"operator": "all", "consent": True}]


@pytest.mark.parametrize("cursor", ["x", "W10=", "WzEsbnVsbCwieCIsImFsbCIsbnVsbF0="])
async def test_a_cursor_of_somewhere_else_is_422(app: FastAPI, cursor: str) -> None:
    answer = await call(app, "GET", "/offline-list", query=f"cursor={cursor}")
    assert (answer.status, told(answer)["field"]) == (422, "cursor")


async def test_an_operator_that_is_none_is_422(app: FastAPI) -> None:
    body = {"consent": True}
    answer = await call(app, "PUT", "/offline-consents/somebody", body, party=EVSP)
    assert (answer.status, told(answer)["field"]) == (422, "party")
