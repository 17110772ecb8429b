"""Contract Validation over HTTP: one question, a thousand, and answers that can be proven later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from marketplace.validation.flows import TYPE
from tests.marketplace.fakes import (
    EVSP,
    HUB,
    ISSUER,
    OPERATOR,
    OTHER,
    HandClock,
    Member,
    agree_roaming,
    join,
)
from tests.marketplace.whole import Marketplace

ONE = "/contract-validation/validate"
MANY = "/contract-validation/validations"
ASKED = {"requester": "DE-EVL", "provider": "frpd1", "service": "roaming"}
YEAR_2026 = {
    "valid_from": "2026-01-01T00:00:00+01:00",
    "valid_until": "2027-01-01T00:00:00+01:00",
}


@pytest.fixture
async def other(market: Marketplace) -> AsyncIterator[Member]:
    member = await join(market, OTHER, "evse-operator", "evsp")
    yield member
    await member.http.aclose()


async def test_contract_validation_answers_its_two_parties(
    operator: Member, evsp: Member, other: Member
) -> None:
    contract = await agree_roaming(operator, evsp, **YEAR_2026)
    told = {"valid": True, "contract_id": contract["contract_id"], "reason": None}
    for member in (operator, evsp):
        assert (await member.http.get(ONE, params=ASKED)).json() == told
    assert (await other.http.get(ONE, params=ASKED)).status_code == 403
    for at, reason in (
        ("2025-12-31T22:59:59Z", "not-yet-valid"),
        ("2025-12-31T23:00:00Z", None),
        ("2026-12-31T22:59:59Z", None),
        ("2026-12-31T23:00:00Z", "expired"),
    ):
        answer = (await evsp.http.get(ONE, params=ASKED | {"at": at})).json()
        assert (answer["valid"], answer["reason"]) == (reason is None, reason)
    await operator.http.post(f"/marketplace/contracts/{contract['contract_id']}/suspend")
    assert (await evsp.http.get(ONE, params=ASKED)).json()["reason"] == "suspended"
    backwards = ASKED | {"requester": OPERATOR, "provider": EVSP}
    assert (await evsp.http.get(ONE, params=backwards)).json() == {
        "valid": False,
        "contract_id": None,
        "reason": "no-contract",
    }


async def test_asked_for_details_it_tells_which_terms_were_in_force_then(
    operator: Member, evsp: Member, clock: HandClock
) -> None:
    first = await agree_roaming(
        operator, evsp, valid_from="2026-01-01T00:00:00Z", valid_until="2026-03-01T00:00:00Z"
    )
    second = await agree_roaming(
        operator,
        evsp,
        terms=first["terms"] | {"vat_percent": 21},
        valid_from="2026-03-01T00:00:00Z",
    )
    asked = ASKED | {"details": "true"}
    found = [
        (await evsp.http.get(ONE, params=asked | {"at": at})).json()
        for at in ("2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z")
    ]
    assert [one["contract_id"] for one in found] == [first["contract_id"], second["contract_id"]]
    assert {one["contract_id"]: one["terms_sha256"] for one in found} == await digests(operator)
    assert found[0]["valid_until"] == found[1]["valid_from"] == "2026-03-01T00:00:00Z"
    assert found[1]["valid_until"] is None
    gone = (await evsp.http.get(ONE, params=asked | {"at": "2025-01-01T00:00:00Z"})).json()
    assert (gone["reason"], gone["terms_sha256"]) == ("not-yet-valid", None)


async def digests(member: Member) -> dict[str, str]:
    """By contract, the digest of its terms' canonical text, which anybody can make anew."""
    contracts = (await member.http.get("/marketplace/contracts?service=roaming")).json()
    return {
        one["contract_id"]: hashlib.sha256(
            json.dumps(one["terms"], sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()
        for one in contracts
    }


async def test_many_questions_are_answered_in_order_and_a_bad_one_spoils_no_other(
    operator: Member, evsp: Member, clock: HandClock
) -> None:
    contract = await agree_roaming(operator, evsp, **YEAR_2026)
    questions: list[Any] = [
        ASKED,
        ASKED | {"at": "2025-01-01T00:00:00Z"},
        ASKED | {"requester": "nobody at all"},
        {"requester": EVSP},
        ASKED | {"at": "2026-01-01T00:00:00"},
        ASKED | {"at": "0001-01-01T00:00:00+14:00"},
        ASKED | {"requester": OTHER, "provider": HUB},
        ASKED | {"operation": "authorise"},
        ASKED | {"colour": "red"},
        "what?",
        ASKED | {"service": "search-evse", "provider": HUB, "operation": "find-evses"},
        ASKED | {"at": "2027-01-01T00:00:00+01:00"},
    ]
    answer = await evsp.http.post(MANY, json={"questions": questions})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["answered_at"], told["book_age_s"]) == (clock().isoformat()[:-6] + "Z", 0)
    assert "signed" not in told
    found = [(one["valid"], one["reason"] or one.get("problem")) for one in told["answers"]]
    assert found[0] == (True, None)
    assert found[1] == (False, "not-yet-valid")
    assert found[10:] == [(True, None), (False, "expired")]
    problems = [problem for valid, problem in found[2:10] if valid is None]
    assert [
        (one["type"].rpartition("/")[2], one["status"], one.get("field")) for one in problems
    ] == [
        ("bad-identifier", 422, "party"),
        ("malformed", 422, None),
        ("malformed", 422, "at"),
        ("bad-question", 422, "at"),
        ("not-your-question", 403, "requester"),
        ("bad-question", 422, "operation"),
        ("malformed", 422, None),
        ("malformed", 422, None),
    ]
    assert told["answers"][0]["contract_id"] == contract["contract_id"]


async def test_a_thousand_are_answered_and_one_more_is_refused(
    operator: Member, evsp: Member
) -> None:
    await agree_roaming(operator, evsp, **YEAR_2026)
    answer = await evsp.http.post(MANY, json={"questions": [ASKED] * 1_000})
    assert [one["valid"] for one in answer.json()["answers"]] == [True] * 1_000
    for questions in ([ASKED] * 1_001, []):
        answer = await evsp.http.post(MANY, json={"questions": questions})
        assert (answer.status_code, answer.json()["field"]) == (422, "questions")
    for body in (b"[", b"{}", b'{"questions": 7}', b'{"questions": [], "sign": true}'):
        assert (await evsp.http.post(MANY, content=body)).status_code == 422


async def test_a_contract_about_other_operations_says_so(
    market: Marketplace, operator: Member, other: Member
) -> None:
    provider = await join(market, EVSP, "service-provider")
    service = {"name": "parking", "category": "value-added", "description": ""}
    sandbox = {"url": "http://127.0.0.1:9/tried", "environment": "sandbox"}
    where = {"endpoint": "http://127.0.0.1:9/p", "more_endpoints": [sandbox]}
    made = await provider.http.post("/marketplace/services", json=service | where)
    assert made.status_code == 201, made.text
    await provider.http.post("/marketplace/services/parking/v1/publish")
    offering = await provider.http.post(
        "/marketplace/offerings",
        json={"service": "parking", "terms": {"operations": ["find*", "GET /spots/*"]}},
    )
    contract = await operator.http.post(
        "/marketplace/contracts", json={"offering_id": offering.json()["offering_id"]}
    )
    asked = {"requester": OPERATOR, "provider": EVSP, "service": "parking"}
    for operation, reason in (
        ("find-spot", None),
        ("GET /spots/7", None),
        ("book", "operation-not-covered"),
        ("DELETE /spots/7", "operation-not-covered"),
    ):
        told = (await operator.http.get(ONE, params=asked | {"operation": operation})).json()
        assert (told["valid"], told["reason"]) == (reason is None, reason)
        assert told["contract_id"] == contract.json()["contract_id"]
    # For calls that are tried there is a contract of their own, about all operations.
    tried = await provider.http.post(
        "/marketplace/offerings", json={"service": "parking", "environment": "sandbox"}
    )
    assert tried.status_code == 201, tried.text
    sandboxed = await operator.http.post(
        "/marketplace/contracts", json={"offering_id": tried.json()["offering_id"]}
    )
    for environment, expected in (("live", contract), ("sandbox", sandboxed)):
        told = (await operator.http.get(ONE, params=asked | {"environment": environment})).json()
        assert told["contract_id"] == expected.json()["contract_id"]
    in_it = {"operation": "book", "environment": "sandbox"}
    assert (await operator.http.get(ONE, params=asked | in_it)).json()["valid"] is True
    await provider.http.aclose()


async def test_a_signed_answer_is_verified_with_the_published_keys(
    market: Marketplace, operator: Member, evsp: Member, clock: HandClock
) -> None:
    contract = await agree_roaming(operator, evsp, **YEAR_2026)
    keys = KeySet.import_key_set((await evsp.http.get("/.well-known/jwks.json")).json())
    clock.forward(seconds=2)
    single = (await evsp.http.get(ONE, params=ASKED | {"signed": "true"})).json()
    found = jws.deserialize_compact(single.pop("signed"), keys, ["ES256"])
    assert found.headers()["typ"] == TYPE
    assert found.payload is not None
    claims = json.loads(found.payload)
    assert claims == {
        "iss": ISSUER,
        "aud": EVSP,
        "iat": int(clock().timestamp()),
        "answered_at": clock().isoformat()[:-6] + "Z",
        "book_age_s": 2.0,
        "question": {
            "requester": EVSP,
            "provider": OPERATOR,
            "service": "roaming",
            "major": 1,
            "at": clock().isoformat()[:-6] + "Z",
            "operation": None,
            "environment": "live",
        },
        "answer": single,
    }
    assert single["contract_id"] == contract["contract_id"]
    assert single["valid_until"] == "2026-12-31T23:00:00Z"
    batch = {"questions": [ASKED, {}, ASKED | {"at": "2020-01-01T00:00:00Z"}], "signed": True}
    many = (await operator.http.post(MANY, json=batch)).json()
    found = jws.deserialize_compact(many.pop("signed"), keys, ["ES256"])
    assert found.payload is not None
    claims = json.loads(found.payload)
    assert claims["answers"] == many["answers"]
    assert [one and one["at"] for one in claims["questions"]] == [
        clock().isoformat()[:-6] + "Z",
        None,
        "2020-01-01T00:00:00Z",
    ]
    assert (claims["aud"], claims["answered_at"]) == (OPERATOR, many["answered_at"])


async def test_the_age_of_what_was_answered_from_is_told(
    operator: Member, evsp: Member, clock: HandClock
) -> None:
    await agree_roaming(operator, evsp, **YEAR_2026)
    clock.now += timedelta(seconds=7)
    told = (await evsp.http.post(MANY, json={"questions": [ASKED]})).json()
    assert told["book_age_s"] == 7


async def test_bad_questions_are_refused_by_name(evsp: Member) -> None:
    good = "requester=DE*EVL&provider=FR*PD1&service=roaming"
    for query, field in (
        ("requester=x&provider=y&service=roaming", "party"),
        (f"{good}&at=2026-01-01T00:00:00", "query.at"),
        (f"{good}&at=0001-01-01T00:00:00%2B14:00", "query.at"),
        (f"{good}&environment=moon", "query.environment"),
        (f"{good}&major=0", "query.major"),
    ):
        answer = await evsp.http.get(f"{ONE}?{query}")
        assert (answer.status_code, answer.json()["field"]) == (422, field), query
