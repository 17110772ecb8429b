"""The door as callers see it, for services of this process: who gets in, and what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import http_sf
import httpx
import pytest
from starlette.types import Receive, Scope, Send

from gateway.calls.model import Denial, Grant, Limits, Mode, Quota, Reason, Service
from gateway.calls.refusals import QuotaUnreadable
from gateway.usage.model import NotRecorded
from kit.access_token import Verifier
from kit.http import CALLER, Caller, call_asgi
from tests.gateway.calls.fakes import (
    NOON,
    OPERATOR,
    PROVIDER,
    STRANGER,
    CountedQuotas,
    House,
    Known,
)
from tests.gateway.calls.servers import served, until

PROBLEMS = "https://gridroam.org/problems/"
OPERATIONS = [("GET", "/evses", "search"), ("POST", "/evses/{id}/notes", "annotate")]


class Finder:
    """A service of the hub: says what it was asked, or does as `answer` says."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.status = 200
        self.chunks = [b'{"evses":', b"[]}"]
        self.headers: list[tuple[bytes, bytes]] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies.append(body)
        if self.gate is not None:
            await self.gate.wait()
        headers = [(b"content-type", b"application/json"), *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        for chunk in self.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.fixture
def finder() -> Finder:
    return Finder()


@pytest.fixture
def house(finder: Finder) -> House:
    house = House(local={"search-evse": finder}, operations={"search-evse": OPERATIONS})
    house.book.add(Service("search-evse", 1, PROVIDER))
    house.book.answers[OPERATOR, "search-evse"] = Grant("C-1")
    return house


def service(**changes: Any) -> Service:
    return Service(**{"name": "search-evse", "major": 1, "provider": PROVIDER, **changes})


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        client.headers["Authorization"] = "Bearer operator"
        yield client


PATH = "/services/search-evse/evses"


async def test_a_permitted_call_is_answered_with_its_contract_and_trace(
    client: httpx.AsyncClient, house: House, finder: Finder
) -> None:
    answer = await client.get(PATH, params={"near": "48.85,2.35"})
    assert (answer.status_code, answer.json()) == (200, {"evses": []})
    assert answer.headers["X-Contract-Id"] == "C-1"
    request_id = answer.headers["X-Request-Id"]
    assert answer.headers["traceparent"].split("-")[1] == request_id
    scope = finder.scopes[0]
    assert scope["path"] == "/evses"
    assert scope["raw_path"] == b"/evses"
    assert scope["root_path"] == "/services/search-evse"
    assert scope["query_string"] == b"near=48.85%2C2.35"
    assert scope[CALLER] == Caller(
        OPERATOR, frozenset({"evse-operator"}), "client-1", "C-1", request_id
    )
    assert house.book.asked == [(OPERATOR, "search-evse", 1, "search")]


async def test_every_call_leaves_one_usage_record(client: httpx.AsyncClient, house: House) -> None:
    answer = await client.post("/services/search-evse/evses/FR*1/notes", content=b"12345")
    (record,) = house.meter.noted
    assert record._replace(duration_us=0) == (
        answer.headers["X-Request-Id"],
        NOON,
        "C-1",
        OPERATOR,
        PROVIDER,
        "search-evse",
        1,
        "annotate",
        "POST",
        200,
        0,
        5,
        len(answer.content),
        False,
        False,
        1,
    )
    assert house.meter.committed == []


async def test_without_a_token_nobody_gets_in(
    client: httpx.AsyncClient, house: House, finder: Finder
) -> None:
    for credentials in ("", "Basic b3BlcmF0b3I=", "Bearer", "Bearer forged", "operator"):
        answer = await client.get(PATH, headers={"Authorization": credentials})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.headers["Content-Type"] == "application/problem+json"
        problem = answer.json()
        assert problem["type"] == PROBLEMS + "caller-unknown"
        assert problem["request_id"] == answer.headers["X-Request-Id"]
        assert problem["rule"]
    assert finder.scopes == []
    assert house.meter.noted == []
    assert {refused.reason for refused in house.refusals.noted} == {Reason.UNAUTHENTICATED}


async def test_a_token_that_the_real_verifier_does_not_know_is_refused(house: House) -> None:
    house.tokens = Verifier("https://hub", "https://hub", lambda: NOON)  # type: ignore[assignment]
    answer = await call_asgi(house.open(), "GET", PATH, headers={"authorization": "Bearer a.b.c"})
    assert answer.status == 401


async def test_a_token_for_other_things_calls_no_service(
    client: httpx.AsyncClient, house: House, finder: Finder
) -> None:
    elsewhere = Known(OPERATOR, scopes=frozenset({"marketplace", "events"}))
    house.tokens.known["elsewhere"] = elsewhere
    answer = await client.get(PATH, headers={"Authorization": "Bearer elsewhere"})
    assert answer.status_code == 403
    problem = answer.json()
    assert problem["type"] == PROBLEMS + "scope-missing"
    assert (problem["field"], problem["value"]) == ("scope", "services")
    assert finder.scopes == []
    (refused,) = house.refusals.noted
    assert (refused.caller, refused.reason) == (OPERATOR, Reason.SCOPE_MISSING)


@pytest.mark.parametrize(
    "reason",
    [
        Reason.NO_CONTRACT,
        Reason.CONTRACT_SUSPENDED,
        Reason.CONTRACT_EXPIRED,
        Reason.NOT_YET_VALID,
        Reason.OPERATION_NOT_COVERED,
    ],
)
async def test_without_a_contract_in_force_a_call_is_refused_with_its_reason(
    client: httpx.AsyncClient, house: House, finder: Finder, reason: Reason
) -> None:
    house.book.answers[OPERATOR, "search-evse"] = Denial(reason, "C-9")
    answer = await client.get(PATH)
    assert answer.status_code == 403
    problem = answer.json()
    assert problem["type"] == PROBLEMS + "not-covered"
    assert (problem["field"], problem["value"]) == ("contract", reason.value)
    assert problem["rule"]
    assert finder.scopes == []
    assert house.meter.noted == []
    (refused,) = house.refusals.noted
    assert (refused.caller, refused.reason, refused.contract_id) == (OPERATOR, reason, "C-9")
    assert (refused.service, refused.operation) == ("search-evse", "search")
    assert refused.request_id == answer.headers["X-Request-Id"]


async def test_another_party_does_not_pass_under_the_contract_of_the_first(
    client: httpx.AsyncClient, house: House
) -> None:
    answer = await client.get(PATH, headers={"Authorization": "Bearer stranger"})
    assert answer.json()["value"] == "no-contract"
    assert house.refusals.noted[0].caller == STRANGER


async def test_a_service_that_nobody_published_is_unknown(
    client: httpx.AsyncClient, house: House
) -> None:
    for path in ("/services/nothing/x", "/services/search-evse/v2/evses"):
        answer = await client.get(path)
        assert answer.status_code == 404
        assert answer.json()["type"] == PROBLEMS + "service-unknown"
    assert [one.reason for one in house.refusals.noted] == [Reason.SERVICE_UNKNOWN] * 2


async def test_a_suspended_service_takes_no_calls(client: httpx.AsyncClient, house: House) -> None:
    house.book.add(service(suspended=True))
    answer = await client.get(PATH)
    assert answer.status_code == 503
    assert answer.json()["type"] == PROBLEMS + "service-suspended"


async def test_an_operation_that_the_service_does_not_have_is_unknown(
    client: httpx.AsyncClient, finder: Finder
) -> None:
    for method, path in (("GET", "/nothing"), ("DELETE", "/evses"), ("GET", "/evses/")):
        answer = await client.request(method, "/services/search-evse" + path)
        assert answer.status_code == 404
        assert answer.json()["type"] == PROBLEMS + "operation-unknown"
    assert finder.scopes == []


async def test_a_service_of_the_hub_that_this_process_does_not_run_is_unavailable(
    client: httpx.AsyncClient, house: House
) -> None:
    house.book.add(Service("energy", 1, PROVIDER))
    answer = await client.get("/services/energy/areas")
    assert (answer.status_code, answer.json()["type"]) == (503, PROBLEMS + "not-served-here")


async def test_a_contract_table_that_is_too_old_is_not_gone_by(
    client: httpx.AsyncClient, house: House, finder: Finder
) -> None:
    house.book.age = 30.0
    assert (await client.get(PATH)).status_code == 200
    house.book.age = 30.5
    answer = await client.get(PATH)
    assert (answer.status_code, answer.json()["type"]) == (503, PROBLEMS + "contracts-too-old")
    assert len(finder.scopes) == 1
    # Not the caller's fault, so nothing is held against it in the log.
    assert house.refusals.noted == []


async def test_in_shadow_mode_what_would_be_refused_is_told_and_let_through(
    client: httpx.AsyncClient, house: House, finder: Finder
) -> None:
    house.book.add(service(mode=Mode.SHADOW))
    house.book.answers[OPERATOR, "search-evse"] = Denial(Reason.CONTRACT_EXPIRED, "C-9")
    answer = await client.get(PATH)
    assert answer.status_code == 200
    assert "X-Contract-Id" not in answer.headers
    (refused,) = house.refusals.noted
    assert (refused.shadow, refused.reason) == (True, Reason.CONTRACT_EXPIRED)
    assert house.meter.noted[0].contract_id is None
    assert finder.scopes[0][CALLER].contract_id is None


async def test_in_shadow_mode_a_quota_does_not_stop_a_call(
    client: httpx.AsyncClient, house: House
) -> None:
    house.book.add(service(mode=Mode.SHADOW))
    house.book.answers[OPERATOR, "search-evse"] = Grant("C-1", Quota(per_day=1))
    assert (await client.get(PATH)).status_code == 200
    assert [(one.reason, one.shadow) for one in house.refusals.noted] == [
        (Reason.QUOTA_EXCEEDED, True)
    ]


async def test_in_shadow_mode_a_quota_that_cannot_be_read_stops_no_call_and_is_held_against_nobody(
    client: httpx.AsyncClient, house: House
) -> None:
    assert isinstance(house.quotas, CountedQuotas)
    house.quotas.failure = QuotaUnreadable("the quota cannot be read now")
    house.book.answers[OPERATOR, "search-evse"] = Grant("C-1", Quota(per_day=1))
    for mode, status in ((Mode.ENFORCE, 503), (Mode.SHADOW, 200)):
        house.book.add(service(mode=mode))
        assert (await client.get(PATH)).status_code == status
    assert house.refusals.noted == []


async def test_with_contracts_off_none_is_asked_for(
    client: httpx.AsyncClient, house: House
) -> None:
    house.book.add(service(mode=Mode.OFF))
    assert (await client.get(PATH)).status_code == 200
    assert house.book.asked == []
    assert len(house.meter.noted) == 1


async def test_a_quota_is_told_and_kept(client: httpx.AsyncClient, house: House) -> None:
    assert isinstance(house.quotas, CountedQuotas)
    house.quotas.left = 2
    house.book.answers[OPERATOR, "search-evse"] = Grant("C-1", Quota(per_day=2))
    first, second, third = [await client.get(PATH) for _ in range(3)]
    assert [first.headers[f"RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset")] == [
        "2",
        "1",
        "43200",
    ]
    assert second.headers["RateLimit-Remaining"] == "0"
    assert third.status_code == 429
    assert third.headers["Retry-After"] == "43200"
    assert third.headers["RateLimit"] == '"day";r=0;t=43200'
    assert third.json()["type"] == PROBLEMS + "quota-exceeded"
    assert third.json()["reason"] == "quota-exceeded"
    assert third.json()["violated-policies"] == ["day"]
    assert house.refusals.noted[0].reason is Reason.QUOTA_EXCEEDED
    assert len(house.meter.noted) == 2


async def test_every_limit_is_told_with_what_is_left_of_it(
    client: httpx.AsyncClient, house: House
) -> None:
    assert isinstance(house.quotas, CountedQuotas)
    house.quotas.left = 9
    quota = Quota(per_second=10, per_day=100, per_month=2000, pack=500)
    house.book.answers[OPERATOR, "search-evse"] = Grant("C-1", quota)
    headers = (await client.get(PATH)).headers
    assert headers["RateLimit-Policy"] == (
        '"second";q=10;w=1, "day";q=100;w=86400, "month";q=2000, "pack";q=500'
    )
    # It is noon on the fourth of May.
    assert headers["RateLimit"] == (
        '"second";r=8;t=1, "day";r=8;t=43200, "month";r=8;t=2376000, "pack";r=8'
    )
    for name in ("RateLimit-Policy", "RateLimit"):
        told: Any = http_sf.parse(headers[name].encode(), tltype="list")
        assert [one[0] for one in told] == ["second", "day", "month", "pack"]


async def test_a_pack_that_is_used_up_says_where_the_next_one_is_bought(
    client: httpx.AsyncClient, house: House
) -> None:
    house.book.answers[OPERATOR, "search-evse"] = Grant("C-1", Quota(pack=500))
    answer = await client.get(PATH)
    told = answer.json()
    assert (answer.status_code, told["type"]) == (429, PROBLEMS + "pack-used-up")
    assert (told["reason"], told["violated-policies"]) == ("pack-used-up", ["pack"])
    assert "POST /marketplace/contracts/C-1/packs" in told["rule"]
    assert "Retry-After" not in answer.headers
    assert "RateLimit-Reset" not in answer.headers
    assert house.refusals.noted[0].reason is Reason.PACK_USED_UP


async def test_a_call_of_a_contract_without_a_quota_tells_no_limit(
    client: httpx.AsyncClient,
) -> None:
    assert not [name for name in (await client.get(PATH)).headers if "ratelimit" in name.lower()]


async def test_a_priced_call_is_in_the_books_before_it_is_answered(
    client: httpx.AsyncClient, house: House
) -> None:
    house.book.answers[OPERATOR, "search-evse"] = Grant("C-1", priced=True)
    answer = await client.get(PATH)
    assert answer.json() == {"evses": []}
    (record,) = house.meter.committed
    assert (record.billable, record.status, record.bytes_out) == (True, 200, len(answer.content))
    assert house.meter.noted == []


async def test_a_priced_call_whose_record_fails_is_not_given_away(
    client: httpx.AsyncClient, house: House
) -> None:
    house.book.answers[OPERATOR, "search-evse"] = Grant("C-1", priced=True)
    house.meter.failure = NotRecorded("the database is away")
    answer = await client.get(PATH)
    assert answer.status_code == 503
    assert b"evses" not in answer.content
    assert answer.json()["type"] == PROBLEMS + "not-recorded"
    assert [(one.billable, one.status) for one in house.meter.noted] == [(False, 503)]


async def test_a_priced_call_that_fails_is_not_billed(
    client: httpx.AsyncClient, house: House, finder: Finder
) -> None:
    house.book.answers[OPERATOR, "search-evse"] = Grant("C-1", priced=True)
    finder.status = 409
    assert (await client.get(PATH)).status_code == 409
    assert house.meter.committed == []
    assert [one.billable for one in house.meter.noted] == [False]


async def test_a_large_priced_answer_is_booked_before_its_first_byte(
    client: httpx.AsyncClient, house: House, finder: Finder
) -> None:
    house.book.answers[OPERATOR, "search-evse"] = Grant("C-1", priced=True)
    finder.chunks = [b"x" * 600_000] * 4
    answer = await client.get(PATH)
    assert len(answer.content) == 2_400_000
    assert len(house.meter.committed) == 1
    # And told of once more when all of it had gone out, since a price may go by its length.
    assert [(one.billable, one.bytes_out) for one in house.meter.noted] == [(True, 2_400_000)]
    assert house.meter.noted[0].request_id == house.meter.committed[0].request_id


async def test_a_priced_answer_that_comes_bit_by_bit_is_booked_first_and_not_held(
    house: House,
) -> None:
    """Who waits for the next event cannot wait for the end of all of them."""
    first_taken = asyncio.Event()

    async def telling(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        async with asyncio.timeout(15):
            await first_taken.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n"})

    house.book.answers[OPERATOR, "search-evse"] = Grant("C-1", priced=True)
    house.local["search-evse"] = telling
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        headers = {"Authorization": "Bearer operator"}
        async with client.stream("GET", PATH, headers=headers) as answer:
            pieces = answer.aiter_bytes()
            assert await anext(pieces) == b"data: 1\n\n"
            assert [one.billable for one in house.meter.committed] == [True]
            first_taken.set()
            assert [piece async for piece in pieces] == [b"data: 2\n\n"]


@pytest.mark.parametrize(
    ("told", "units"),
    [
        ([b"12"], 12),
        ([b"0"], 0),
        ([b"1000000000"], 1_000_000_000),
        ([], 1),
        ([b"1000000001"], 1),
        ([b"-1"], 1),
        ([b"1.5"], 1),
        ([b"\xb2"], 1),
        ([b""], 1),
        ([b"3", b"4"], 1),
    ],
    ids=str,
)
async def test_units_are_what_the_provider_tells_or_one(
    client: httpx.AsyncClient, house: House, finder: Finder, told: list[bytes], units: int
) -> None:
    house.book.answers[OPERATOR, "search-evse"] = Grant("C-1", priced=True, units_told=True)
    finder.headers = [(b"gridroam-units", one) for one in told]
    assert (await client.get(PATH)).status_code == 200
    assert [one.units for one in house.meter.committed] == [units]


async def test_units_count_only_where_the_price_goes_by_them(
    client: httpx.AsyncClient, house: House, finder: Finder
) -> None:
    house.book.answers[OPERATOR, "search-evse"] = Grant("C-1", priced=True)
    finder.headers = [(b"gridroam-units", b"12")]
    await client.get(PATH)
    assert [one.units for one in house.meter.committed] == [1]


async def test_when_usage_can_no_longer_be_recorded_nothing_is_let_through(
    client: httpx.AsyncClient, house: House, finder: Finder
) -> None:
    house.meter.full = True
    answer = await client.get(PATH)
    assert (answer.status_code, answer.json()["type"]) == (503, PROBLEMS + "not-recorded")
    assert finder.scopes == []


async def test_a_callers_trace_is_continued(client: httpx.AsyncClient) -> None:
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    answer = await client.get(PATH, headers={"traceparent": f"00-{trace}-{span}-00"})
    version, told_trace, told_span, flags = answer.headers["traceparent"].split("-")
    assert (version, told_trace, flags) == ("00", trace, "00")
    assert told_span != span


async def test_a_body_over_its_limit_is_refused_before_it_is_read(
    house: House, finder: Finder
) -> None:
    house.limits = Limits(body_bytes=1000)
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        client.headers["Authorization"] = "Bearer operator"
        answer = await client.post("/services/search-evse/evses/1/notes", content=b"x" * 1001)
        assert (answer.status_code, answer.json()["type"]) == (413, PROBLEMS + "body-too-large")
        assert finder.scopes == []


async def test_a_body_that_is_read_as_it_comes_may_be_longer(house: House, finder: Finder) -> None:
    path = "/services/search-evse/evses/1/notes"
    house.limits = Limits(body_bytes=1000, stream_bytes=2000, streams=frozenset({path}))
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        client.headers["Authorization"] = "Bearer operator"
        statuses = [
            (await client.post(path, content=b"x" * size)).status_code for size in (2000, 2001)
        ]
    assert (statuses[0] == 413, statuses[1]) == (False, 413)
    assert len(finder.scopes) == 1


async def test_a_body_of_unannounced_length_is_cut_off_at_its_limit(
    house: House, finder: Finder
) -> None:
    house.limits = Limits(body_bytes=1000)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 100

    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        client.headers["Authorization"] = "Bearer operator"
        answer = await client.post("/services/search-evse/evses/1/notes", content=pieces())
    assert (answer.status_code, answer.json()["type"]) == (413, PROBLEMS + "body-too-large")
    assert finder.bodies == []
    assert [record.status for record in house.meter.noted] == [413]


async def test_paths_that_two_servers_could_read_in_two_ways_are_refused(house: House) -> None:
    app = house.open()
    for path in ("/services/search-evse/../x", "/services/search-evse/a%2f..%2fb", "/services/"):
        answer = await call_asgi(app, "GET", path, headers={"authorization": "Bearer operator"})
        assert answer.status == 422, path
    answer = await call_asgi(
        app, "GET", PATH, query="a=\r\nx", headers={"authorization": "Bearer operator"}
    )
    assert answer.status == 422


async def test_paths_and_headers_beyond_all_reason_are_refused(house: House) -> None:
    app = house.open()
    token = {"authorization": "Bearer operator"}
    long_path = await call_asgi(app, "GET", PATH + "x" * 9000, headers=token)
    long_header = await call_asgi(app, "GET", PATH, headers={**token, "x": "y" * 40_000})
    assert [long_path.status, long_header.status] == [431, 431]


async def test_a_client_that_calls_too_fast_is_slowed_and_others_are_not(house: House) -> None:
    house.limits = Limits(calls_per_second=3.0)
    house.book.answers[STRANGER, "search-evse"] = Grant("C-2")
    app = house.open()
    told = [
        await call_asgi(app, "GET", PATH, headers={"authorization": "Bearer operator"})
        for _ in range(10)
    ]
    refused = [answer for answer in told if answer.status == 429]
    assert len(refused) >= 6
    assert refused[0].headers["retry-after"] == "1"
    other = await call_asgi(app, "GET", PATH, headers={"authorization": "Bearer stranger"})
    assert other.status == 200
    assert {one.reason for one in house.refusals.noted} == {Reason.RATE_EXCEEDED}


async def test_one_client_cannot_take_all_places_at_once(house: House, finder: Finder) -> None:
    house.limits = Limits(calls_at_once=3)
    house.book.answers[STRANGER, "search-evse"] = Grant("C-2")
    finder.gate = asyncio.Event()
    app = house.open()

    async def ask(who: str) -> int:
        headers = {"authorization": f"Bearer {who}"}
        return (await call_asgi(app, "GET", PATH, headers=headers)).status

    calls = [asyncio.create_task(ask("operator")) for _ in range(5)]
    calls.append(asyncio.create_task(ask("stranger")))
    await until(lambda: len(finder.scopes) == 4)
    finder.gate.set()
    assert await asyncio.gather(*calls) == [200, 200, 200, 429, 429, 200]
    # Places are given back.
    assert await ask("operator") == 200


async def test_a_bug_behind_the_door_tells_a_number_and_nothing_else(house: House) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("the password is swordfish")

    house.local["search-evse"] = broken
    answer = await call_asgi(
        house.open(), "GET", PATH, headers={"authorization": "Bearer operator"}
    )
    assert answer.status == 500
    assert b"swordfish" not in answer.body
    assert b"Traceback" not in answer.body
    assert [record.status for record in house.meter.noted] == [500]


async def test_a_reader_that_forgets_to_answer_is_a_bug_of_ours(house: House) -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    house.local["search-evse"] = silent
    answer = await call_asgi(
        house.open(), "GET", PATH, headers={"authorization": "Bearer operator"}
    )
    assert answer.status == 500


async def test_request_ids_are_given_once_and_sort_by_time(house: House) -> None:
    app = house.open()
    ids = [
        (await call_asgi(app, "GET", PATH, headers={"authorization": "Bearer operator"})).headers[
            "x-request-id"
        ]
        for _ in range(50)
    ]
    assert len(set(ids)) == 50
    assert ids == sorted(ids)
    assert {len(one) for one in ids} == {32}
    assert timedelta(milliseconds=int(ids[0][:12], 16)) == timedelta(seconds=NOON.timestamp())


async def test_outcomes_are_counted_for_prometheus(client: httpx.AsyncClient, house: House) -> None:
    await client.get(PATH)
    await client.get(PATH, headers={"Authorization": "Bearer stranger"})
    house.book.age = 12.0
    value = house.registry.get_sample_value
    ok = {"service": "search-evse", "outcome": "200"}
    assert value("gridroam_calls_total", ok) == 1
    assert value("gridroam_calls_total", {**ok, "outcome": "403"}) == 1
    assert value("gridroam_calls_refused_total", {"reason": "no-contract"}) == 1
    assert value("gridroam_call_seconds_count", {"service": "search-evse"}) == 2
    assert value("gridroam_contracts_age_seconds") == 12.0
