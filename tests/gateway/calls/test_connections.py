"""Connections to partners are few, are used again, and are let go when nobody needs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from aiohttp import web

from gateway.calls.upstream import Upstream
from tests.gateway.calls.fakes import House
from tests.gateway.calls.servers import partner, served, until

KEPT_S = 60.0


@pytest.fixture
def kept_s() -> float:
    return KEPT_S


@pytest.fixture
async def house(kept_s: float) -> AsyncIterator[House]:
    house = House(upstream=Upstream(idle_connection_s=kept_s, allow_loopback=True))
    yield house
    await house.upstream.close()


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        client.headers["Authorization"] = "Bearer operator"
        yield client


async def hello(_: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"hello": "there"})


@pytest.mark.parametrize("endpoints", [1, 2])
async def test_a_hundred_calls_one_after_another_take_one_connection_to_each_endpoint(
    house: House, client: httpx.AsyncClient, endpoints: int
) -> None:
    async with partner(hello) as one, partner(hello) as other:
        all_of_them = [one, other][:endpoints]
        house.publish("weather", *(each.address for each in all_of_them))
        for _ in range(50):
            assert (await client.get("/services/weather/")).status_code == 200
            assert (await client.post("/services/weather/", content=b"x")).status_code == 200
        assert [len(each.connections) for each in all_of_them] == [1] * endpoints
        assert sum(len(each.requests) for each in all_of_them) == 100


async def test_as_many_calls_at_once_take_at_most_as_many_connections_again_and_again(
    house: House, client: httpx.AsyncClient
) -> None:
    here, all_here = 0, asyncio.Event()

    async def together(_: web.BaseRequest) -> web.StreamResponse:
        nonlocal here
        here += 1
        if here % 8 == 0:
            all_here.set()
        await all_here.wait()
        return web.Response()

    async with partner(together) as theirs:
        house.publish("weather", theirs.address)
        for _ in range(5):
            all_here.clear()
            answers = await asyncio.gather(*(client.get("/services/weather/") for _ in range(8)))
            assert {answer.status_code for answer in answers} == {200}
        assert (len(theirs.requests), len(theirs.connections)) == (40, 8)


@pytest.mark.parametrize("kept_s", [0.3])
async def test_a_connection_that_nobody_needs_is_closed_and_the_next_call_makes_another(
    house: House, client: httpx.AsyncClient
) -> None:
    async with partner(hello) as theirs:
        house.publish("weather", theirs.address)
        for number in range(3):
            assert (await client.post("/services/weather/")).status_code == 200
            transport = theirs.requests[number].transport
            assert transport is not None
            await until(transport.is_closing)
    assert len({id(request.protocol) for request in theirs.requests}) == 3
