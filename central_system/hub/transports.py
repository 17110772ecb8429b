"""Two ways to the hub: the application in this process, or its address over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
from starlette.types import ASGIApp

from central_system.hub.model import HubAway
from kit.http import Answer, call_asgi

MOST_ANSWER_BYTES = 16 * 1024 * 1024


class InProcess:
    """The hub's own ASGI application: no socket, and every check of the door all the same."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def call(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> Answer:
        try:
            async with asyncio.timeout(timeout_s):
                return await call_asgi(self._app, method, path, headers=headers, body=body)
        except TimeoutError:
            raise _away(path, f"no answer in {timeout_s:g} s") from None
        except Exception as error:
            # Over HTTP this would be a status 500: whatever broke, it broke on the hub's side.
            raise _away(path, type(error).__name__) from error


class OverHttp:
    """A hub elsewhere. Make it inside the event loop; `close` it there."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=200, ttl_dns_cache=60),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        await self._session.close()

    async def call(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> Answer:
        try:
            async with self._session.request(
                method,
                self._base_url + path,
                data=body,
                headers=dict(headers),
                # A redirect would carry the operator's token to wherever it points.
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                content = await self._read(path, response)
                named = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status, named, content)
        except TimeoutError:
            raise _away(path, f"no answer in {timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _away(path, type(error).__name__) from error

    async def _read(self, path: str, response: aiohttp.ClientResponse) -> bytes:
        parts = bytearray()
        async for part in response.content.iter_any():
            parts += part
            if len(parts) > MOST_ANSWER_BYTES:
                raise _away(path, f"an answer of more than {MOST_ANSWER_BYTES} bytes")
        return bytes(parts)


def _away(path: str, why: str) -> HubAway:
    return HubAway(f"the hub did not answer {path}: {why}", rule="asked again later")
