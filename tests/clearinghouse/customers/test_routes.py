"""Customer contracts over HTTP: what an EVSP sends, and what it is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI

from clearinghouse.customers import routes
from clearinghouse.customers.store import SqlCustomers
from kit import problem
from kit.database import Database
from kit.http import CALLER, Answer, Caller, call_asgi
from roaming.contract_id import ContractId
from roaming.party import PartyId

ROOT = "/customer-contracts"
FIRST = ContractId("FRXYZ000000001")
FULL = {
    "token_uids": ["04a1b2c3"],
    "valid_from": "2025-01-01T00:00:00+01:00",
    "valid_until": None,
    "status": "active",
    "services": ["charging"],
    "authorisation": "both",
    "display_name": "Zoë",
    "limits": {
        "currency": "EUR",
        "per_charge_minor": 5000,
        "per_day_minor": None,
        "per_month_minor": 20000,
    },
}


@pytest.fixture
def app(database: Database) -> FastAPI:
    app = FastAPI()
    problem.install(app)
    app.include_router(
        routes.router(
            SqlCustomers(database), database, clock=lambda: datetime(2025, 1, 7, tzinfo=UTC)
        )
    )
    return app


async def call(
    app: FastAPI,
    method: str,
    path: str,
    body: Any = None,
    *,
    party: str = "FR*XYZ",
    role: str = "evsp",
    query: str = "",
    headers: dict[str, str] | None = None,
) -> Answer:
    caller = Caller(PartyId(party), frozenset({role}), "client", None, "request")
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return await call_asgi(
        app,
        method,
        ROOT + path,
        headers={"content-type": "application/json", **(headers or {})},
        body=raw,
        query=query,
        extra_scope={CALLER: caller},
    )


def told(answer: Answer) -> Any:
    return json.loads(answer.body)


def ndjson(*lines: object) -> bytes:
    return b"\n".join(
        line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines
    )


async def test_a_new_contract_is_201_and_a_known_one_200(app: FastAPI) -> None:
    first = await call(app, "PUT", "/fr-xyz-000000001", FULL)
    again = await call(app, "PUT", f"/{FIRST}", FULL)
    assert (first.status, again.status) == (201, 200)
    assert told(first) == told(again)
    assert told(first) == {
        **FULL,
        "contract_id": FIRST,
        "evsp": "FR*XYZ",
        "token_uids": ["04A1B2C3"],
        "valid_from": "2024-12-31T23:00:00Z",
    }
    shown = await call(app, "GET", f"/{FIRST}")
    assert told(shown) == told(first)


async def test_deleting_blocks(app: FastAPI) -> None:
    await call(app, "PUT", f"/{FIRST}", FULL)
    deleted = await call(app, "DELETE", f"/{FIRST}")
    assert (deleted.status, told(deleted)["status"]) == (200, "blocked")
    assert told(await call(app, "GET", f"/{FIRST}"))["status"] == "blocked"


async def test_the_list_goes_on_by_its_link(app: FastAPI) -> None:
    for n in range(3):
        await call(app, "PUT", f"/FRXYZ00000000{n}", {})
    await call(app, "PUT", "/DEABC000000001", {}, party="DE*ABC")
    page = await call(app, "GET", "", query="limit=2")
    seen = [one["contract_id"] for one in told(page)]
    link = page.headers["link"]
    assert link.endswith('rel="next"')
    query = link[link.index("?") + 1 : link.index(">")]
    last = await call(app, "GET", "", query=query)
    seen += [one["contract_id"] for one in told(last)]
    assert seen == [ContractId(f"FRXYZ00000000{n}") for n in range(3)]
    assert "link" not in last.headers


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", f"/{FIRST}", FULL),
        ("GET", f"/{FIRST}", None),
        ("DELETE", f"/{FIRST}", None),
    ],
)
async def test_another_evsps_contract_is_403_and_stays_as_it_is(
    app: FastAPI, method: str, path: str, body: Any
) -> None:
    await call(app, "PUT", f"/{FIRST}", {})
    before = await call(app, "GET", f"/{FIRST}")
    answer = await call(app, method, path, body, party="DE*ABC")
    assert (answer.status, told(answer)["type"].rpartition("/")[2]) == (403, "not-your-customer")
    assert (await call(app, "GET", f"/{FIRST}")).body == before.body


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", f"/{FIRST}", {}),
        ("GET", f"/{FIRST}", None),
        ("DELETE", f"/{FIRST}", None),
        ("GET", "", None),
        ("POST", "/bulk", b""),
    ],
)
async def test_only_an_evsp_may(app: FastAPI, method: str, path: str, body: Any) -> None:
    answer = await call(app, method, path, body, role="evse-operator")
    assert (answer.status, told(answer)["field"]) == (403, "role")


async def test_nobody_gets_in_without_the_door(app: FastAPI) -> None:
    assert (await call_asgi(app, "GET", ROOT)).status == 401


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/FRXYZ00000000", {}, "contract_id"),
        (f"/{FIRST[:-1]}0", {}, "contract_id"),
        (f"/{FIRST}", {"contract_id": "FRXYZ000000002"}, "contract_id"),
        (f"/{FIRST}", {"valid_untl": None}, "body.valid_untl"),
        (f"/{FIRST}", {"valid_from": "2025-01-01T00:00:00"}, "body.valid_from"),
        (f"/{FIRST}", {"token_uids": [""]}, "token_uid"),
        (f"/{FIRST}", {"display_name": "a\x00b"}, "display_name"),
        (f"/{FIRST}", {"limits": {"currency": "EUR"}}, "limits"),
        (f"/{FIRST}", {"limits": {"per_day_minor": 1}}, "body.limits.currency"),
    ],
)
async def test_what_breaks_a_rule_is_422_and_names_the_field(
    app: FastAPI, path: str, body: Any, field: str
) -> None:
    answer = await call(app, "PUT", path, body)
    assert (answer.status, told(answer)["field"]) == (422, field)
    assert told(answer)["rule"]


async def test_a_token_of_another_evsp_is_409(app: FastAPI) -> None:
    await call(app, "PUT", "/DEABC000000001", {"token_uids": ["A1"]}, party="DE*ABC")
    answer = await call(app, "PUT", f"/{FIRST}", {"token_uids": ["A1"]})
    assert (answer.status, told(answer)["field"]) == (409, "token_uids[0]")
    assert "DE*ABC" not in answer.body.decode()


async def test_the_same_key_with_another_body_is_422(app: FastAPI) -> None:
    key = {"idempotency-key": "k1"}
    first = await call(app, "PUT", f"/{FIRST}", {}, headers=key)
    again = await call(app, "PUT", f"/{FIRST}", {}, headers=key)
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    other = await call(app, "PUT", f"/{FIRST}", FULL, headers=key)
    assert other.status == 422
    assert told(await call(app, "GET", f"/{FIRST}"))["token_uids"] == []


async def test_a_bulk_tells_counts_and_each_bad_line(app: FastAPI) -> None:
    body = ndjson(
        b'\xef\xbb\xbf{"contract_id":"FRXYZ000000001","token_uids":["A1"]}',
        b"",
        {"contract_id": "FRXYZ000000002", "token_uids": "A1"},
        b"not json",
        b'{"contract_id":"FRXYZ000000003","display_name":"\xff"}',
        b"[" * 50_000,
        {"contract_id": "FRXYZ0000000010"},
        {"contract_id": "DEABC000000001"},
        {"contract_id": "FRXYZ000000004", "valid_from": "2025-01-01T00:00:00"},
        {"contract_id": "FRXYZ000000005", "valid_until": "0001-01-01T00:00:00+05:00"},
        b'{"contract_id":"FRXYZ000000006","display_name":"' + b"x" * 70_000 + b'"}',
        b'["no object"]',
        {"contract_id": "FRXYZ000000007", "status": "blocked"},
        {"contract_id": "FRXYZ000000008", "limits": {"currency": "EUR", "per_day_minor": "1"}},
        {"contract_id": "FRXYZ000000008", "limits": {"currency": "EUR", "per_day_minor": -1}},
    )
    answer = await call(app, "POST", "/bulk", body)
    report = told(answer)
    assert answer.status == 200
    rejections = report.pop("rejections")
    assert report == {"read": 14, "created": 2, "changed": 0, "unchanged": 0, "rejected": 12}
    assert [(one["line"], one["field"]) for one in rejections] == [
        (3, "token_uids"),
        (4, "line"),
        (5, "line"),
        (6, "line"),
        (7, "contract_id"),
        (8, "contract_id"),
        (9, "valid_from"),
        (10, "valid_until"),
        (11, "line"),
        (12, "line"),
        (14, "limits.per_day_minor"),
        (15, "limits.per_day_minor"),
    ]
    assert all(one["rule"] for one in rejections)
    assert rejections[0]["value"] == "A1"
    assert told(await call(app, "GET", "/FRXYZ000000007"))["status"] == "blocked"


async def test_an_endless_line_is_not_kept_in_memory() -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield b"x" * 100_000
        yield b'\n{"contract_id": "FRXYZ000000001"}'

    pieces = [piece async for piece in routes._slices(endless())]
    assert [len(piece) for piece in pieces] == [routes.LINE_LONGEST_BYTES + 1, 33]


async def test_an_upload_is_told_gone_on_with_and_completed(app: FastAPI) -> None:
    lines = [{"contract_id": f"FRXYZ00000000{n}", "token_uids": [f"A{n}"]} for n in range(4)]
    missing = await call(app, "GET", "/uploads/may")
    assert (missing.status, told(missing)["field"]) == (404, "upload")
    first = await call(app, "POST", "/bulk", ndjson(*lines[:2], b""), query="upload=may")
    assert (first.status, told(first)["lines"], told(first)["state"]) == (200, 2, "open")
    gap = await call(app, "POST", "/bulk", ndjson(*lines[3:]), query="upload=may&from_line=4")
    assert (gap.status, told(gap)["field"]) == (409, "from_line")
    rest = ndjson(*lines[1:])
    last = await call(app, "POST", "/bulk", rest, query="upload=may&from_line=2&lines=4")
    shown = await call(app, "GET", "/uploads/may")
    assert told(last) == told(shown)
    assert {key: told(shown)[key] for key in ("mode", "state", "lines", "created", "ended")} == {
        "mode": "delta",
        "state": "complete",
        "lines": 4,
        "created": 4,
        "ended": 0,
    }
    assert (await call(app, "GET", "/uploads/may", party="DE*ABC")).status == 404


async def test_a_full_list_needs_a_name_and_is_completed_by_its_count(app: FastAPI) -> None:
    for n in range(3):
        await call(app, "PUT", f"/FRXYZ00000000{n}", {})
    nameless = await call(app, "POST", "/bulk", b"", query="mode=full")
    assert (nameless.status, told(nameless)["field"]) == (422, "upload")
    body = ndjson({"contract_id": "FRXYZ000000000"}, {"contract_id": "FRXYZ000000002"})
    stopped = await call(app, "POST", "/bulk", body, query="mode=full&upload=may&lines=2")
    assert (stopped.status, told(stopped)["rule"]) == (409, "confirm=1, if that is meant")
    short = await call(app, "POST", "/uploads/may/complete", {"lines": 3, "confirm": 1})
    assert (short.status, told(short)["field"]) == (409, "lines")
    done = await call(app, "POST", "/uploads/may/complete", {"lines": 2, "confirm": 1})
    assert (done.status, told(done)["ended"]) == (200, 1)
    assert told(await call(app, "GET", "/FRXYZ000000001"))["status"] == "blocked"


async def test_a_removal_says_nothing_else(app: FastAPI) -> None:
    await call(app, "PUT", f"/{FIRST}", {"token_uids": ["A1"]})
    body = ndjson(
        {"contract_id": FIRST, "removed": True, "token_uids": ["A1"]},
        {"contract_id": FIRST, "removed": True},
    )
    report = told(await call(app, "POST", "/bulk", body))
    assert (report["changed"], [one["field"] for one in report["rejections"]]) == (1, ["removed"])
    shown = told(await call(app, "GET", f"/{FIRST}"))
    assert (shown["status"], shown["token_uids"]) == ("blocked", [])


@pytest.mark.parametrize("part", [1, 7, 64, 100_000])
async def test_lines_keep_their_numbers_however_they_are_cut_into_parts(part: int) -> None:
    body = b"\n".join(b'{"contract_id":"FRXYZ%09d"}' % n if n % 3 else b"" for n in range(2_000))

    async def parts() -> Any:
        for place in range(0, len(body), part):
            yield body[place : place + part]

    found = [line async for lines in routes._parsed(routes._slices(parts()), 11) for line in lines]
    assert [line.number for line in found] == [n + 11 for n in range(2_000) if n % 3]
    assert all((line.contract_id or "")[5:14] == f"{line.number - 11:09}" for line in found)
