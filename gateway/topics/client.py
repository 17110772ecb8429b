"""Events to a subscriber's endpoint, over HTTP, signed."""

from __future__ import annotations

import aiohttp
from yarl import URL

from gateway.topics.model import Reply
from gateway.topics.wire import BATCH_TYPE
from kit import message_signature
from kit.clock import Clock
from kit.message_signature import Signer
from kit.outside_client import beginning_of, open_session, words


class HttpSender:
    """Make it with `open`, in a running loop; then `close`."""

    def __init__(self, session: aiohttp.ClientSession, signer: Signer, clock: Clock) -> None:
        self._session = session
        self._signer = signer
        self._clock = clock

    @classmethod
    def open(
        cls, signer: Signer, clock: Clock, *, timeout_s: float = 10.0, allow_loopback: bool = False
    ) -> HttpSender:
        """`allow_loopback`: a host name may lead to this very machine."""
        session = open_session(timeout_s=timeout_s, allow_loopback=allow_loopback)
        return cls(session, signer, clock)

    async def close(self) -> None:
        await self._session.close()

    async def send(self, url: str, content: bytes) -> Reply:
        signed = message_signature.headers(
            url, content, BATCH_TYPE, signer=self._signer, at=self._clock()
        )
        try:
            async with self._session.post(
                # As it was signed: no library tidies it up on the way.
                URL(url, encoded=True),
                data=content,
                headers=signed,
                # A subscriber's redirect could send events anywhere.
                allow_redirects=False,
            ) as response:
                return Reply(response.status, words(await beginning_of(response)))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(None, words(f"{type(error).__name__}: {error}".encode()))
