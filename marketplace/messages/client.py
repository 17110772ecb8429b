"""Messages to a party's endpoint, over HTTP, signed."""

from __future__ import annotations

import aiohttp
from yarl import URL

from kit import message_signature
from kit.clock import Clock
from kit.message_signature import Signer
from kit.outside_client import beginning_of, open_session, words
from marketplace.messages import wire
from marketplace.messages.model import Message, Reply
from marketplace.messages.ports import Endpoint


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
        session = open_session(timeout_s=timeout_s, allow_loopback=allow_loopback)
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
                return Reply(response.status, words(await beginning_of(response)))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(None, words(f"{type(error).__name__}: {error}".encode()))
