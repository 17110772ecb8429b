"""Content maps between REST and REST: a question and its answer in the provider's own words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiohttp import web

from gateway.calls.model import ContentMap, Speaks
from gateway.calls.paths import Operations
from tests.gateway.bridging.fakes import BridgedHouse, saying
from tests.gateway.calls.servers import partner, served

NAMES = Operations([("POST", "/points", "add"), ("GET", "/points/{id}", "show")])
MAPS = {
    "add": ContentMap("{label: name, tags: tags[*].t}", "{id: key}"),
    "show": ContentMap(None, "{id: key, price: price}"),
    "PUT /points/7": ContentMap("{label: name}", None),
}


@pytest.fixture
def house() -> BridgedHouse:
    return BridgedHouse()


@pytest.fixture
async def client(house: BridgedHouse) -> AsyncIterator[httpx.AsyncClient]:
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        client.headers["Authorization"] = "Bearer operator"
        yield client
    await house.upstream.close()


def offer(house: BridgedHouse, endpoint: str) -> None:
    house.weather(endpoint, interface=None, speaks=Speaks.REST, operations=NAMES, maps=MAPS)


POINTS = "/services/weather/points"
KEY = saying(b'{"key": 7, "price": 19.90, "more": true}', 200, "application/json")


async def test_what_is_asked_and_answered_is_mapped(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async with partner(KEY) as provider:
        offer(house, f"{provider.address}/api")
        answer = await client.post(
            f"{POINTS}?dry=1",
            json={"name": "Paris", "tags": [{"t": "a"}, {"t": "b"}]},
            headers={"Idempotency-Key": "k1", "If-Match": '"v1"'},
        )
    assert (answer.status_code, answer.json()) == (200, {"id": 7})
    assert answer.headers["Content-Length"] == str(len(answer.content))
    [request] = provider.requests
    assert (request.method, request.path_qs) == ("POST", "/api/points?dry=1")
    assert json.loads(provider.bodies[0]) == {"label": "Paris", "tags": ["a", "b"]}
    assert request.headers["Idempotency-Key"] == "k1"
    assert request.headers["If-Match"] == '"v1"'
    assert request.headers["Accept-Encoding"] == "identity"


async def test_numbers_stay_exact(house: BridgedHouse, client: httpx.AsyncClient) -> None:
    async with partner(KEY) as provider:
        offer(house, provider.address)
        answer = await client.get(f"{POINTS}/7")
    assert answer.content == b'{"id":7,"price":19.90}'


async def test_a_map_may_be_known_by_method_and_path(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async with partner(KEY) as provider:
        offer(house, provider.address)
        answer = await client.put(f"{POINTS}/7", json={"name": "Paris"})
    assert json.loads(provider.bodies[0]) == {"label": "Paris"}
    assert answer.content == b'{"key": 7, "price": 19.90, "more": true}'


async def test_an_operation_without_a_map_streams_as_ever(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async with partner(saying(b"\x00\x01", 200, "application/octet-stream")) as provider:
        offer(house, provider.address)
        answer = await client.post("/services/weather/raw", content=b"\xff" * 2_000_000)
    assert (answer.status_code, answer.content) == (200, b"\x00\x01")
    assert provider.bodies == [b"\xff" * 2_000_000]


async def test_a_no_of_the_provider_is_told_as_it_came(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    problem = b'{"type": "about:blank", "key": 7}'
    async with partner(saying(problem, 409, "application/problem+json")) as provider:
        offer(house, provider.address)
        answer = await client.get(f"{POINTS}/7")
    assert (answer.status_code, answer.content) == (409, problem)
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_nothing_is_made_of_no_content(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async with partner(saying(b"", 204)) as provider:
        offer(house, provider.address)
        answer = await client.post(POINTS, json={"name": "Paris"})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    ("content", "content_type", "status", "problem"),
    [
        (b'{"name":', "application/json", 422, "bad-payload"),
        (b"name=Paris", "application/x-www-form-urlencoded", 422, "not-json"),
        (b'{"name": "' + b"x" * 1_048_576 + b'"}', "application/json", 413, "body-too-large"),
    ],
    ids=["broken off", "a form", "too long"],
)
async def test_what_cannot_be_mapped_never_reaches_the_provider(
    house: BridgedHouse,
    client: httpx.AsyncClient,
    content: bytes,
    content_type: str,
    status: int,
    problem: str,
) -> None:
    async with partner(KEY) as provider:
        offer(house, provider.address)
        answer = await client.post(POINTS, content=content, headers={"Content-Type": content_type})
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (status, problem)
        assert provider.requests == []


async def compressed(_: web.BaseRequest) -> web.StreamResponse:
    answer = web.Response(body=b'{"key": 7}', content_type="application/json")
    answer.enable_compression(web.ContentCoding.gzip)
    return answer


@pytest.mark.parametrize(
    "behaviour",
    [saying(b"<html>", 200, "text/html"), saying(b'{"key":', 200, "application/json"), compressed],
    ids=["html", "bad json", "compressed unasked"],
)
async def test_an_answer_that_no_map_can_read_is_told_to_be_none(
    house: BridgedHouse, client: httpx.AsyncClient, behaviour: Any
) -> None:
    async with partner(behaviour) as provider:
        offer(house, provider.address)
        answer = await client.get(f"{POINTS}/7")
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (
        502,
        "provider-broken",
    )
