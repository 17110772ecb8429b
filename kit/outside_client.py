"""Calls to servers outside: a session that none of them can use up, and as much of an answer as is
listened to."""

from __future__ import annotations

import asyncio

import aiohttp

from kit.outside_resolver import OutsideResolver

MOST_SAID_BYTES = 400
# An answer's first line decides; who is slow over the rest of it is not waited for.
READ_WITHIN_S = 2.0


def open_session(*, timeout_s: float, allow_loopback: bool) -> aiohttp.ClientSession:
    """In a running loop; whoever opens it closes it. `allow_loopback`: a host name may lead to this
    very machine.

    No limit on connections: one that others share is one that who hangs can use up.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, resolver=OutsideResolver(allow_loopback=allow_loopback)
        ),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


async def beginning_of(
    response: aiohttp.ClientResponse,
    most: int = MOST_SAID_BYTES,
    *,
    within_s: float = READ_WITHIN_S,
) -> bytes:
    """What has come of the body within this time, at most this much: one read gives no more than
    is there. The rest is not waited for: the connection is closed, not given back."""
    said = b""
    try:
        async with asyncio.timeout(within_s):
            while len(said) < most:
                more = await response.content.read(most - len(said))
                if not more:
                    break
                said += more
    except (TimeoutError, aiohttp.ClientError):
        pass
    if not response.content.at_eof():
        response.close()
    return said


def words(said: bytes) -> str:
    """As it is kept for people to read. PostgreSQL keeps no NUL in a text."""
    return said[:MOST_SAID_BYTES].decode("utf-8", "replace").replace("\0", "")
