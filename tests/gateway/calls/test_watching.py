"""How long a call may take: by operation, with all that is asked again on the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from gateway.calls.upstream import Upstream
from kit.http import Answer, call_asgi
from tests.gateway.calls.fakes import House
from tests.gateway.calls.servers import partner, raw_partner


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House(upstream=Upstream(idle_s=60, allow_loopback=True))
    yield house
    await house.upstream.close()


async def asked(house: House, path: str, method: str = "GET") -> tuple[Answer, float]:
    """The answer, and how long it took."""
    house.registry = type(house.registry)()
    began_s = time.monotonic()
    answer = await call_asgi(
        house.open(), method, path, headers={"authorization": "Bearer operator"}
    )
    return answer, time.monotonic() - began_s


async def slow(_: web.BaseRequest) -> web.StreamResponse:
    await asyncio.sleep(0.6)
    return web.Response(text="at last")


async def test_each_operation_has_its_own_time(house: House) -> None:
    async with partner(slow) as theirs:
        house.publish(
            "weather", theirs.address, timeout_s=20.0, timeouts_s={"GET /quick": 0.2, "GET /s": 0.9}
        )
        answer, took_s = await asked(house, "/services/weather/quick")
        assert answer.status == 504
        assert 0.2 <= took_s < 0.6
        for path in ("/services/weather/s", "/services/weather/other"):
            answer, _ = await asked(house, path)
            assert (answer.status, answer.body) == (200, b"at last")


async def test_a_service_that_says_nothing_of_an_operation_has_one_time_for_all(
    house: House,
) -> None:
    async with raw_partner(b"", hangs=True) as theirs:
        house.publish("weather", theirs.address, timeout_s=0.3)
        answer, took_s = await asked(house, "/services/weather/any")
    assert answer.status == 504
    assert 0.3 <= took_s < 2.0


async def test_what_is_asked_again_has_the_time_that_is_left(house: House) -> None:
    async def breaks_off(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.4)
        assert request.transport is not None
        request.transport.abort()
        raise web.HTTPGone

    async with raw_partner(b"", hangs=True) as hanging, partner(breaks_off) as breaking:
        house.publish("weather", breaking.address, hanging.address, timeout_s=0.7)
        # Of two calls one begins at the one that breaks off, and goes on at the one that hangs.
        both = await asyncio.gather(
            *(asked(house, "/services/weather/", method) for method in ("GET", "PUT"))
        )
    assert len(breaking.requests) == 1
    assert hanging.accepted == 2
    assert [answer.status for answer, _ in both] == [504, 504]
    assert all(0.7 <= took_s < 1.6 for _, took_s in both)
