"""Messages to a party's endpoint, over HTTP, signed."""

from __future__ import annotations

import asyncio

import aiohttp
from yarl import URL

from kit import message_signature
from kit.clock import Clock
from kit.message_signature import Signer
from kit.outside_resolver import OutsideResolver
from marketplace.messages import wire
from marketplace.messages.model import Message, Reply
from marketplace.messages.ports import Endpoint

_MOST_SAID_BYTES = 400
# An answer's first line decides; who is slow over the rest of it is not waited for.
_READ_WITHIN_S = 2.0


class HttpSender:
    """Make it with `open`, in a running loop; then `close`."""

    def __init__(
        self, session: aiohttp.ClientSession, hub_url: str, signer: Signer, clock: Clock
    ) -> None:
        self._session = session
        self._hub_url = hub_url
        self._signer = signer
        self._clock = clock

    @classmethod
    def open(
        cls,
        hub_url: str,
        signer: Signer,
        clock: Clock,
        *,
        timeout_s: float = 10.0,
        allow_loopback: bool = False,
    ) -> HttpSender:
        """`allow_loopback`: a host name may lead to this very machine."""
        session = aiohttp.ClientSession(
            # No limit on connections: one that others share is one that who hangs can use up.
            connector=aiohttp.TCPConnector(
                limit=0, resolver=OutsideResolver(allow_loopback=allow_loopback)
            ),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return cls(session, hub_url, signer, clock)

    async def close(self) -> None:
        await self._session.close()

    async def send(self, endpoint: Endpoint, message: Message) -> Reply:
        content = wire.content(message, self._hub_url)
        url = message_signature.target(endpoint.url)
        signed = message_signature.headers(
            url, content, wire.CONTENT_TYPE, signer=self._signer, at=self._clock()
        )
        try:
            async with self._session.post(
                # As it was signed: no library tidies it up on the way.
                URL(url, encoded=True),
                data=content,
                headers={
                    **endpoint.headers,
                    **signed,
                    "Idempotency-Key": message.message_id,
                },
                # A partner's redirect could send what two have agreed anywhere.
                allow_redirects=False,
            ) as response:
                said = await _beginning_of(response)
                # Closed, not given back: what else there is to say is not waited for.
                if not response.content.at_eof():
                    response.close()
                return Reply(response.status, _words(said))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(None, _words(f"{type(error).__name__}: {error}".encode()))


async def _beginning_of(response: aiohttp.ClientResponse) -> bytes:
    said = b""
    try:
        async with asyncio.timeout(_READ_WITHIN_S):
            while len(said) < _MOST_SAID_BYTES:
                more = await response.content.read(_MOST_SAID_BYTES - len(said))
                if not more:
                    break
                said += more
    except (TimeoutError, aiohttp.ClientError):
        pass
    return said


def _words(said: bytes) -> str:
    # PostgreSQL keeps no NUL in a text.
    return said[:_MOST_SAID_BYTES].decode("utf-8", "replace").replace("\0", "")
