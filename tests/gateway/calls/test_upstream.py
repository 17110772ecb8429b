"""The way to a partner and back, over real sockets, with partners as bad as they come."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from gateway.calls.model import Grant, Lease, Limits, Period, Quota, Service
from gateway.calls.upstream import Upstream
from kit.http import call_asgi
from tests.gateway.calls.fakes import NOON, OPERATOR, PROVIDER, CountedQuotas, House
from tests.gateway.calls.servers import free_port, partner, raw_partner, served, until

PROBLEMS = "https://gridroam.org/problems/"


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House(upstream=Upstream(connect_s=0.5, total_s=2.0, idle_s=1.0, allow_loopback=True))
    yield house
    await house.upstream.close()


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        client.headers["Authorization"] = "Bearer operator"
        yield client


def publish(
    house: House,
    endpoint: str,
    name: str = "weather",
    grant: Grant | None = None,
    headers: Mapping[bytes, str] | None = None,
) -> None:
    house.book.add(Service(name, 1, PROVIDER, endpoint, headers=headers or {}))
    house.book.answers[OPERATOR, name] = grant or Grant("C-7")


async def hello(request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"path": request.raw_path, "method": request.method})


async def test_a_call_reaches_the_partner_and_its_answer_the_caller(
    house: House, client: httpx.AsyncClient
) -> None:
    async with partner(hello) as theirs:
        publish(house, theirs.address + "/api/")
        answer = await client.post(
            "/services/weather/sites/FR*PD1*E1/caf%C3%A9?q=a%20b&q=c", json={"at": "noon"}
        )
    assert answer.status_code == 200
    assert answer.json() == {
        "path": "/api/sites/FR*PD1*E1/caf%C3%A9?q=a%20b&q=c",
        "method": "POST",
    }
    assert json.loads(theirs.bodies[0]) == {"at": "noon"}
    assert answer.headers["X-Contract-Id"] == "C-7"
    assert house.book.asked[0][3] == "POST /sites/FR*PD1*E1/caf%C3%A9"
    (record,) = house.meter.noted
    assert (record.service, record.operation, record.status, record.bytes_in, record.bytes_out) == (
        "weather",
        "POST /sites/FR*PD1*E1/caf%C3%A9",
        200,
        len(theirs.bodies[0]),
        len(answer.content),
    )
    assert record.at == NOON


async def test_a_partner_is_told_who_calls_and_none_of_the_callers_credentials(
    house: House, client: httpx.AsyncClient
) -> None:
    async with partner(hello) as theirs:
        publish(house, theirs.address)
        answer = await client.get(
            "/services/weather/",
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
                "Idempotency-Key": "k-1",
                "Cookie": "session=1",
                "X-Api-Key": "secret",
                "X-Caller-Party": "DE*BAD",
                "X-Contract-Id": "C-0",
                "X-Forwarded-For": "10.0.0.1",
                "Proxy-Authorization": "Basic x",
                "Connection": "keep-alive, X-Hop",
                "X-Hop": "1",
            },
        )
    told = dict(theirs.requests[0].headers)
    told.pop("Host")
    assert told == {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "Authorization": "Bearer FR*PD1-calls-weather",
        "Idempotency-Key": "k-1",
        "X-Caller-Party": "FR*PD1",
        "X-Contract-Id": "C-7",
        "X-Request-ID": answer.headers["X-Request-Id"],
        "traceparent": answer.headers["traceparent"],
    }


async def test_headers_that_a_provider_has_named_are_passed_on_both_ways(
    house: House, client: httpx.AsyncClient
) -> None:
    async def paged(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(headers={"X-Page": "2", "X-Other": "3"})

    named = {b"x-version": "X-Version", b"x-page": "X-Page"}
    async with partner(paged) as theirs:
        publish(house, theirs.address, headers=named)
        for content in (b"", b"x" * 100_000):
            headers = {"x-version": "7", "X-Other": "8"}
            answer = await client.post("/services/weather/", content=content, headers=headers)
            assert answer.headers["X-Page"] == "2"
            assert "X-Other" not in answer.headers
    assert [one.headers.get("X-Version") for one in theirs.requests] == ["7", "7"]
    assert not [one for one in theirs.requests if "X-Other" in one.headers]


async def test_a_body_that_is_coded_for_its_transfer_is_refused_rather_than_passed_on_so(
    house: House,
) -> None:
    head = (
        b"POST /services/weather/ HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer operator\r\n"
        b"Transfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n"
    )
    async with partner(hello) as theirs, served(house.open()) as address:
        publish(house, theirs.address)
        reader, writer = await asyncio.open_connection("127.0.0.1", address.rpartition(":")[2])
        writer.write(head + b"2\r\n{}\r\n0\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 422 ")
    assert b'"field":"Transfer-Encoding","value":"gzip, chunked"' in answer
    assert theirs.requests == []


async def test_nobody_is_shown_what_a_partner_was_sent(
    house: House, client: httpx.AsyncClient
) -> None:
    async with partner(hello) as theirs:
        publish(house, theirs.address)
        answer = await client.request("TRACE", "/services/weather/")
    assert (answer.status_code, answer.json()["field"]) == (404, "method")
    assert theirs.requests == []


@pytest.mark.parametrize(
    "parent", ["", "zz", "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"]
)
async def test_what_is_told_of_a_trace_goes_on_with_that_trace_alone(
    house: House, client: httpx.AsyncClient, parent: str
) -> None:
    headers = {"tracestate": "vendor=1"} | ({"traceparent": parent} if parent else {})
    async with partner(hello) as theirs:
        publish(house, theirs.address)
        await client.get("/services/weather/", headers=headers)
    told = theirs.requests[0].headers
    assert ("tracestate" in told) is (parent[3:35] == told["traceparent"][3:35])


async def test_of_a_partners_headers_only_those_listed_come_back(
    house: House, client: httpx.AsyncClient
) -> None:
    async def answer_with_much(_: web.BaseRequest) -> web.StreamResponse:
        headers = {
            "Set-Cookie": "a=b",
            "Server": "theirs",
            "X-Powered-By": "steam",
            "Access-Control-Allow-Origin": "*",
            "X-Contract-Id": "C-0",
            "WWW-Authenticate": "Basic",
            "ETag": '"1"',
            "Cache-Control": "no-store",
            "Content-Disposition": 'attachment; filename="a.csv"',
            "X-Page": "2",
            "X-Other": "3",
        }
        return web.Response(body=b"{}", content_type="application/json", headers=headers)

    async with partner(answer_with_much) as theirs:
        publish(house, theirs.address)
        answer = await client.get("/services/weather/")
    names = {name.lower() for name in answer.headers} - {"date", "server"}
    assert names == {
        "cache-control",
        "content-disposition",
        "content-length",
        "content-type",
        "etag",
        "traceparent",
        "x-content-type-options",
        "x-contract-id",
        "x-request-id",
    }
    assert answer.headers.get_list("X-Contract-Id") == ["C-7"]
    assert answer.headers["Server"] == "uvicorn"


async def test_a_compressed_answer_comes_back_as_it_was(
    house: House, client: httpx.AsyncClient
) -> None:
    packed = gzip.compress(b"x" * 5000)

    async def zipped(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async with partner(zipped) as theirs:
        publish(house, theirs.address)
        async with client.stream("GET", "/services/weather/") as answer:
            raw = b"".join([piece async for piece in answer.aiter_raw()])
    assert raw == packed
    assert answer.headers["Content-Encoding"] == "gzip"


async def test_large_bodies_stream_both_ways(house: House, client: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(40):
            yield bytes([number]) * 50_000

    sent = b"".join([piece async for piece in pieces()])

    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(theirs.bodies[0])
        return answer

    async with partner(echo) as theirs:
        publish(house, theirs.address)
        answer = await client.post("/services/weather/echo", content=pieces())
        known = await client.post("/services/weather/echo", content=sent)
    assert theirs.bodies[0] == sent
    assert theirs.bodies[1] == sent
    assert answer.content == sent
    assert known.content == sent
    assert [(one.bytes_in, one.bytes_out) for one in house.meter.noted] == [(2_000_000,) * 2] * 2


async def test_a_body_over_its_limit_never_reaches_the_partner_whole(
    client: httpx.AsyncClient, house: House
) -> None:
    house.limits = Limits(body_bytes=100_000)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 50_000

    async with partner(hello) as theirs, served(opened_anew(house)) as address:
        publish(house, theirs.address)
        answer = await client.post(f"{address}/services/weather/", content=pieces())
    assert (answer.status_code, answer.json()["type"]) == (413, PROBLEMS + "body-too-large")
    assert theirs.bodies == []


def opened_anew(house: House) -> ASGIApp:
    house.registry = CollectorRegistry()
    return house.open()


async def test_a_partner_that_nobody_can_reach_is_a_502_and_costs_no_quota(
    house: House, client: httpx.AsyncClient
) -> None:
    assert isinstance(house.quotas, CountedQuotas)
    house.quotas.left = 1
    publish(
        house, f"http://127.0.0.1:{free_port()}", grant=Grant("C-7", Quota(per_day=1), priced=True)
    )
    answer = await client.get("/services/weather/")
    assert (answer.status_code, answer.json()["type"]) == (502, PROBLEMS + "provider-unreachable")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["rule"]
    assert house.quotas.released == [Lease("C-7", Period.DAY, 1)]
    assert [(one.status, one.billable) for one in house.meter.noted] == [(502, False)]
    assert house.meter.committed == []


async def test_a_partner_that_hangs_is_a_504(house: House, client: httpx.AsyncClient) -> None:
    async with raw_partner(b"", hangs=True) as theirs:
        publish(house, theirs.address)
        answer = await client.get("/services/weather/")
        await until(lambda: theirs.closed_by_caller == 1)
    assert (answer.status_code, answer.json()["type"]) == (504, PROBLEMS + "provider-silent")
    assert [record.status for record in house.meter.noted] == [504]


async def test_a_partner_that_stalls_in_mid_answer_is_a_504(
    house: House, client: httpx.AsyncClient
) -> None:
    stalls = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"
    async with raw_partner(stalls, hangs=True) as theirs:
        publish(house, theirs.address)
        answer = await client.get("/services/weather/")
    assert answer.status_code == 504


@pytest.mark.parametrize(
    "says",
    [
        pytest.param(b"", id="closes without a word"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="closes in mid-header"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", id="closes in mid-body"
        ),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", id="speaks no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n", id="wrong length"),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            id="switches protocols",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", id="endless header"),
    ],
)
async def test_a_partner_that_breaks_off_is_a_502_and_never_half_an_answer(
    house: House, client: httpx.AsyncClient, says: bytes
) -> None:
    async with raw_partner(says) as theirs:
        publish(house, theirs.address)
        answer = await client.post("/services/weather/", content=b"1")
    assert (answer.status_code, answer.json()["type"]) == (502, PROBLEMS + "provider-broken")
    assert [record.status for record in house.meter.noted] == [502]


async def test_an_answer_that_breaks_off_after_it_has_begun_is_seen_to_be_cut(
    house: House, client: httpx.AsyncClient
) -> None:
    begins = b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 100_000
    async with raw_partner(begins) as theirs:
        publish(house, theirs.address)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/services/weather/")
    assert len(house.meter.noted) == 1


async def test_bytes_after_the_end_of_an_answer_are_nobodys(
    house: House, client: httpx.AsyncClient
) -> None:
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
    says = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345" + smuggled
    async with raw_partner(says, hangs=True) as theirs:
        publish(house, theirs.address)
        answers = [await client.get("/services/weather/") for _ in range(3)]
    assert [answer.content for answer in answers] == [b"12345"] * 3


@pytest.mark.parametrize(("status", "body"), [(500, b"<html>oops"), (404, b"{}"), (200, b"<p>")])
async def test_what_a_partner_says_is_passed_on_as_it_is(
    house: House, client: httpx.AsyncClient, status: int, body: bytes
) -> None:
    async def says(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, body=body, content_type="text/html")

    async with partner(says) as theirs:
        publish(house, theirs.address)
        answer = await client.get("/services/weather/")
    assert (answer.status_code, answer.content) == (status, body)
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_redirects_are_not_followed_and_lead_nowhere_else(
    house: House, client: httpx.AsyncClient
) -> None:
    places: list[str] = []

    async def redirects(_: web.BaseRequest) -> web.StreamResponse:
        pointing = dict.fromkeys(("Location", "Content-Location"), places[-1])
        return web.Response(status=302, headers=pointing)

    async def location_for(place: str) -> str | None:
        places.append(place)
        answer = await client.get("/services/weather/old")
        assert answer.status_code == 302
        assert answer.headers.get("Content-Location") == answer.headers.get("Location")
        told: str | None = answer.headers.get("Location")
        return told

    async with partner(redirects) as theirs:
        publish(house, theirs.address + "/api")
        assert await location_for(f"{theirs.address}/api/new?x=1") == "/services/weather/new?x=1"
        assert await location_for("/api/new") == "/services/weather/new"
        assert await location_for("https://elsewhere.example/new") is None
        assert await location_for(f"{theirs.address}/apis/new") is None
        assert await location_for("//elsewhere.example/api/new") is None
        assert len(theirs.requests) == len(places)


async def test_links_to_the_next_page_lead_through_the_door(
    house: House, client: httpx.AsyncClient
) -> None:
    links: list[str] = []

    async def linked(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(headers={"Link": links[-1]})

    async def link_for(link: str) -> str | None:
        links.append(link)
        told: str | None = (await client.get("/services/weather/list")).headers.get("Link")
        return told

    async with partner(linked) as theirs:
        publish(house, theirs.address)
        ours = '</services/weather/list?cursor=2>; rel="next"'
        assert await link_for(f'<{theirs.address}/list?cursor=2>; rel="next"') == ours
        assert await link_for('</list?cursor=2>; rel="next"') == ours
        assert await link_for('<?cursor=2>; rel="next"') == '<?cursor=2>; rel="next"'
        assert await link_for('<https://elsewhere.example/>; rel="next"') is None


async def test_connections_to_a_partner_are_used_again(
    house: House, client: httpx.AsyncClient
) -> None:
    async with partner(hello) as theirs:
        publish(house, theirs.address)
        for _ in range(20):
            assert (await client.post("/services/weather/", content=b"1")).status_code == 200
        assert len(theirs.requests) == 20
        assert len(theirs.connections) == 1


async def test_a_slow_partner_does_not_slow_another(house: House) -> None:
    gate = asyncio.Event()

    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        await gate.wait()
        return web.Response()

    house.upstream = Upstream(connections_each=4, allow_loopback=True)
    async with (
        partner(slow) as theirs,
        partner(hello) as others,
        served(house.open()) as address,
        httpx.AsyncClient(base_url=address, headers={"Authorization": "Bearer operator"}) as client,
    ):
        publish(house, theirs.address, "slow")
        publish(house, others.address, "quick")
        waiting = [asyncio.create_task(client.get("/services/slow/")) for _ in range(20)]
        await until(lambda: len(theirs.requests) == 4 and house.upstream.under_way == 20)
        quick = [await client.get("/services/quick/") for _ in range(10)]
        assert [answer.status_code for answer in quick] == [200] * 10
        assert not any(call.done() for call in waiting)
        gate.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    await house.upstream.close()


async def test_when_the_caller_goes_away_the_partner_is_let_go_and_the_call_is_recorded(
    house: House, client: httpx.AsyncClient
) -> None:
    house.upstream = Upstream(total_s=60, idle_s=60, allow_loopback=True)
    assert isinstance(house.quotas, CountedQuotas)
    house.quotas.left = 1
    async with (
        raw_partner(b"", hangs=True) as theirs,
        served(opened_anew(house)) as address,
    ):
        publish(house, theirs.address, grant=Grant("C-7", Quota(per_day=1)))
        asked = asyncio.create_task(client.get(f"{address}/services/weather/"))
        await until(lambda: theirs.accepted == 1)
        asked.cancel()
        await until(lambda: theirs.closed_by_caller == 1)
        await until(lambda: len(house.meter.noted) == 1)
    assert house.meter.noted[0].status == 499
    # The partner may have done the work, so the call counts.
    assert house.quotas.released == []
    assert house.upstream.under_way == 0
    await house.upstream.close()


async def test_head_and_empty_answers_have_no_body(house: House, client: httpx.AsyncClient) -> None:
    async def empty(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=204 if request.method == "DELETE" else 200, body=None)

    async with partner(empty) as theirs:
        publish(house, theirs.address)
        assert (await client.head("/services/weather/")).status_code == 200
        assert (await client.delete("/services/weather/")).status_code == 204


@pytest.mark.parametrize("endpoint", ["http://", "http://weather.example:99999", "no url"])
async def test_an_endpoint_that_is_no_address_is_a_502(house: House, endpoint: str) -> None:
    publish(house, endpoint)
    answer = await call_asgi(
        house.open(), "GET", "/services/weather/", headers={"authorization": "Bearer operator"}
    )
    assert answer.status == 502
    assert b"provider-unreachable" in answer.body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "[::1]"])
async def test_the_hubs_own_network_is_not_called(host: str) -> None:
    house = House(upstream=Upstream(connect_s=0.5))
    publish(house, f"http://{host}:{free_port()}")
    answer = await call_asgi(
        house.open(), "GET", "/services/weather/", headers={"authorization": "Bearer operator"}
    )
    await house.upstream.close()
    assert answer.status == 502
    assert b"provider-unreachable" in answer.body


async def test_an_endpoint_with_a_query_of_its_own_keeps_it(
    house: House, client: httpx.AsyncClient
) -> None:
    async with partner(hello) as theirs:
        publish(house, theirs.address + "/api?map=fr")
        paths = [
            (await client.get("/services/weather/x" + query)).json()["path"]
            for query in ("", "?a=1")
        ]
    assert paths == ["/api/x?map=fr", "/api/x?map=fr&a=1"]


@asynccontextmanager
async def one_answer_a_connection() -> AsyncIterator[tuple[str, list[int]]]:
    """A partner that keeps each connection after its answer, and closes it when asked again.

    Its address, and a number for each connection.
    """
    connections: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections


async def test_a_connection_that_the_partner_gave_up_is_replaced_where_asking_again_is_safe(
    house: House, client: httpx.AsyncClient
) -> None:
    async with one_answer_a_connection() as (address, connections):
        publish(house, address)
        answers = [await client.get("/services/weather/") for _ in range(3)]
        assert [answer.content for answer in answers] == [b"ok"] * 3
        assert len(connections) == 3
        # Nobody knows whether the partner has done the work; a POST is not asked twice.
        refused = await client.post("/services/weather/")
        assert (refused.status_code, refused.json()["type"]) == (502, PROBLEMS + "provider-broken")
        assert len(connections) == 3


async def test_what_a_partner_says_unasked_is_not_the_answer_to_the_next_call(
    house: House, client: httpx.AsyncClient
) -> None:
    asked = 0
    slipped_in = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nasked")
        await writer.drain()
        await until(lambda: house.upstream.under_way == 0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
        await writer.drain()
        slipped_in.set()
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        publish(house, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for _ in range(2):
            slipped_in.clear()
            assert (await client.get("/services/weather/")).content == b"asked"
            await slipped_in.wait()
    assert asked == 2


async def test_a_partner_whose_certificate_nobody_vouches_for_is_not_talked_to(
    house: House, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1))
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "partner.pem"))
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        publish(house, f"https://localhost:{server.sockets[0].getsockname()[1]}")
        answered = await client.get("/services/weather/")
    assert (answered.status_code, answered.json()["type"]) == (
        502,
        PROBLEMS + "provider-unreachable",
    )
    assert "a certificate that the hub does not trust: self-signed" in answered.json()["detail"]
    assert "NL*ABC" in answered.json()["rule"]
    assert asked == []


def self_signed(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


async def test_news_before_the_answer_are_not_the_answer(
    house: House, client: httpx.AsyncClient
) -> None:
    says = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
    async with raw_partner(says) as theirs:
        publish(house, theirs.address)
        answer = await client.get("/services/weather/")
    assert (answer.status_code, answer.content) == (200, b"ok")
    assert "Link" not in answer.headers


async def test_an_answer_of_no_announced_length_comes_whole(
    house: House, client: httpx.AsyncClient
) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    async with raw_partner(chunked, hangs=True) as theirs:
        publish(house, theirs.address)
        assert (await client.get("/services/weather/")).content == b"abc"
    async with raw_partner(b"HTTP/1.1 200 OK\r\n\r\nuntil I close") as theirs:
        publish(house, theirs.address, "until-closed")
        assert (await client.get("/services/until-closed/")).content == b"until I close"


async def test_a_post_without_a_body_says_so(house: House, client: httpx.AsyncClient) -> None:
    async with partner(hello) as theirs:
        publish(house, theirs.address)
        assert (await client.post("/services/weather/")).status_code == 200
        assert (await client.get("/services/weather/")).status_code == 200
    assert [one.headers.get("Content-Length") for one in theirs.requests] == ["0", None]


async def test_a_header_of_two_lines_is_refused_and_never_passed_on(house: House) -> None:
    async with partner(hello) as theirs:
        publish(house, theirs.address)
        answer = await call_asgi(
            house.open(),
            "GET",
            "/services/weather/",
            headers={"authorization": "Bearer operator", "accept": "a\r\nX-Caller-Party: DE*BAD"},
        )
    assert answer.status == 422
    assert json.loads(answer.body)["field"] == "Accept"
    assert theirs.requests == []


async def trickle(request: web.BaseRequest) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": "6"})
    await answer.prepare(request)
    for piece in (b"1", b"2", b"3", b"4", b"5", b"6"):
        await asyncio.sleep(0.3)
        await answer.write(piece)
    return answer


async def test_a_partner_may_be_slow_as_long_as_something_comes(house: House) -> None:
    house.upstream = Upstream(total_s=60, idle_s=1.2, allow_loopback=True)
    async with partner(trickle) as theirs:
        publish(house, theirs.address)
        answer = await call_asgi(
            house.open(), "GET", "/services/weather/", headers={"authorization": "Bearer operator"}
        )
    await house.upstream.close()
    assert (answer.status, answer.body) == (200, b"123456")


async def test_a_partner_that_takes_too_long_in_all_is_a_504(house: House) -> None:
    house.upstream = Upstream(total_s=0.5, idle_s=60, allow_loopback=True)
    async with partner(trickle) as theirs:
        publish(house, theirs.address)
        answer = await call_asgi(
            house.open(), "GET", "/services/weather/", headers={"authorization": "Bearer operator"}
        )
    await house.upstream.close()
    assert answer.status == 504
    assert house.upstream.under_way == 0


async def test_a_caller_that_reads_slowly_is_not_the_partners_fault(house: House) -> None:
    house.upstream = Upstream(total_s=60, idle_s=0.5, allow_loopback=True)
    much = b"x" * 20_000_000

    async def large(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=much)

    async with partner(large) as theirs, served(house.open()) as address:
        publish(house, theirs.address)
        host, port = address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"GET /services/weather/ HTTP/1.1\r\nHost: door\r\nAuthorization: Bearer operator\r\n"
            b"Connection: close\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        loop = asyncio.get_running_loop()
        patient_until_s = loop.time() + 1.5
        await until(lambda: loop.time() > patient_until_s)
        read = await reader.readexactly(len(much))
        writer.close()
    await house.upstream.close()
    assert read == much
