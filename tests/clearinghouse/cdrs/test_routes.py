"""Records over HTTP: what operators and EVSPs send, and what they are told."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from clearinghouse.cdrs.routes import Routes
from kit import event_log, problem
from kit.database import Database
from kit.event_log import START
from kit.http import Answer
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import (
    EVSP,
    NOW,
    OPERATOR,
    OTHER_EVSE,
    OTHER_EVSP,
    OTHER_OPERATOR,
    House,
    intake_of,
    keep_customer,
    told,
)


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    await keep_customer(database)
    routes = Routes(intake_of(database), database)
    app = Starlette(
        routes=[Route(one.path, one.handler, methods=[one.method]) for one in routes.hot_routes()]
    )
    problem.install(app)
    yield House(app)
    await routes.close()


PRICE = {"currency": "EUR", "excl_vat": "5.00", "vat": "1.00", "incl_vat": "6.00"}


async def test_a_record_is_booked_once_and_known_from_then_on(house: House) -> None:
    status, answer = await house.post(told())
    assert status == 201
    assert {name: answer[name] for name in ("cdr_id", "state", "reasons", "price")} == {
        "cdr_id": "A-1",
        "state": "accepted",
        "reasons": [],
        "price": PRICE,
    }
    assert await house.post(told()) == (200, answer)


async def test_a_known_id_with_another_amount_is_a_clash(house: House) -> None:
    await house.post(told())
    status, answer = await house.post(told(energy_wh=20_000))
    assert status == 409
    assert answer["type"].endswith("/cdr-id-reused")
    assert answer["field"] == "cdr_id"
    assert (await house.post(told()))[1]["price"] == PRICE


async def test_a_rejected_record_says_why_and_may_be_mended(house: House) -> None:
    status, answer = await house.post(told(evse_id="FR*PD1*E9"))
    assert (status, answer["state"], answer["reasons"]) == (201, "rejected", ["evse-unknown"])
    assert answer["price"] is None
    assert answer["details"][0]["says"]
    assert (await house.post(told()))[0] == 201


async def test_a_flagged_record_is_priced(house: House) -> None:
    status, answer = await house.post(told(end="2025-01-17T12:00:00Z"))
    assert (status, answer["state"], answer["reasons"]) == (201, "flagged", ["longer-than-24h"])
    assert answer["price"] == PRICE


async def test_what_is_noted_is_told_beside_the_reasons(house: House) -> None:
    _, answer = await house.post(told(energy_wh=30_000))
    assert (answer["state"], answer["reasons"]) == ("accepted", [])
    assert [one["reason"] for one in answer["notices"]] == ["energy-over-power", "late"]
    assert "22000 W" in answer["notices"][0]["says"]
    _, shown = await house.get(f"/cdrs/{OPERATOR}/A-1")
    assert shown["notices"] == answer["notices"]


async def test_a_cost_that_was_told_is_shown_as_it_was_told(house: House) -> None:
    cost = {"currency": "EUR", "excl_vat": "5.00"}
    assert (await house.post(told(total_cost=cost)))[1]["state"] == "accepted"
    assert (await house.get(f"/cdrs/{OPERATOR}/A-1"))[1]["total_cost"] == cost


@pytest.mark.parametrize(
    "cost",
    [
        {"currency": "EUR", "excl_vat": "5.001"},
        {"currency": "ZZZ", "excl_vat": "5.00"},
        {"currency": "EUR", "excl_vat": "much"},
        {"currency": "EUR", "excl_vat": 5.0},
        {"currency": "EUR\n", "excl_vat": "5"},
        {"excl_vat": "5"},
    ],
)
async def test_a_cost_that_is_none_is_refused(house: House, cost: dict[str, Any]) -> None:
    status, answer = await house.post(told(total_cost=cost))
    assert status == 422
    assert answer["field"].startswith("total_cost")


async def test_an_evse_of_another_operator_is_none_of_the_callers_business(house: House) -> None:
    _, answer = await house.post(told(evse_id=OTHER_EVSE.display))
    assert answer["reasons"][0] == "evse-of-another-operator"


async def test_a_list_gets_a_list_in_the_same_order(house: House) -> None:
    status, answers = await house.post(
        [
            told("A-1"),
            told("A-2", energy_wh=-1),
            {"cdr_id": "A-3"},
            told("A-1"),
            told("A-1", energy_wh=1),
            told("A-4"),
            17,
            told("A-5", evse_id="nonsense"),
        ]
    )
    assert status == 200
    assert [(one["cdr_id"], one["state"], one["reasons"]) for one in answers] == [
        ("A-1", "accepted", []),
        ("A-2", "rejected", ["negative-energy"]),
        ("A-3", "rejected", ["malformed"]),
        ("A-1", "accepted", []),
        ("A-1", "rejected", ["cdr-id-reused"]),
        ("A-4", "rejected", ["duplicate-content"]),
        (None, "rejected", ["malformed"]),
        ("A-5", "rejected", ["malformed"]),
    ]
    assert "A-1" in answers[5]["details"][0]["says"]


async def test_an_empty_list_is_a_list(house: House) -> None:
    assert await house.post([]) == (200, [])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cdr_id": None}, None),
        ({"cdr_id": ""}, "cdr_id"),
        ({"cdr_id": "x" * 65}, "cdr_id"),
        ({"cdr_id": "A\n"}, "cdr_id"),
        ({"evse_id": "what"}, "evse_id"),
        ({"contract_id": "DE-BET-000000001-?"}, "contract_id"),
        ({"contract_id": None}, "contract_id"),
        ({"contract_id": None, "token_uid": ""}, "token_uid"),
        ({"start": "2025-01-15T12:00:00"}, "start"),
        ({"start": "1970-01-01T00:00:00Z"}, "start"),
        ({"start": "0001-01-01T00:00:00+14:00"}, "start"),
        ({"end": "9999-12-31T23:59:59-14:00"}, "end"),
        ({"energy_wh": 1.5}, "energy_wh"),
        ({"energy_wh": 10**13}, "energy_wh"),
        ({"energy_wh": "10"}, "energy_wh"),
        ({"time_zone": "Europe/Atlantis"}, "time_zone"),
        ({"periods": [{"start": "now", "energy_wh": 1}]}, "periods[0].start"),
        ({"signed_meter_values": ["x\0y"]}, "body"),
        ({"signed_meter_values": ["x" * 300_000]}, "body"),
    ],
)
async def test_what_is_no_record_is_refused_and_the_field_named(
    house: House, change: dict[str, Any], field: str | None
) -> None:
    status, answer = await house.post(told(**change))
    assert status == 422
    assert answer.get("field") == field
    if change.get("cdr_id", "") is not None:
        assert answer["rule"]


@pytest.mark.parametrize("body", [b"", b"{", b"[{]", b"null", b"\xff", b'"text"', b"[1,", b"\x00"])
async def test_what_is_no_json_record_is_refused(house: House, body: bytes) -> None:
    status, answer = await house.post(body)
    assert status == 422
    assert answer["type"].startswith("https://gridroam.org/problems/")


async def test_more_than_a_thousand_are_refused(house: House) -> None:
    status, answer = await house.post([told()] * 1_001)
    assert (status, answer["value"]) == (422, "1001")


async def test_only_operators_hand_in_records(house: House) -> None:
    assert (await house.post(told(), party=EVSP, roles=["evsp"]))[0] == 403
    assert (await house.post(told(), party=None))[0] == 401


async def test_both_parties_read_their_own_and_no_one_elses(house: House) -> None:
    await house.post([told("A-1"), told("A-2", energy_wh=-1)])

    async def ids(party: PartyId, role: str) -> list[str]:
        _, page = await house.get("/cdrs", party=party, roles=[role])
        return [one["cdr_id"] for one in page["cdrs"]]

    assert await ids(OPERATOR, "evse-operator") == ["A-1", "A-2"]
    assert await ids(EVSP, "evsp") == ["A-1"]
    assert await ids(OTHER_EVSP, "evsp") == []
    assert await ids(OTHER_OPERATOR, "evse-operator") == []
    assert (await house.get("/cdrs", party=OPERATOR, roles=["dso"]))[0] == 403
    assert (await house.get("/cdrs", party=None))[0] == 401

    for party, path, status in [
        (OPERATOR, "/cdrs/FR*PD1/A-1", 200),
        (OPERATOR, "/cdrs/FR-PD1/A-2", 200),
        (EVSP, "/cdrs/FRPD1/A-1", 200),
        (EVSP, "/cdrs/FR*PD1/A-2", 404),
        (OTHER_EVSP, "/cdrs/FR*PD1/A-1", 404),
        (OTHER_OPERATOR, "/cdrs/FR*PD1/A-1", 404),
        (OPERATOR, "/cdrs/FR*PD1/A\0", 404),
        (OPERATOR, "/cdrs/what/A-1", 422),
    ]:
        assert (await house.get(path, party=party))[0] == status, (party, path)
    assert (await house.get("/cdrs/FR*PD1/A-1", party=None))[0] == 401


async def test_a_shown_record_tells_how_its_price_came_about(house: House) -> None:
    await house.post(told())
    _, shown = await house.get("/cdrs/FR*PD1/A-1")
    assert shown["price"] == PRICE
    assert shown["price_lines"] == [
        {
            "dimension": "ENERGY",
            "quantity": "10000",
            "unit": "Wh",
            "price_per_unit": "0.50",
            "amount": "5",
        }
    ]
    assert (shown["operator"], shown["evsp"], shown["agreement_id"]) == (
        "FR*PD1",
        "DE*BET",
        "agreement-1",
    )


async def test_pages_go_on_by_cursor_and_by_time(house: House) -> None:
    for number in range(3):
        await house.post(told(f"A-{number}", energy_wh=1_000 + number))
    answer = await house.call("GET", "/cdrs", b"", query="limit=2")
    page = json.loads(answer.body)
    assert [one["cdr_id"] for one in page["cdrs"]] == ["A-0", "A-1"]
    assert f"cursor={page['next_cursor']}" in answer.headers["link"]
    _, rest = await house.get("/cdrs", query=f"since={page['next_cursor']}")
    assert [one["cdr_id"] for one in rest["cdrs"]] == ["A-2"]
    _, none = await house.get("/cdrs", query=f"since={rest['next_cursor']}")
    assert none == {"cdrs": [], "next_cursor": rest["next_cursor"]}

    def stamp(year: int) -> str:
        return NOW.replace(year=year).isoformat()

    _, early = await house.get("/cdrs", query=f"since={stamp(2024)}")
    _, late = await house.get("/cdrs", query=f"since={stamp(2026)}")
    assert (len(early["cdrs"]), len(late["cdrs"])) == (3, 0)


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday",
        "since=1-2-3",
        "since=-1-2",
        f"since={2**63}-1",
        "since=2025-01-01T00:00:00",
        "since=2025-01-01",
        "since=0001-01-01T00:00:00Z",
        "limit=0",
        "limit=1001",
        "limit=many",
        "limit=%C2%B2",
        "state=lost",
    ],
)
async def test_a_bad_question_is_told_what_a_good_one_is(house: House, query: str) -> None:
    status, answer = await house.get("/cdrs", query=query)
    assert status == 422
    assert answer["rule"]


async def test_many_callers_at_once_each_get_their_own_answer(house: House) -> None:
    answers = await asyncio.gather(
        *(house.post(told(f"A-{number}", energy_wh=1_000 + number)) for number in range(60))
    )
    assert [(status, answer["cdr_id"]) for status, answer in answers] == [
        (201, f"A-{number}") for number in range(60)
    ]


async def test_the_same_record_twice_at_once_is_booked_once(house: House) -> None:
    answers = await asyncio.gather(*(house.post(told()) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    assert all(answer == answers[0][1] for _, answer in answers)


async def test_an_idempotency_key_belongs_to_one_body(house: House) -> None:
    key = {"idempotency-key": "k-1"}
    first = await house.post(told(), headers=key)
    assert first[0] == 201
    assert await house.post(told(), headers=key) == first
    assert (await house.post(told("A-2"), headers=key))[0] == 422


AS_EVSP: dict[str, Any] = {"party": EVSP, "roles": ("evsp",)}


async def approve(house: House, path: str, body: Any = b"", **who: Any) -> tuple[int, Any]:
    answer = await house.call("POST", f"/cdrs/{path}", body, **(AS_EVSP | who))
    return answer.status, json.loads(answer.body)


async def test_an_evsp_approves_what_it_owes_once(house: House, database: Database) -> None:
    await house.post(told())
    path = f"{OPERATOR}/A-1/approve"
    status, answer = await approve(house, path)
    assert (status, answer["state"]) == (200, "approved")
    assert await approve(house, path) == (status, answer)
    _, shown = await house.get(f"/cdrs/{OPERATOR}/A-1")
    assert shown["state"] == "approved"
    assert shown["price"] == PRICE
    _, page = await house.get("/cdrs", query="state=approved")
    assert [one["cdr_id"] for one in page["cdrs"]] == ["A-1"]
    async with database.hot() as connection:
        events = await event_log.read(connection, START, types=["cdr-approved"])
    assert [(one.party, one.body["cdr_id"], one.body["debtor"]) for one in events] == [
        (OPERATOR, "A-1", EVSP)
    ]
    assert (await house.post(told()))[1]["state"] == "approved", "told again, it is known"


async def test_a_list_of_approvals_says_of_each_what_became_of_it(
    house: House, database: Database
) -> None:
    await house.post([told("A-1"), told("A-2", energy_wh=1), told("A-3", energy_wh=-1)])
    await approve(house, f"{OPERATOR}/A-2/approve")
    async with database.hot() as connection:
        await connection.execute(
            "UPDATE clearinghouse.cdr SET state = 'credited' WHERE cdr_id = 'A-2'"
        )
    names = ["A-1", "A-2", "A-3", "A-9"]
    body = {"cdrs": [{"operator": str(OPERATOR), "cdr_id": name} for name in names]}
    status, answer = await approve(house, "approvals", body)
    assert status == 200
    assert [(one["cdr_id"], one["state"], one["problem"]) for one in answer["cdrs"]] == [
        ("A-1", "approved", None),
        ("A-2", "credited", "cannot-become"),
        ("A-3", None, "unknown-cdr"),
        ("A-9", None, "unknown-cdr"),
    ]
    assert (await approve(house, f"{OPERATOR}/A-2/approve"))[0] == 409


@pytest.mark.parametrize(
    "who",
    [
        {"party": OTHER_EVSP},
        {"roles": ("evse-operator",)},
        {"party": OPERATOR, "roles": ("evse-operator",)},
        {"party": OPERATOR, "roles": ("evsp",)},
    ],
)
async def test_nobody_approves_what_another_owes(house: House, who: dict[str, Any]) -> None:
    await house.post(told())
    status, _ = await approve(house, f"{OPERATOR}/A-1/approve", **who)
    assert status in (403, 404)
    assert (await house.get(f"/cdrs/{OPERATOR}/A-1"))[1]["state"] == "accepted"


@pytest.mark.parametrize("body", [{}, {"cdrs": []}, {"cdrs": [{"operator": "x"}]}, []])
async def test_approvals_that_are_none_are_refused(house: House, body: Any) -> None:
    assert (await approve(house, "approvals", body))[0] == 422


async def test_many_who_approve_at_once_tell_of_it_once(house: House, database: Database) -> None:
    await house.post([told(f"A-{number}", energy_wh=number) for number in range(1, 21)])
    named = [{"operator": str(OPERATOR), "cdr_id": f"A-{number}"} for number in range(1, 21)]
    turns = [named, named[::-1], named[10:], named[:5]]
    answers = await asyncio.gather(
        *(approve(house, "approvals", {"cdrs": turn}) for turn in turns),
        house.post([told(f"B-{number}", energy_wh=99 + number) for number in range(20)]),
    )
    assert {status for status, _ in answers} == {200}
    async with database.hot() as connection:
        events = await event_log.read(connection, START, types=["cdr-approved"])
    assert len(events) == 20


async def test_half_a_credit_is_no_record(house: House) -> None:
    for half in (
        {"credit": True},
        {"credit_reference_id": "A-1"},
        {"credit": True, "credit_reference_id": "A-1", "replaces": "A-1"},
    ):
        status, body = await house.post(told("A-2", **half))
        assert (status, body["field"]) == (422, "credit_reference_id")


async def test_a_credit_is_shown_with_what_it_takes_back(house: House) -> None:
    await house.post(told("A-1"))
    status, body = await house.post(told("A-1-C", credit=True, credit_reference_id="A-1"))
    assert (status, body["price"]["excl_vat"]) == (201, "-5.00")
    _, shown = await house.get(f"/cdrs/{OPERATOR}/A-1-C")
    assert (shown["credit"], shown["credit_reference_id"]) == (True, "A-1")
    assert shown["period_id"] == "2025-01"
    _, shown = await house.get(f"/cdrs/{OPERATOR}/A-1")
    assert shown["state"] == "credited"


def ndjson(*records: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in records)


async def stream(house: House, body: bytes, query: str = "", **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await house.call("POST", "/cdrs/stream", body, query=query, headers=names)


LINES = ndjson(
    told("A-1"),
    told("A-2", energy_wh=-1),
    {"cdr_id": "A-3"},
    told("A-4", end="2025-01-17T12:00:00Z"),
    told("A-1"),
    told("A-1", energy_wh=1),
)


async def test_a_stream_is_booked_line_by_line_and_answered_by_a_report(house: House) -> None:
    answer = await stream(house, LINES + b"\n  \nnonsense\n")
    report = json.loads(answer.body)
    rejections = report.pop("rejections")
    assert (answer.status, report) == (
        200,
        {
            "read": 7,
            "accepted": 1,
            "flagged": 1,
            "rejected": 4,
            "known": 1,
            "since": NOW.isoformat().replace("+00:00", "Z"),
        },
    )
    assert [(one["line"], one["answer"]["reasons"]) for one in rejections] == [
        (2, ["negative-energy"]),
        (3, ["malformed"]),
        (6, ["cdr-id-reused"]),
        (9, ["malformed"]),
    ]
    again = json.loads((await stream(house, LINES, "rejections=1")).body)
    assert (again["known"], again["accepted"], len(again["rejections"])) == (3, 0, 1)
    _, page = await house.get("/cdrs", query=f"state=rejected&since={report['since']}")
    assert [one["cdr_id"] for one in page["cdrs"]] == ["A-2"]


async def test_a_stream_may_be_compressed_and_answered_line_by_line(house: House) -> None:
    answer = await stream(
        house, gzip.compress(LINES), content_encoding="gzip", accept="application/x-ndjson"
    )
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    told_ = [json.loads(line) for line in answer.body.splitlines()]
    assert [(one["cdr_id"], one["state"]) for one in told_] == [
        ("A-1", "accepted"),
        ("A-2", "rejected"),
        ("A-3", "rejected"),
        ("A-4", "flagged"),
        ("A-1", "accepted"),
        ("A-1", "rejected"),
    ]


async def test_a_stream_of_thousands_of_lines_keeps_its_order(house: House) -> None:
    records = [told(f"N-{number}", energy_wh=number) for number in range(1_203)]
    answer = await stream(house, ndjson(*records), accept="application/x-ndjson")
    assert [json.loads(line)["cdr_id"] for line in answer.body.splitlines()] == [
        one["cdr_id"] for one in records
    ]


async def test_what_a_broken_stream_has_told_is_booked_and_known_when_it_comes_again(
    house: House, database: Database
) -> None:
    records = ndjson(*(told(f"N-{number}", energy_wh=number) for number in range(1_100)))
    broken = await stream(house, gzip.compress(records)[:-20], content_encoding="gzip")
    assert broken.status == 422
    async with database.hot() as connection:
        assert await connection.fetchval("SELECT count(*) FROM clearinghouse.cdr") == 1_000
    again = json.loads((await stream(house, records)).body)
    assert (again["read"], again["known"]) == (1_100, 1_000)


@pytest.mark.parametrize(
    "line",
    [b'{"cdr_id": "' + b"x" * 300_000 + b'"}', b'{"cdr_id": "\\u0000"}', b"[", b"\xff", b"[]"],
)
async def test_a_line_that_is_no_record_stops_no_other(house: House, line: bytes) -> None:
    report = json.loads((await stream(house, line + b"\n" + ndjson(told()))).body)
    assert (report["read"], report["accepted"], report["rejected"]) == (2, 1, 1)
    assert report["rejections"][0]["answer"]["reasons"] == ["malformed"]


async def test_only_an_operator_streams(house: House) -> None:
    for who in AS_EVSP, {"party": None}:
        answer = await house.call("POST", "/cdrs/stream", LINES, **who)
        assert answer.status in (401, 403)
    assert (await stream(house, LINES, "rejections=many")).status == 422
