"""Contract certificates over HTTP: an EVSP's own, and nobody else's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI

from clearinghouse.certificates import routes
from clearinghouse.certificates.model import serial_of, to_pem
from clearinghouse.certificates.store import SqlCertificates
from kit import problem
from kit.database import Database
from kit.http import CALLER, Answer, Caller, call_asgi
from roaming.party import PartyId
from tests.clearinghouse.certificates import pki

XYZ, ABC = PartyId("FR*XYZ"), PartyId("DE*ABC")
NOON = datetime(2025, 1, 7, 12, tzinfo=UTC)
ROOT = pki.root()
LEAF = ROOT.contract("FRXYZ000000001")


@pytest.fixture
async def app(database: Database) -> FastAPI:
    app = FastAPI()
    problem.install(app)
    app.include_router(
        routes.router(SqlCertificates(database), database=database, clock=lambda: NOON)
    )
    return app


async def call(
    app: FastAPI, method: str, path: str, body: Any = None, party: PartyId = XYZ, role: str = "evsp"
) -> Answer:
    return await call_asgi(
        app,
        method,
        path,
        headers={"content-type": "application/json"},
        body=b"" if body is None else json.dumps(body).encode(),
        extra_scope={CALLER: Caller(party, frozenset({role}), "client", None, "request")},
    )


async def test_an_evsp_registers_its_authorities_and_sees_them(app: FastAPI) -> None:
    put = await call(app, "PUT", "/contract-certificates", {"certificates": ROOT.pem})
    assert put.status == 200
    [shown] = json.loads(put.body)["authorities"]
    assert shown["serial_number"] == serial_of(ROOT.certificate)
    assert "XYZ root" in shown["subject"]
    assert (await call(app, "GET", "/contract-certificates")).body == put.body
    others = await call(app, "GET", "/contract-certificates", party=ABC)
    assert json.loads(others.body) == {"authorities": []}


async def test_what_is_no_authority_is_422_and_changes_nothing(app: FastAPI) -> None:
    for pem in (to_pem([LEAF]), "nonsense"):
        answer = await call(app, "PUT", "/contract-certificates", {"certificates": pem})
        assert (answer.status, json.loads(answer.body)["field"]) == (422, "certificates")
    shown = await call(app, "GET", "/contract-certificates")
    assert json.loads(shown.body) == {"authorities": []}


async def test_an_evsp_revokes_a_certificate_now_or_since_then(app: FastAPI) -> None:
    path = f"/contract-certificates/revoked/{serial_of(LEAF)}"
    answer = await call(app, "PUT", path, {})
    assert json.loads(answer.body) == {
        "serial_number": serial_of(LEAF),
        "revoked_at": "2025-01-07T12:00:00Z",
    }
    earlier = await call(app, "PUT", path, {"revoked_at": "2025-01-07T11:00:00+01:00"})
    assert json.loads(earlier.body)["revoked_at"] == "2025-01-07T10:00:00Z"
    for wrong, body, field in (
        ("/contract-certificates/revoked/xyz", {}, "serial_number"),
        (path, {"revoked_at": "0001-01-01T00:00:00+05:00"}, "revoked_at"),
    ):
        refused = await call(app, "PUT", wrong, body)
        assert (refused.status, json.loads(refused.body)["field"]) == (422, field)


async def test_only_evsps_have_authorities(app: FastAPI) -> None:
    for method, path, body in (
        ("GET", "/contract-certificates", None),
        ("PUT", "/contract-certificates", {"certificates": ROOT.pem}),
        ("PUT", "/contract-certificates/revoked/ab", {}),
    ):
        answer = await call(app, method, path, body, role="evse-operator")
        assert answer.status == 403
