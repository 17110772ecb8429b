"""The same write twice is one write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kit import problem
from kit.database import Database
from kit.http import json_response
from kit.idempotency import once
from roaming.refusal import Clash

NOON = datetime(2024, 12, 19, 12, tzinfo=UTC)


@pytest.fixture
async def client(database: Database) -> AsyncIterator[AsyncClient]:
    made = 0

    async def make(request: Request) -> Response:
        async def run() -> Response:
            nonlocal made
            made += 1
            if b"refuse" in await request.body():
                raise Clash("not now")
            return json_response({"made": made}, 201)

        party = request.headers["x-party"]
        return await once(request, run, database=database, party=party, clock=lambda: NOON)

    app = Starlette(routes=[Route("/things", make, methods=["POST"])])
    problem.install(app)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://hub") as client:
        yield client


async def post(
    client: AsyncClient, body: str, key: str | None, party: str = "A"
) -> tuple[int, str]:
    headers = {"x-party": party} | ({"Idempotency-Key": key} if key else {})
    answer = await client.post("/things", content=body, headers=headers)
    return answer.status_code, answer.text


async def test_the_same_key_and_body_give_the_same_answer(client: AsyncClient) -> None:
    assert await post(client, "a", "k1") == await post(client, "a", "k1") == (201, '{"made":1}')


async def test_the_same_key_with_another_body_is_refused(client: AsyncClient) -> None:
    await post(client, "a", "k1")
    status, told = await post(client, "b", "k1")
    assert status == 422
    assert "key-reused" in told


async def test_a_key_belongs_to_its_party(client: AsyncClient) -> None:
    await post(client, "a", "k1", party="A")
    assert await post(client, "a", "k1", party="B") == (201, '{"made":2}')


async def test_without_a_key_every_write_is_its_own(client: AsyncClient) -> None:
    assert await post(client, "a", None) == (201, '{"made":1}')
    assert await post(client, "a", None) == (201, '{"made":2}')


async def test_a_refused_write_leaves_its_key_free(client: AsyncClient) -> None:
    assert (await post(client, "refuse", "k1"))[0] == 409
    assert await post(client, "mended", "k1") == (201, '{"made":2}')


async def test_what_is_asked_for_in_the_query_is_part_of_the_request(client: AsyncClient) -> None:
    told: dict[str, Any] = {"content": "a", "headers": {"x-party": "A", "Idempotency-Key": "k1"}}
    first = await client.post("/things?upload=1", **told)
    assert (await client.post("/things?upload=1", **told)).text == first.text
    assert (await client.post("/things?upload=2", **told)).status_code == 422
