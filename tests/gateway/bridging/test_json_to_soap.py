"""JSON to a SOAP provider: what it is sent, what the caller is told, and what is nobody's fault."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest
from aiohttp import web
from lxml import etree

from bridge.document import Document, Kind
from bridge.soap_envelope import SOAP_11
from bridge.username_token import PASSWORD_DIGEST, WSSE, WSU, digest
from gateway.calls.model import ContentMap, Grant, Limits, Quota
from tests.gateway.bridging.fakes import BridgedHouse, HubLogin, document, interface, saying
from tests.gateway.calls.fakes import NOON, OPERATOR, CountedQuotas
from tests.gateway.calls.servers import free_port, partner, served, until

PATH = "/services/weather/Ask"


@pytest.fixture
def house() -> BridgedHouse:
    return BridgedHouse()


@pytest.fixture
async def client(house: BridgedHouse) -> AsyncIterator[httpx.AsyncClient]:
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        client.headers["Authorization"] = "Bearer operator"
        yield client
    await house.upstream.close()


def left(house: BridgedHouse, calls: int) -> CountedQuotas:
    assert isinstance(house.quotas, CountedQuotas)
    house.quotas.left = calls
    return house.quotas


def told(hours: int = 7, version: str = "1.1") -> bytes:
    return interface().envelope("Ask", {"hours": hours}, version)


async def test_json_becomes_an_envelope_and_the_answer_json(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async with partner(saying(told())) as provider:
        house.weather(f"{provider.address}/soap/weather")
        answer = await client.post(PATH, json={"place": "Paris", "kind": "sun"})
    assert (answer.status_code, answer.json()) == (200, {"hours": 7})
    assert answer.headers["X-Contract-Id"] == "C-1"
    [request], [content] = provider.requests, provider.bodies
    assert (request.method, request.path_qs) == ("POST", "/soap/weather")
    assert request.headers["SOAPAction"] == '"urn:t/Ask"'
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.headers["Content-Type"] == "text/xml; charset=utf-8"
    assert request.headers["Content-Length"] == str(len(content))
    assert request.headers["X-Request-Id"] == answer.headers["X-Request-Id"]
    assert request.headers["X-Caller-Party"] == OPERATOR
    assert request.headers["X-Contract-Id"] == "C-1"
    assert request.headers["traceparent"] == answer.headers["traceparent"]
    asked = interface().question(content, "urn:t/Ask")
    assert (asked.operation, asked.payload) == ("Ask", {"place": "Paris", "kind": "sun"})
    assert house.book.asked == [(OPERATOR, "weather", 1, "Ask")]
    [record] = house.meter.noted
    assert (record.operation, record.status, record.bytes_out) == ("Ask", 200, len(answer.content))


async def test_bodies_that_are_read_whole_take_no_more_than_a_clients_share(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    house.limits = Limits(held_bytes_of_one=1_000)
    async with (
        partner(saying(told())) as provider,
        served(house.open()) as address,
        httpx.AsyncClient(base_url=address, headers=client.headers) as asking,
    ):
        house.weather(provider.address)
        refused = await asking.post(PATH, json={"place": "x" * 1_000})
        assert (refused.status_code, refused.json()["reason"]) == (429, "too-many-at-once")
        assert refused.headers["Retry-After"] == "1"
        # Each lets go of what it held.
        for _ in range(5):
            assert (await asking.post(PATH, json={"place": "x" * 500})).status_code == 200
    assert len(provider.requests) == 5


async def test_an_answer_is_in_the_encoding_that_http_says_where_its_xml_says_none(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    space = f'xmlns:e="{SOAP_11}"'
    no = "<faultcode>e:Client</faultcode><faultstring>O\u00f9 ?</faultstring>"
    content = f"<e:Envelope {space}><e:Body><e:Fault>{no}</e:Fault></e:Body></e:Envelope>"
    for body, charset in (
        (content.encode("latin-1"), "ISO-8859-1"),
        (f"<?xml version='1.0' encoding='UTF-8'?>{content}".encode(), "ISO-8859-1"),
        (content.encode(), "no-such-encoding"),
    ):
        async with partner(saying(body, 500, f"text/xml; charset={charset}")) as provider:
            house.weather(provider.address)
            answer = await client.post(PATH, json={"place": "Paris"})
        assert (answer.status_code, answer.json()["detail"]) == (422, "O\u00f9 ?"), charset


async def test_an_address_without_a_path_is_asked_at_its_root(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async with partner(saying(told())) as provider:
        house.weather(provider.address)
        assert (await client.post(PATH, json={"place": "Paris"})).status_code == 200
    [request] = provider.requests
    assert request.path_qs == "/"


async def test_a_provider_of_soap_1_2_is_asked_in_it(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    house.library.documents[b"weather"] = document(version="1.2")
    async with partner(saying(told(version="1.2"), 200, "application/soap+xml")) as provider:
        house.weather(provider.address)
        answer = await client.post(PATH, json={"place": "Paris"})
    assert answer.json() == {"hours": 7}
    announced = provider.requests[0].headers["Content-Type"]
    assert announced == 'application/soap+xml; charset=utf-8; action="urn:t/Ask"'
    assert "SOAPAction" not in provider.requests[0].headers


BAD = {
    "a member missing": ({}, "$.place", None),
    "a wrong type": ({"place": 7}, "$.place", "7"),
    "a member too many": ({"place": "Paris", "time": 1}, "$.time", "time"),
    "a value that there is not": ({"place": "Paris", "kind": "snow"}, "$.kind", "snow"),
    "no object": ([], "$", "an array"),
}


@pytest.mark.parametrize(("body", "field", "value"), BAD.values(), ids=BAD.keys())
async def test_what_the_wsdl_does_not_allow_never_reaches_the_provider(
    house: BridgedHouse, client: httpx.AsyncClient, body: Any, field: str, value: str | None
) -> None:
    quotas = left(house, 1)
    async with partner(saying(told())) as provider:
        house.weather(provider.address, quota=Quota(per_day=1))
        answer = await client.post(PATH, json=body)
        problem = answer.json()
        assert (answer.status_code, problem["type"].rpartition("/")[2]) == (422, "bad-payload")
        assert (problem["field"], problem.get("value")) == (field, value)
        assert problem["rule"]
        assert provider.requests == []
        # It cost nothing: the one call of the day is still there.
        assert (quotas.left, quotas.released, house.meter.noted) == (1, [], [])


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b'{"place":', {}, 422),
        (b'{"place": "\xff"}', {}, 422),
        (b"[" * 100_000, {}, 422),
        (b"place=Paris", {"Content-Type": "application/x-www-form-urlencoded"}, 422),
        (b"\x1f\x8b", {"Content-Encoding": "gzip"}, 422),
    ],
    ids=["broken off", "no utf-8", "nested without end", "a form", "compressed"],
)
async def test_what_is_no_json_is_refused(
    house: BridgedHouse,
    client: httpx.AsyncClient,
    content: bytes,
    headers: dict[str, str],
    status: int,
) -> None:
    async with partner(saying(told())) as provider:
        house.weather(provider.address)
        answer = await client.post(
            PATH, content=content, headers={"Content-Type": "application/json", **headers}
        )
        assert answer.status_code == status
        assert answer.json()["rule"]
        assert provider.requests == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", PATH), ("POST", "/services/weather/Tell"), ("POST", "/services/weather/Ask/7")],
)
async def test_an_operation_that_the_wsdl_does_not_have_is_unknown(
    house: BridgedHouse, client: httpx.AsyncClient, method: str, path: str
) -> None:
    house.weather(f"http://127.0.0.1:{free_port()}")
    answer = await client.request(method, path)
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("/operation-unknown")


@pytest.mark.parametrize(
    ("code", "status"), [("Client", 422), ("Server", 502), ("MustUnderstand", 502)]
)
@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_a_fault_is_a_problem_whose_status_says_who_is_to_blame(
    house: BridgedHouse, client: httpx.AsyncClient, code: str, status: int, version: str
) -> None:
    fault = interface().fault(version, code, "no such place", {"Sorry": {"why": "moved"}})
    media_type = "text/xml" if version == "1.1" else "application/soap+xml"
    quotas = left(house, 1)
    async with partner(saying(fault, 500, media_type)) as provider:
        house.weather(provider.address, quota=Quota(per_day=1))
        answer = await client.post(PATH, json={"place": "Paris"})
    problem = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.status_code, problem["type"].rpartition("/")[2]) == (status, "provider-fault")
    assert problem["detail"] == "no such place"
    assert problem["fault"] == {
        "code": code,
        "reason": "no such place",
        "detail": {"Sorry": {"why": "moved"}},
    }
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    # The provider did answer: the call counts.
    assert (quotas.left, quotas.released) == (0, [])
    assert [record.status for record in house.meter.noted] == [status]


FOREIGN = {
    "html": saying(b"<html>Welcome to nginx!</html>", 200, "text/html"),
    "html in error": saying(b"<html>Bad Gateway</html>", 502, "text/html"),
    "no xml": saying(b"Welcome"),
    "a bomb": saying(
        b'<!DOCTYPE a [<!ENTITY b "&c;&c;"><!ENTITY c "ha">]>' + told().partition(b"?>")[2]
    ),
    "another document": saying(b"<weather/>"),
    "another body": saying(told().replace(b"Told", b"Said")),
    "a body that breaks the wsdl": saying(told().replace(b">7<", b">seven<")),
    "nothing": saying(b""),
    "an error without a fault": saying(told(), 503),
    "a redirect": saying(b"", 302),
    "far too much": saying(told().replace(b">7<", b">" + b"7" * 11_000_000 + b"<")),
}


@pytest.mark.parametrize("behaviour", FOREIGN.values(), ids=FOREIGN.keys())
async def test_what_is_no_answer_by_the_wsdl_is_told_to_be_none(
    house: BridgedHouse, client: httpx.AsyncClient, behaviour: Any
) -> None:
    quotas = left(house, 2)
    async with partner(behaviour) as provider, partner(saying(told())) as good:
        house.weather(provider.address, quota=Quota(per_day=2))
        answer = await client.post(PATH, json={"place": "Paris"})
        problem = answer.json()
        assert (answer.status_code, problem["type"].rpartition("/")[2]) == (502, "provider-broken")
        assert "weather of NL*ABC answered" in problem["detail"]
        assert "nginx" not in answer.text
        assert quotas.left == 2
        house.weather(good.address, quota=Quota(per_day=2))
        assert (await client.post(PATH, json={"place": "Paris"})).json() == {"hours": 7}


async def test_a_provider_that_cannot_be_reached_is_told_to_be_away(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    house.weather(f"http://127.0.0.1:{free_port()}/")
    answer = await client.post(PATH, json={"place": "Paris"})
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (
        502,
        "provider-unreachable",
    )


async def test_an_operation_without_answer_is_only_acknowledged(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    house.library.documents[b"weather"] = Document(
        Kind.WSDL,
        "weather.wsdl",
        {**document().files, "weather.wsdl": _one_way(document().files["weather.wsdl"])},
    )
    async with partner(saying(b"", 202)) as provider:
        house.weather(provider.address)
        answer = await client.post(PATH, json={"place": "Paris"})
    assert (answer.status_code, answer.content) == (202, b"")


def _one_way(content: bytes) -> bytes:
    root = etree.fromstring(content)
    for name in ("output", "fault"):
        for one in root.findall(f".//{{http://schemas.xmlsoap.org/wsdl/}}{name}"):
            parent = one.getparent()
            assert parent is not None
            parent.remove(one)
    return etree.tostring(root)


@pytest.mark.parametrize("kind", ["text", "digest"])
async def test_a_provider_that_asks_for_a_login_gets_the_hubs_own(
    house: BridgedHouse, client: httpx.AsyncClient, kind: str
) -> None:
    house.logins.login = HubLogin("hub", "pass<word>", kind)
    async with partner(saying(told())) as provider:
        house.weather(provider.address)
        assert (await client.post(PATH, json={"place": "Paris"})).status_code == 200
    security = etree.fromstring(provider.bodies[0]).find(f".//{{{WSSE}}}Security")
    assert security is not None
    assert security.get(f"{{{SOAP_11}}}mustUnderstand") == "1"
    assert security.findtext(f".//{{{WSSE}}}Username") == "hub"
    password = security.find(f".//{{{WSSE}}}Password")
    assert password is not None
    if kind == "text":
        assert password.text == "pass<word>"
        return
    nonce = base64.b64decode(security.findtext(f".//{{{WSSE}}}Nonce") or "")
    created = security.findtext(f".//{{{WSU}}}Created") or ""
    assert created == "2026-05-04T12:00:00Z"
    assert password.get("Type") == PASSWORD_DIGEST
    assert password.text == digest(nonce, created, "pass<word>")


async def test_a_content_map_stands_between_the_callers_words_and_the_wsdls(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    maps = {"Ask": ContentMap("{place: where}", "{sunshine: {hours: hours}}")}
    async with partner(saying(told())) as provider:
        house.weather(provider.address, maps=maps)
        answer = await client.post(PATH, json={"where": "Paris"})
    assert answer.json() == {"sunshine": {"hours": 7}}
    assert interface().question(provider.bodies[0]).payload == {"place": "Paris"}


async def test_a_map_that_can_make_nothing_of_a_question_costs_nothing(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    quotas = left(house, 1)
    async with partner(saying(told())) as provider:
        maps = {"Ask": ContentMap("{place: join(',', where)}", None)}
        house.weather(provider.address, maps=maps, quota=Quota(per_day=1))
        answer = await client.post(PATH, json={"where": 7})
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (422, "map-failed")
        assert (provider.requests, quotas.left) == ([], 1)


async def test_an_interface_that_cannot_be_used_makes_its_service_unavailable_alone(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async with partner(saying(told())) as provider:
        house.library.documents[b"broken"] = Document(Kind.WSDL, "a", {"a": b"<definitions/>"})
        house.weather(provider.address, interface=b"broken")
        answer = await client.post(PATH, json={"place": "Paris"})
        problem = answer.json()
        assert (answer.status_code, problem["type"].rpartition("/")[2]) == (
            503,
            "interface-unreadable",
        )
        assert problem["rule"]
        house.weather(provider.address)
        assert (await client.post(PATH, json={"place": "Paris"})).status_code == 200


async def test_without_a_contract_nobody_is_told_what_is_wrong_with_a_question(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    house.weather(f"http://127.0.0.1:{free_port()}")
    del house.book.answers[OPERATOR, "weather"]
    answer = await client.post(PATH, json={"nonsense": 1})
    assert (answer.status_code, answer.json()["reason"]) == (403, "no-contract")


async def test_a_caller_that_goes_away_ends_the_call_at_the_provider(house: BridgedHouse) -> None:
    gone = False

    async def wait(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal gone
        transport = request.transport
        assert transport is not None
        await until(transport.is_closing)
        gone = True
        raise ConnectionResetError

    async with partner(wait) as provider, served(house.open()) as address:
        house.weather(provider.address)
        async with httpx.AsyncClient(base_url=address) as client:
            client.headers["Authorization"] = "Bearer operator"
            call = asyncio.create_task(client.post(PATH, json={"place": "Paris"}))
            await until(lambda: bool(provider.requests))
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
        await until(lambda: gone)
        await until(lambda: bool(house.meter.noted))
        assert [record.status for record in house.meter.noted] == [499]
    await house.upstream.close()


async def test_a_priced_call_is_in_the_books_before_its_answer_is_given(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async with partner(saying(told())) as provider:
        house.weather(provider.address)
        house.book.answers[OPERATOR, "weather"] = Grant("C-1", priced=True)
        answer = await client.post(PATH, json={"place": "Paris"})
    assert answer.json() == {"hours": 7}
    assert [record.billable for record in house.meter.committed] == [True]
    assert NOON + timedelta(0) == house.meter.committed[0].at


async def test_what_a_soap_provider_says_its_answer_took_is_counted_and_passed_on(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async def answering(_: web.BaseRequest) -> web.StreamResponse:
        headers = {"Content-Type": "text/xml; charset=utf-8", "Gridroam-Units": "12"}
        return web.Response(body=told(), headers=headers)

    async with partner(answering) as provider:
        house.weather(provider.address)
        house.book.answers[OPERATOR, "weather"] = Grant("C-1", priced=True, units_told=True)
        answer = await client.post(PATH, json={"place": "Paris"})
    assert answer.headers["Gridroam-Units"] == "12"
    assert [record.units for record in house.meter.committed] == [12]
