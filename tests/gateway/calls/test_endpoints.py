"""Several endpoints of one service: who is asked, who is let alone, and what is asked again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from aiohttp import web

from gateway.calls.breaker import Rules, State
from gateway.calls.connections import Connections
from gateway.calls.endpoints import Choice, Endpoint, Endpoints
from gateway.calls.failures import Failure
from gateway.calls.model import Grant, Lease, Period, Quota, Service
from gateway.calls.upstream import Upstream
from tests.gateway.calls.fakes import NOON, OPERATOR, PROVIDER, CountedQuotas, House, Known
from tests.gateway.calls.servers import Partner, free_port, partner, raw_partner, served, until

PROBLEMS = "https://gridroam.org/problems/"
RULES = Rules(first_rest_s=0.3)
BREAKS_OFF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House(
        upstream=Upstream(connect_s=0.5, total_s=2.0, idle_s=1.0, allow_loopback=True, rules=RULES)
    )
    yield house
    await house.upstream.close()


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        client.headers["Authorization"] = "Bearer operator"
        yield client


async def hello(_: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"hello": "there"})


def saying(status: int, headers: Mapping[str, str] | None = None) -> Any:
    async def says(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, body=b"it says", headers=headers)

    return says


def nobody() -> str:
    return f"http://127.0.0.1:{free_port()}"


def of(house: House, name: str = "weather") -> list[Endpoint]:
    (found,) = [one for one in house.upstream.endpoints if one.service.name == name]
    return list(found)


async def test_calls_are_spread_evenly_over_all_endpoints(
    house: House, client: httpx.AsyncClient
) -> None:
    async with AsyncExitStack() as stack:
        all_three = [await stack.enter_async_context(partner(hello)) for _ in range(3)]
        house.publish("weather", *(one.address for one in all_three))
        for _ in range(30):
            assert (await client.post("/services/weather/")).status_code == 200
        assert [len(one.requests) for one in all_three] == [10, 10, 10]
        # Each has one connection, which is used again.
        assert [len(one.connections) for one in all_three] == [1, 1, 1]


async def test_a_slow_endpoint_gets_fewer_of_the_calls(
    house: House, client: httpx.AsyncClient
) -> None:
    gate = asyncio.Event()

    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        await gate.wait()
        return web.Response()

    async with partner(slow) as slowly, partner(hello) as quickly:
        house.publish("weather", slowly.address, quickly.address)
        # Of two at once, each gets one.
        both = [asyncio.create_task(client.post("/services/weather/")) for _ in range(2)]
        await until(lambda: len(slowly.requests) == 1)
        for _ in range(10):
            assert (await client.post("/services/weather/")).status_code == 200
        assert len(slowly.requests) == 1
        gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*both)] == [200, 200]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_where_one_endpoint_takes_no_connection_any_call_goes_to_another(
    house: House, client: httpx.AsyncClient, method: str
) -> None:
    async with partner(hello) as theirs:
        house.publish("weather", nobody(), theirs.address)
        for _ in range(30):
            assert (await client.request(method, "/services/weather/")).status_code == 200
        assert len(theirs.requests) == 30
    assert of(house)[0].breaker.state is State.OPEN


async def test_a_streamed_body_that_nobody_has_begun_to_read_goes_to_another_too(
    house: House, client: httpx.AsyncClient
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 50_000

    async with partner(hello) as theirs:
        house.publish("weather", nobody(), theirs.address)
        for _ in range(4):
            assert (await client.post("/services/weather/", content=pieces())).status_code == 200
        assert [len(body) for body in theirs.bodies] == [500_000] * 4


async def test_what_may_be_done_twice_is_asked_again_elsewhere_and_nothing_else(
    house: House, client: httpx.AsyncClient
) -> None:
    async with raw_partner(BREAKS_OFF) as broken, partner(hello) as theirs:
        house.publish("weather", broken.address, theirs.address)
        statuses: dict[str, Counter[int]] = {}
        for method, headers in (
            ("GET", {}),
            ("PUT", {}),
            ("POST", {"Idempotency-Key": "k-1"}),
            ("POST", {"Idempotency-Key": ""}),
            ("POST", {}),
        ):
            name = " ".join((method, *(f"{key}: {value}" for key, value in headers.items())))
            asked = [
                await client.request(method, "/services/weather/", headers=headers)
                for _ in range(2)
            ]
            statuses[name] = Counter(answer.status_code for answer in asked)
            # As if it were new: what is asked again is the question here, not who is let alone.
            house.upstream.endpoints.clear()
    assert statuses == {
        "GET": {200: 2},
        "PUT": {200: 2},
        "POST Idempotency-Key: k-1": {200: 2},
        # An empty one is none.
        "POST Idempotency-Key: ": {200: 1, 502: 1},
        "POST": {200: 1, 502: 1},
    }


async def test_an_answer_that_says_the_endpoint_ails_is_asked_for_elsewhere_or_passed_on(
    house: House, client: httpx.AsyncClient
) -> None:
    async def statuses(method: str, first: Partner, *others: Partner) -> Counter[int]:
        house.upstream.endpoints.clear()
        house.publish("weather", first.address, *(one.address for one in others))
        asked = [await client.request(method, "/services/weather/") for _ in range(2)]
        return Counter(answer.status_code for answer in asked)

    async with (
        partner(saying(503)) as ailing,
        partner(saying(504)) as too,
        partner(saying(503, {"Retry-After": "7"})) as busy,
        partner(saying(500)) as at_fault,
        partner(hello) as theirs,
    ):
        assert await statuses("GET", ailing, theirs) == {200: 2}
        assert await statuses("POST", ailing, theirs) == {200: 1, 503: 1}
        assert await statuses("GET", ailing) == {503: 2}
        assert set(await statuses("GET", ailing, too)) <= {503, 504}
        # Whoever says when to come back is not tried elsewhere meanwhile.
        assert await statuses("GET", busy, theirs) == {200: 1, 503: 1}
        # A 500 is about the call; it would be one elsewhere as well.
        assert await statuses("GET", at_fault, theirs) == {200: 1, 500: 1}
        answer = await client.get("/services/weather/")
        assert answer.status_code in (200, 500)


async def test_a_call_is_repeated_twice_at_most(house: House, client: httpx.AsyncClient) -> None:
    async with AsyncExitStack() as stack:
        broken = [await stack.enter_async_context(raw_partner(BREAKS_OFF)) for _ in range(5)]
        house.publish("weather", *(one.address for one in broken))
        answer = await client.get("/services/weather/")
        assert (answer.status_code, answer.json()["type"]) == (502, PROBLEMS + "provider-broken")
        assert sorted(one.accepted for one in broken) == [0, 0, 1, 1, 1]
    assert house.upstream.repeats == 2


async def test_an_outage_is_not_made_worse_by_repeats(
    house: House, client: httpx.AsyncClient
) -> None:
    never_open = Rules(failures_in_a_row=10_000, calls_to_judge=10_000)
    house.upstream = Upstream(allow_loopback=True, rules=never_open)
    async with (
        raw_partner(b"") as broken,
        served(anew(house)) as address,
        httpx.AsyncClient(base_url=address, headers=dict(client.headers)) as calling,
    ):
        house.publish("weather", broken.address)
        for _ in range(120):
            assert (await calling.get("/services/weather/")).status_code == 502
        # A hundred are in reserve, and a tenth of what was asked comes on top.
        assert 220 < broken.accepted <= 120 + 100 + 24
    await house.upstream.close()


def anew(house: House) -> Any:
    house.registry = type(house.registry)()
    return house.open()


async def test_endpoints_that_all_fail_are_let_alone_and_their_callers_hear_so_at_once(
    house: House, client: httpx.AsyncClient
) -> None:
    assert isinstance(house.quotas, CountedQuotas)
    house.quotas.left = 1
    gone = nobody()
    # Nobody is so slow that they have rested before the last has asked.
    house.upstream = Upstream(allow_loopback=True, rules=Rules(first_rest_s=60))
    async with (
        partner(hello) as others,
        served(anew(house)) as address,
        httpx.AsyncClient(base_url=address, headers=dict(client.headers)) as calling,
    ):
        house.publish("weather", gone, nobody())
        house.publish("other", others.address)
        house.book.answers[OPERATOR, "weather"] = Grant("C-7", Quota(per_day=1))
        asked = [await calling.post("/services/weather/") for _ in range(10)]
        answer = asked[-1]
        assert (answer.status_code, answer.json()["type"]) == (503, PROBLEMS + "provider-resting")
        rest_s = answer.headers["Retry-After"]
        assert 0 < int(rest_s) <= 60
        assert f"again in {rest_s} seconds" in answer.json()["rule"]
        # It cost nobody anything, and nobody else anything either.
        assert house.quotas.released == [Lease("C-7", Period.DAY, 1)] * 10
        assert (await calling.get("/services/other/")).status_code == 200
        assert [record.status for record in house.meter.noted[-2:]] == [503, 200]
    await house.upstream.close()


async def test_an_endpoint_that_comes_back_is_found_by_a_single_call(
    house: House, client: httpx.AsyncClient
) -> None:
    healthy = False

    async def recovers(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=200 if healthy else 503)

    async with partner(recovers) as theirs:
        house.publish("weather", theirs.address)
        for _ in range(8):
            assert (await client.post("/services/weather/")).status_code == 503
        assert len(theirs.requests) == RULES.failures_in_a_row
        (endpoint,) = of(house)
        assert endpoint.last_failure is not None
        assert endpoint.last_failure.kind is Failure.AILING
        assert endpoint.last_failure.at >= NOON
        healthy = True

        async def rested() -> None:
            while (await client.post("/services/weather/")).status_code != 200:
                pass

        await asyncio.wait_for(rested(), 5)
        assert len(theirs.requests) == RULES.failures_in_a_row + 1
        assert endpoint.breaker.state is State.CLOSED


async def test_where_another_is_healthy_one_that_rested_is_tried_without_a_victim(
    house: House, client: httpx.AsyncClient
) -> None:
    async with raw_partner(BREAKS_OFF) as broken, partner(hello) as theirs:
        house.publish("weather", broken.address, theirs.address)
        for _ in range(12):
            assert (await client.get("/services/weather/")).status_code == 200
        first, _ = of(house)
        assert first.breaker.state is State.OPEN
        tried = broken.accepted

        async def tried_again() -> None:
            while broken.accepted == tried:
                # One that may not be repeated is never the one that finds out.
                assert (await client.post("/services/weather/")).status_code == 200
                assert (await client.get("/services/weather/")).status_code == 200

        await asyncio.wait_for(tried_again(), 5)


async def test_a_sandbox_call_goes_to_the_sandbox_and_a_live_one_never(
    house: House, client: httpx.AsyncClient
) -> None:
    house.tokens.known["tester"] = Known(OPERATOR, client_id="client-3", sandbox=True)
    async with partner(hello) as live, partner(hello) as sandbox:
        house.publish("weather", live.address, sandbox_endpoints=(sandbox.address,))
        for token in ("tester", "operator", "tester"):
            headers = {"Authorization": f"Bearer {token}"}
            assert (await client.get("/services/weather/", headers=headers)).status_code == 200
        assert (len(live.requests), len(sandbox.requests)) == (1, 2)
        assert [one.place for one in of(house)] == ["live-1", "sandbox-1"]


async def test_what_is_known_of_an_address_outlives_a_change_of_the_service() -> None:
    connections = Connections.open(connect_s=1, each=1, kept_s=1, allow_loopback=True)
    known = Endpoints(Rules(), longest_s=1, allow_loopback=True)

    def service(*urls: str, sandbox: str | None = None) -> Service:
        return Service(
            "weather",
            1,
            PROVIDER,
            urls[0],
            further_endpoints=urls[1:],
            sandbox_endpoints=(sandbox,) if sandbox else (),
        )

    a, b, c = (f"http://{name}.example" for name in "abc")
    before = known.of(service(a, b), connections).live.all
    after = known.of(service(b, c, b, sandbox=b), connections)
    assert [one.url for one in after.live.all] == [b, c]
    assert after.live.all[0] is before[1]
    # What is tried in the sandbox takes nobody's live endpoint away.
    assert after.sandbox.all[0] is not before[1]
    assert [one.place for one in after] == ["live-1", "live-2", "sandbox-1"]
    # Nor does what others call at the same address.
    other = known.of(Service("other", 1, PROVIDER, b), connections)
    assert other.live.all[0] is not before[1]
    await connections.session.close()


def test_of_resting_endpoints_the_first_to_be_tried_tells_how_long_to_wait() -> None:
    rules = Rules(failures_in_a_row=1, first_rest_s=4.0)
    both = [Endpoint(url, None, rules, sandbox=False) for url in "ab"]  # type: ignore[arg-type]
    choice = Choice(tuple(both))
    for number, one in enumerate(both):
        one.breaker.failed(one.breaker.begin(number), number)
    assert choice.rest_s(2.0) == 2.0
    assert choice.take(3.9, repeatable=True) is None
    assert choice.take(4.0, repeatable=False) is both[0]
