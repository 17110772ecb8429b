"""Endpoints that tell how they are: a dead one is known, and found back, by no call."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from gateway.calls.breaker import Rules, State
from gateway.calls.endpoints import HEAD_START_S, Endpoint
from gateway.calls.failures import Failure
from gateway.calls.model import Service
from gateway.calls.tasks import Prober
from gateway.calls.upstream import Upstream
from tests import certificates
from tests.gateway.calls.fakes import NOON, PROVIDER, House
from tests.gateway.calls.servers import free_port, partner, raw_partner, served

RULES = Rules(first_rest_s=0.1, longest_rest_s=0.2)
BY_CALLS = RULES.failures_in_a_row


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House(upstream=Upstream(connect_s=0.5, allow_loopback=True, rules=RULES))
    yield house
    await house.upstream.close()


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        client.headers["Authorization"] = "Bearer operator"
        yield client


def prober(house: House, *, idle_s: float = 30.0) -> Prober:
    return Prober(
        house.upstream, house.book.services.values, lambda: NOON, idle_s=idle_s, probe_s=0.3
    )


def only(house: House) -> Endpoint:
    ((endpoint,),) = house.upstream.endpoints
    return endpoint


async def rested(endpoint: Endpoint) -> None:
    while endpoint.state is State.OPEN:  # noqa: ASYNC110  time passes, and no event
        await asyncio.sleep(0.01)


class Theirs:
    """A partner whose health path and whose calls do as they are told."""

    def __init__(self, health: int = 200, calls: int = 200) -> None:
        self.health = health
        self.calls = calls

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=self.health if request.path == "/v1/up" else self.calls)


async def test_a_dead_endpoint_is_known_before_anybody_calls_it(
    house: House, client: httpx.AsyncClient
) -> None:
    async with partner(Theirs()) as alive:
        dead = f"http://127.0.0.1:{free_port()}/v1"
        house.publish("weather", dead, f"{alive.address}/v1", health_path="/up")
        looking = prober(house)
        for _ in range(BY_CALLS):
            assert await looking.look() is False
        (known,) = house.upstream.endpoints
        assert [one.breaker.state for one in known] == [State.OPEN, State.CLOSED]
        first, second = known
        assert first.last_failure is not None
        assert (first.last_failure.kind, first.well) == (Failure.UNREACHABLE, False)
        assert first.last_failure.at >= NOON
        # One that is well is not asked again at once.
        assert second.well
        assert [request.path for request in alive.requests] == ["/v1/up"]
        for _ in range(4):
            assert (await client.post("/services/weather/")).status_code == 200
        assert first.calls == 0


async def test_an_endpoint_that_comes_back_is_found_by_a_probe_and_not_by_a_call(
    house: House, client: httpx.AsyncClient
) -> None:
    theirs = Theirs(health=503, calls=503)
    async with partner(theirs) as server:
        house.publish("weather", f"{server.address}/v1", health_path="/up")
        looking = prober(house)
        for _ in range(BY_CALLS):
            assert (await client.post("/services/weather/")).status_code == 503
        endpoint = only(house)
        for _ in range(3):
            assert endpoint.breaker.state is State.OPEN
            await rested(endpoint)
            # It has rested, and still no call goes there to find out.
            resting = await client.post("/services/weather/")
            assert resting.json()["type"].endswith("provider-resting")
            await looking.look()
        assert (endpoint.last_failure and endpoint.last_failure.kind) is Failure.UNHEALTHY
        theirs.health = theirs.calls = 204
        await rested(endpoint)
        await looking.look()
        assert endpoint.breaker.state is State.CLOSED
        assert (await client.post("/services/weather/")).status_code == 204
        # Calls are the callers' own: neither the figures nor the usage records hold a probe.
        assert (endpoint.calls, endpoint.failures) == (BY_CALLS + 1, BY_CALLS)
        assert len(endpoint.recent_us) <= endpoint.calls
        assert len(house.meter.noted) == BY_CALLS + 1 + 3


async def test_while_it_rests_it_is_not_asked_either(house: House) -> None:
    house.upstream.endpoints = type(house.upstream.endpoints)(
        Rules(first_rest_s=60.0), longest_s=2.0, allow_loopback=True
    )
    async with partner(Theirs(health=500)) as server:
        house.publish("weather", f"{server.address}/v1", health_path="/up")
        looking = prober(house)
        for _ in range(BY_CALLS + 5):
            await looking.look()
        assert len(server.requests) == BY_CALLS
        assert only(house).breaker.state is State.OPEN


@pytest.mark.parametrize(
    ("says", "hangs", "kind"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: /v1/fine\r\n\r\n", False, Failure.UNHEALTHY),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", False, Failure.UNHEALTHY),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", False, Failure.UNHEALTHY),
        (b"", False, Failure.BROKE_OFF),
        (b"", True, Failure.SILENT),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", False, Failure.NO_HTTP),
    ],
    ids=["redirects", "no such path", "at fault", "breaks off", "hangs", "no http"],
)
async def test_what_is_no_2xx_opens_it_and_keeps_it_open(
    house: House, says: bytes, hangs: bool, kind: Failure
) -> None:
    async with raw_partner(says, hangs=hangs) as server:
        house.publish("weather", f"{server.address}/v1", health_path="/up")
        looking = prober(house)
        for _ in range(BY_CALLS):
            await looking.look()
        endpoint = only(house)
        assert (endpoint.last_failure and endpoint.last_failure.kind) is kind
        assert endpoint.breaker.state is State.OPEN
        await rested(endpoint)
        await looking.look()
        assert endpoint.breaker.state is State.OPEN
        assert server.accepted > BY_CALLS


async def test_of_an_answer_only_the_status_counts(house: House) -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 1000
    async with raw_partner(endless, hangs=True) as server:
        house.publish("weather", f"{server.address}/v1", health_path="/up")
        await asyncio.wait_for(prober(house).look(), 5)
        assert only(house).well


async def test_a_probe_says_nothing_but_its_own_number(house: House) -> None:
    async with partner(Theirs()) as server:
        house.publish("weather", f"{server.address}/v1/?site=7", health_path="/up")
        await prober(house).look()
        (request,) = server.requests
        assert (request.method, request.path_qs) == ("GET", "/v1/up?site=7")
        assert {name.lower() for name in request.headers} == {"host", "x-request-id"}
        assert server.bodies == [b""]


async def test_nobody_is_asked_who_gave_no_path_or_whose_calls_tell(
    house: House, client: httpx.AsyncClient
) -> None:
    async with partner(Theirs()) as silent, partner(Theirs()) as busy:
        house.publish("silent", f"{silent.address}/v1")
        house.publish("busy", f"{busy.address}/v1", health_path="/up")
        looking = prober(house, idle_s=0.0)
        for _ in range(3):
            assert (await client.get("/services/busy/")).status_code == 200
            await looking.look()
        assert [request.path for request in busy.requests] == ["/v1/"] * 3
        await looking.look()
        assert [request.path for request in busy.requests] == ["/v1/"] * 3 + ["/v1/up"]
        assert silent.requests == []


async def test_one_that_hangs_holds_no_other_up_for_longer_than_a_probe_takes(
    house: House,
) -> None:
    async with raw_partner(b"", hangs=True) as hanging, partner(Theirs()) as server:
        for number in range(20):
            house.publish(f"hangs-{number}", f"{hanging.address}/v1", health_path="/up")
        house.publish("weather", f"{server.address}/v1", health_path="/up")
        await asyncio.wait_for(prober(house).look(), 5)
        assert len(server.requests) == 1


async def test_no_probe_leads_into_the_hubs_own_network() -> None:
    house = House(upstream=Upstream(rules=RULES))
    async with partner(Theirs()) as server:
        port = server.address.rpartition(":")[2]
        house.publish("plain", f"{server.address}/v1", health_path="/up")
        house.publish("named", f"http://localhost:{port}/v1", health_path="/up")
        for _ in range(2):
            await prober(house).look()
        assert server.requests == []
    await house.upstream.close()


async def test_a_probe_trusts_no_certificate_that_a_call_does_not(
    house: House, tmp_path: Path
) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1))
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates.server(certificates.authority()).files(tmp_path))
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        house.publish("weather", f"https://localhost:{port}", health_path="/up")
        await prober(house).look()
    failure = only(house).last_failure
    assert (failure and failure.kind) is Failure.CERTIFICATE
    assert asked == []


def test_calls_try_one_that_has_rested_only_after_its_probe_should_have_been() -> None:
    endpoint = Endpoint("a", None, Rules(failures_in_a_row=1), sandbox=False)  # type: ignore[arg-type]
    endpoint.head_start_s = HEAD_START_S
    endpoint.breaker.failed(endpoint.breaker.begin(0.0), 0.0)
    assert [endpoint.lets_through(at_s) for at_s in (0.9, 1.0, 5.9, 6.0)] == [
        *(False, False, False),
        True,
    ]
    assert endpoint.breaker.lets_through(1.0)


async def test_a_path_that_is_taken_away_is_asked_no_more(house: House) -> None:
    async with partner(Theirs(health=500)) as server:
        house.publish("weather", f"{server.address}/v1", health_path="/up")
        looking = prober(house)
        await looking.look()
        assert only(house).head_start_s == HEAD_START_S
        house.book.add(Service("weather", 1, PROVIDER, f"{server.address}/v1"))
        for _ in range(BY_CALLS):
            await looking.look()
        assert len(server.requests) == 1
        assert only(house).head_start_s == 0.0
