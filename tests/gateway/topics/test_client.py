"""What a webhook is sent, and what is made of how it ends: on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
from aiohttp import web

from gateway.topics.client import HttpSender
from kit.clock import utc_now
from tests.hub import answering, hanging, server


class Signer:
    """Signs nothing of worth."""

    def key_id(self, at: datetime) -> str:
        return "key"

    def sign(self, content: bytes, at: datetime) -> bytes:
        return bytes(64)


@pytest.fixture
async def sender() -> AsyncIterator[HttpSender]:
    made = HttpSender.open(Signer(), utc_now, timeout_s=0.3, allow_loopback=True)
    yield made
    await made.close()


async def test_it_is_posted_as_it_was_signed(sender: HttpSender) -> None:
    async with server(answering(status=204)) as receiver:
        reply = await sender.send(f"{receiver.url}/a%20b/?x=%2F", b"[]")
    assert reply.status == 204
    (came,) = receiver.came
    assert (came.method, came.path, came.content) == ("POST", "/a%20b/?x=%2F", b"[]")
    assert came.headers["Signature"].startswith("gridroam=:")
    assert came.headers["Content-Digest"].startswith("sha-256=:")


async def test_a_redirect_is_not_followed(sender: HttpSender) -> None:
    async def elsewhere(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with server(elsewhere) as receiver:
        assert (await sender.send(receiver.url, b"[]")).status == 302
        assert len(receiver.came) == 1


async def test_whoever_hangs_is_away_is_gone_or_talks_for_ever_is_a_reply(
    sender: HttpSender,
) -> None:
    async def talking(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await response.write(b"\0" * 1_000)
            await asyncio.sleep(0.01)

    async with server(hanging) as receiver:
        url = receiver.url
        assert (await sender.send(url, b"[]")).status is None
        receiver.behaviour = talking
        reply = await sender.send(url, b"[]")
        assert reply.status == 500
        assert "\0" not in reply.says
        assert len(reply.says) <= 400
    assert (await sender.send(url, b"[]")).status is None


async def test_a_name_that_leads_inside_is_not_called() -> None:
    careful = HttpSender.open(Signer(), utc_now, allow_loopback=False)
    try:
        async with server() as receiver:
            port = receiver.url.rpartition(":")[2]
            reply = await careful.send(f"http://localhost:{port}/", b"[]")
        assert reply.status is None
        assert receiver.came == []
    finally:
        await careful.close()
