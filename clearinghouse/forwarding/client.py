"""Records to an EVSP's endpoint over HTTP."""

from __future__ import annotations

import aiohttp

from clearinghouse.cdrs import wire
from clearinghouse.forwarding.model import Delivery, Reply
from clearinghouse.forwarding.ports import Endpoint
from kit.encoding import encode_json
from kit.outside_resolver import OutsideResolver

_MOST_SAID_BYTES = 400


class HttpSender:
    """POST {"delivery_id", "cdrs": [...]}. Make it with `open`, in a running loop; then `close`.

    It has a session of its own without a limit on connections: a limit that others share is one
    that EVSPs who hang can use up.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    def open(cls, *, timeout_s: float = 10.0, allow_loopback: bool = False) -> HttpSender:
        """`allow_loopback`: a host name may lead to this very machine."""
        return cls(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, resolver=OutsideResolver(allow_loopback=allow_loopback)
                ),
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        )

    async def close(self) -> None:
        await self._session.close()

    async def send(self, endpoint: Endpoint, delivery: Delivery) -> Reply:
        body = encode_json(
            {
                "delivery_id": delivery.delivery_id,
                "cdrs": [wire.shown(cdr) for cdr in delivery.cdrs],
            }
        )
        try:
            async with self._session.post(
                endpoint.url,
                data=body,
                headers={
                    **endpoint.headers,
                    "Content-Type": "application/json",
                    "Idempotency-Key": delivery.delivery_id,
                },
                # A partner's redirect could send its customers' records anywhere.
                allow_redirects=False,
            ) as response:
                said = await response.content.read(_MOST_SAID_BYTES)
                # Closed, not given back: what else a partner has to say is not waited for.
                if not response.content.at_eof():
                    response.close()
                return Reply(response.status, _words(said))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(None, _words(f"{type(error).__name__}: {error}".encode()))


def _words(said: bytes) -> str:
    # PostgreSQL keeps no NUL in a text.
    return said[:_MOST_SAID_BYTES].decode("utf-8", "replace").replace("\0", "")
