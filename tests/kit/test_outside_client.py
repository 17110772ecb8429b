"""How an answer begins, whoever gives it: on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from kit.outside_client import MOST_SAID_BYTES, beginning_of, open_session, words
from tests.hub import server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session(timeout_s=5, allow_loopback=True) as opened:
        yield opened


async def in_parts(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for part in (b"one ", b"two ", b"three"):
        await response.write(part)
        await asyncio.sleep(0.01)
    await response.write_eof()
    return response


async def test_an_answer_in_parts_is_read_to_its_end(session: aiohttp.ClientSession) -> None:
    async with server(in_parts) as peer, session.get(peer.url) as response:
        assert await beginning_of(response) == b"one two three"


async def test_no_more_is_read_than_was_asked_for(session: aiohttp.ClientSession) -> None:
    async with server(in_parts) as peer, session.get(peer.url) as response:
        assert await beginning_of(response, 6) == b"one tw"
        assert response.connection is None, "given back, the next would read the rest"


async def test_who_is_slow_over_the_rest_is_not_waited_for(session: aiohttp.ClientSession) -> None:
    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one ")
        await asyncio.sleep(30)
        return response

    async with server(slow) as peer, session.get(peer.url) as response:
        assert await beginning_of(response, within_s=0.05) == b"one "


async def test_who_breaks_off_has_said_what_came(session: aiohttp.ClientSession) -> None:
    async def broken(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"one ")
        assert request.transport is not None
        request.transport.close()
        return response

    async with server(broken) as peer, session.get(peer.url) as response:
        assert await beginning_of(response) == b"one "


def test_words_can_be_kept_whatever_was_said() -> None:
    assert words(b"no\0 \xff") == "no \ufffd"
    assert len(words(b"x" * 1_000)) == MOST_SAID_BYTES
