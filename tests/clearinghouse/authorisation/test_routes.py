"""Authorisations over HTTP: what an operator sends, and what it is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.routing import Route

from clearinghouse.authorisation import routes
from clearinghouse.authorisation.model import Answer, Decision
from clearinghouse.authorisation.store import SqlCustomers, SqlDecisions, SqlPolicies
from clearinghouse.certificates.store import SqlCertificates
from clearinghouse.customers.model import AuthorisationMode, draw_up
from clearinghouse.customers.store import SqlCustomers as KeptCustomers
from clearinghouse.exposure.store import Holds
from kit import problem
from kit.database import Database
from kit.http import CALLER, Caller, call_asgi
from kit.http import Answer as HttpAnswer
from roaming.evse_id import EvseId
from roaming.party import PartyId
from tests.clearinghouse.authorisation.fakes import (
    FixedAgreement,
    ListedAgreements,
    ListedEvses,
    NoLimitKept,
    ScriptedEvsps,
)

PD1, ABC, XYZ = PartyId("FR*PD1"), PartyId("DE*ABC"), PartyId("FR*XYZ")
NOON = datetime(2025, 1, 7, 12, tzinfo=UTC)
ASKED = {"evse_id": "FR*PD1*E123", "identification": {"type": "rfid", "value": "a1"}}
UNTIL = NOON + timedelta(days=1)


@pytest.fixture
async def app(database: Database) -> AsyncIterator[FastAPI]:
    async with KeptCustomers(database).write(XYZ) as book:
        await book.keep(
            [
                draw_up("FRXYZ000000001", token_uids=["A1"], valid_until=UNTIL),
                draw_up("FRXYZ000000002", token_uids=["B2"], authorisation=AuthorisationMode.ASK),
            ],
            NOON,
        )
    customers = SqlCustomers(database)
    decisions = SqlDecisions(database, Holds(PartyId("EU*GRD")), lambda: NOON)
    app = FastAPI()
    problem.install(app)
    evses = ListedEvses({EvseId("FR*PD1*E123"): PD1})
    agreements = ListedAgreements({(PD1, XYZ): (NOON - timedelta(days=7), FixedAgreement())})
    hot = routes.hot_routes(
        evses=evses,
        customers=customers,
        agreements=agreements,
        evsps=ScriptedEvsps(Answer(Decision.REFUSED)),
        policies=SqlPolicies(database),
        certificates=SqlCertificates(database),
        decisions=decisions,
        database=database,
        clock=lambda: NOON,
    )
    app.router.routes += [Route(one.path, one.handler, methods=[one.method]) for one in hot]
    app.include_router(
        routes.router(
            evses=evses,
            customers=customers,
            agreements=agreements,
            certificates=SqlCertificates(database),
            spending=NoLimitKept(),
            decisions=decisions,
            policies=SqlPolicies(database),
            database=database,
            clock=lambda: NOON,
        )
    )
    yield app
    await decisions.close()
    await customers.close()


async def call(
    app: FastAPI,
    method: str,
    path: str,
    body: Any = None,
    *,
    party: PartyId = PD1,
    role: str = "evse-operator",
    headers: dict[str, str] | None = None,
) -> HttpAnswer:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return await call_asgi(
        app,
        method,
        path,
        headers={"content-type": "application/json", **(headers or {})},
        body=raw,
        extra_scope={CALLER: Caller(party, frozenset({role}), "client", None, "request")},
    )


def told(answer: HttpAnswer) -> Any:
    return json.loads(answer.body)


async def test_an_accepted_customer_comes_with_all_that_the_operator_needs(app: FastAPI) -> None:
    answer = await call(app, "POST", "/authorisations", ASKED)
    assert answer.status == 200
    content = told(answer)
    assert len(content.pop("authorisation_id")) == 36
    assert content == {
        "decision": "accepted",
        "reason": None,
        "contract_id": draw_up("FRXYZ000000001").contract_id,
        "evsp": "FR*XYZ",
        "services": ["charging"],
        "valid_until": "2025-01-08T12:00:00Z",
        "price": {
            "agreement_id": "agreement-1",
            "currency": "EUR",
            "vat_percent": "20",
            "components": [
                {"type": "ENERGY", "price": "0.35", "step_size": 1, "restricted": False},
                {"type": "TIME", "price": "2.40", "step_size": 60, "restricted": True},
            ],
        },
        "max_amount": None,
    }


async def test_a_refusal_is_an_answer_too(app: FastAPI) -> None:
    unknown = {**ASKED, "identification": {"type": "rfid", "value": "nobody"}}
    answer = await call(app, "POST", "/authorisations", unknown)
    assert answer.status == 200
    content = told(answer)
    assert content.pop("authorisation_id")
    assert content == {
        "decision": "refused",
        "reason": "unknown-contract",
        "contract_id": None,
        "evsp": None,
        "services": [],
        "valid_until": None,
        "price": None,
        "max_amount": None,
    }


async def test_the_time_of_the_fact_counts_where_it_is_named(app: FastAPI) -> None:
    late = {**ASKED, "at": "2025-01-08T13:00:00+01:00"}
    assert told(await call(app, "POST", "/authorisations", late))["reason"] == "contract-expired"


async def test_the_same_charge_is_answered_the_same_and_another_question_is_409(
    app: FastAPI,
) -> None:
    first = await call(app, "POST", "/authorisations", {**ASKED, "charge_id": "c1"})
    respelt = {**ASKED, "evse_id": "frpd1e123", "services": ["charging"], "charge_id": "c1"}
    assert (await call(app, "POST", "/authorisations", respelt)).body == first.body
    other = {**ASKED, "at": "2025-01-07T11:00:00Z", "charge_id": "c1"}
    answer = await call(app, "POST", "/authorisations", other)
    assert (answer.status, told(answer)["field"]) == (409, "charge_id")


async def test_an_idempotency_key_stands_for_one_body(app: FastAPI) -> None:
    key = {"idempotency-key": "k1"}
    first = await call(app, "POST", "/authorisations", ASKED, headers=key)
    again = await call(app, "POST", "/authorisations", ASKED, headers=key)
    assert (first.status, again.body) == (200, first.body)
    other = await call(app, "POST", "/authorisations", {**ASKED, "services": ["x"]}, headers=key)
    assert other.status == 422


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"\xff", "body"),
        (b"[" * 50_000, None),
        ({**ASKED, "evse_id": "nonsense"}, "evse_id"),
        ({**ASKED, "evse_id": 7}, "evse_id"),
        ({**ASKED, "identification": {"type": "face", "value": "x"}}, "identification.type"),
        ({**ASKED, "identification": {"type": "rfid", "value": "\x00"}}, "identification.value"),
        (
            {**ASKED, "identification": {"type": "contract-id", "value": "FRXYZ0000000010"}},
            "identification.value",
        ),
        ({**ASKED, "services": []}, "services"),
        ({**ASKED, "charge_id": "a\x00"}, "charge_id"),
        ({**ASKED, "at": "2025-01-07T12:00:00"}, "at"),
        ({**ASKED, "at": "0001-01-01T00:00:00+05:00"}, "at"),
        ({"evse_id": "FR*PD1*E123"}, None),
        ({**ASKED, "servces": ["charging"]}, None),
    ],
)
async def test_what_breaks_a_rule_is_422_and_names_it(
    app: FastAPI, body: Any, field: str | None
) -> None:
    answer = await call(app, "POST", "/authorisations", body)
    content = told(answer)
    assert (answer.status, content.get("field")) == (422, field)
    assert content["rule"]


async def test_a_huge_question_is_refused(app: FastAPI) -> None:
    answer = await call(app, "POST", "/authorisations", b" " * 70_000)
    assert 400 <= answer.status < 500
    assert told(answer)["type"].endswith("too-large")


async def test_only_an_operator_may_ask(app: FastAPI) -> None:
    answer = await call(app, "POST", "/authorisations", ASKED, role="evsp")
    assert (answer.status, told(answer)["field"]) == (403, "role")
    assert (await call_asgi(app, "POST", "/authorisations")).status == 401


async def test_a_decision_is_explained_to_its_operator_and_to_the_evsp(app: FastAPI) -> None:
    asked = {**ASKED, "identification": {"type": "rfid", "value": "B2"}}
    decided = told(await call(app, "POST", "/authorisations", asked))
    path = f"/authorisations/{decided['authorisation_id']}"
    operators = told(await call(app, "GET", path))
    evsps = told(await call(app, "GET", path, party=XYZ, role="evsp"))
    assert operators["reason"] == evsps["reason"] == "contract-blocked"
    outcomes = [step["outcome"] for step in operators["steps"]]
    assert outcomes == ["passed"] * 3 + ["failed"] + ["not-reached"] * 4
    assert {step["detail"] for step in operators["steps"]} == {None}
    assert evsps["steps"][3]["detail"] == "status active; the EVSP refused: no reason given"
    assert "B2" not in json.dumps(operators)


async def test_what_a_customer_may_have_here_is_told_without_a_decision(app: FastAPI) -> None:
    answer = await call(app, "POST", "/customer-services", ASKED)
    assert told(answer) == {
        "evse_id": "FR*PD1*E123",
        "evsp": "FR*XYZ",
        "contract_id": draw_up("FRXYZ000000001").contract_id,
        "reason": None,
        "agreement_id": "agreement-1",
        "currency": "EUR",
        "services": [
            {
                "service": "charging",
                "allowed": True,
                "reason": None,
                "price_components": [
                    {"type": "ENERGY", "price": "0.35", "step_size": 1, "restricted": False},
                    {"type": "TIME", "price": "2.40", "step_size": 60, "restricted": True},
                ],
            }
        ],
        "left": None,
    }
    asking = {**ASKED, "identification": {"type": "rfid", "value": "B2"}}
    [service] = told(await call(app, "POST", "/customer-services", asking))["services"]
    assert (service["allowed"], service["reason"]) == (None, None)
    assert (await call(app, "POST", "/customer-services", ASKED, role="evsp")).status == 403


async def test_the_customer_of_a_decision_may_have_what_it_may_have_now(app: FastAPI) -> None:
    late = {**ASKED, "at": "2025-01-08T12:00:00Z"}
    decided = told(await call(app, "POST", "/authorisations", late))
    assert decided["reason"] == "contract-expired"
    path = f"/authorisations/{decided['authorisation_id']}/services"
    operators = told(await call(app, "GET", path))
    assert [one["allowed"] for one in operators["services"]] == [True]
    assert told(await call(app, "GET", path, party=XYZ, role="evsp")) == operators
    assert (await call(app, "GET", path, party=ABC, role="evsp")).status == 404


async def test_a_decision_is_404_for_everybody_else(app: FastAPI) -> None:
    decided = told(await call(app, "POST", "/authorisations", ASKED))
    path = f"/authorisations/{decided['authorisation_id']}"
    for party, role in ((ABC, "evse-operator"), (ABC, "evsp")):
        assert (await call(app, "GET", path, party=party, role=role)).status == 404
    assert (await call(app, "GET", path, party=XYZ, role="dso")).status == 403
    assert (await call(app, "GET", "/authorisations/%00")).status == 404


USUAL = {
    "on_silence": "refuse",
    "accept_up_to_minor": None,
    "currency": None,
    "asks_unknown": False,
    "ask_timeout_ms": 3000,
}


async def test_an_evsp_chooses_what_holds_when_it_is_asked(app: FastAPI) -> None:
    evsp: dict[str, Any] = {"party": XYZ, "role": "evsp"}
    assert told(await call(app, "GET", "/evsp-policy", **evsp)) == USUAL
    amount = {"accept_up_to_minor": 2_000, "currency": "EUR"}
    for chosen in (
        {"on_silence": "accept"},
        {"on_silence": "accept", "asks_unknown": True, "ask_timeout_ms": 500, **amount},
    ):
        assert told(await call(app, "PUT", "/evsp-policy", chosen, **evsp)) == {**USUAL, **chosen}
        assert told(await call(app, "GET", "/evsp-policy", **evsp)) == {**USUAL, **chosen}
    other = await call(app, "GET", "/evsp-policy", party=ABC, role="evsp")
    assert told(other) == USUAL
    assert (await call(app, "PUT", "/evsp-policy", chosen)).status == 403


@pytest.mark.parametrize(
    ("chosen", "field"),
    [
        ({"on_silence": "perhaps"}, "body.on_silence"),
        ({"on_silence": "accept", "accept_up_to_minor": 2_000}, "currency"),
        ({"on_silence": "accept", "currency": "EUR"}, "accept_up_to_minor"),
        (
            {"on_silence": "accept", "accept_up_to_minor": 0, "currency": "EUR"},
            "accept_up_to_minor",
        ),
        ({"on_silence": "accept", "accept_up_to_minor": 1, "currency": "EURO"}, "currency"),
        (
            {"on_silence": "refuse", "accept_up_to_minor": 1, "currency": "EUR"},
            "accept_up_to_minor",
        ),
        ({"on_silence": "accept", "accept_up_to_minor": 1.5, "currency": "EUR"}, None),
        ({"on_silence": "refuse", "ask_timeout_ms": 99}, "ask_timeout_ms"),
        ({"on_silence": "refuse", "ask_timeout_ms": 3001}, "ask_timeout_ms"),
        ({"asks_unknown": True}, None),
    ],
)
async def test_a_policy_that_breaks_a_rule_is_422_and_changes_nothing(
    app: FastAPI, chosen: Any, field: str | None
) -> None:
    evsp: dict[str, Any] = {"party": XYZ, "role": "evsp"}
    answer = await call(app, "PUT", "/evsp-policy", chosen, **evsp)
    assert answer.status == 422
    assert field is None or told(answer)["field"] == field
    assert told(await call(app, "GET", "/evsp-policy", **evsp)) == USUAL
