"""Asking an EVSP whether its customer may charge: over HTTP, in JSON, and not for long.

Whatever is not a clear answer in time is silence: no endpoint, no connection, a redirect, a status
other than 200, a body that is too large or nonsense. A slow EVSP has at most so many questions
under way and costs the others nothing; a question beyond that is silence at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from clearinghouse.authorisation.model import (
    EVSP_REASONS,
    Answer,
    Decision,
    NoAnswer,
    Reason,
)
from clearinghouse.authorisation.ports import Endpoint, Endpoints
from kit.encoding import encode_json
from kit.http import NOT_JSON
from kit.outside_resolver import OutsideResolver
from roaming.party import PartyId

PURPOSE = "authorisation"
MOST_IN_FLIGHT = 64
LONGEST_BODY_BYTES = 64 * 1024


class AnswerGiven(msgspec.Struct):
    """What an EVSP sends. A reason that it may not give still is a refusal."""

    decision: Decision
    reason: str | None = None

    def to_answer(self) -> Answer:
        if self.decision is Decision.ACCEPTED or self.reason not in EVSP_REASONS:
            return Answer(self.decision)
        return Answer(self.decision, Reason(self.reason))


_decoder = msgspec.json.Decoder(AnswerGiven)


class HttpEvsps:
    """EVSPs behind their HTTP endpoints. Make it inside the event loop; `close` it there."""

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        most_in_flight: int = MOST_IN_FLIGHT,
        longest_body_bytes: int = LONGEST_BODY_BYTES,
        allow_loopback: bool = False,
    ) -> None:
        """`allow_loopback`: a host name may lead to this very machine."""
        self._endpoints = endpoints
        self._most_in_flight = most_in_flight
        self._longest_body_bytes = longest_body_bytes
        self._in_flight: Counter[PartyId] = Counter()
        # A session of its own: no limit shared by all partners, no cookies kept, and no unpacking,
        # since a small packed body may be a huge one.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                ttl_dns_cache=60,
                resolver=OutsideResolver(allow_loopback=allow_loopback),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        await self._session.close()

    async def ask(
        self, evsp: PartyId, question: Mapping[str, Any], deadline: float
    ) -> Answer | NoAnswer:
        """See `Evsps.ask`."""
        if self._in_flight[evsp] >= self._most_in_flight:
            return NoAnswer(f"{self._most_in_flight} questions under way already")
        self._in_flight[evsp] += 1
        try:
            endpoint = await self._endpoints.of(evsp, PURPOSE)
            if endpoint is None:
                return NoAnswer("no endpoint")
            return await self._ask_at(endpoint, encode_json(question), deadline)
        finally:
            self._in_flight[evsp] -= 1
            if not self._in_flight[evsp]:
                del self._in_flight[evsp]

    async def _ask_at(self, endpoint: Endpoint, body: bytes, deadline: float) -> Answer | NoAnswer:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._post(endpoint, body)
        except TimeoutError:
            return NoAnswer("no answer in time")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return NoAnswer(f"no connection: {type(error).__name__}")

    async def _post(self, endpoint: Endpoint, body: bytes) -> Answer | NoAnswer:
        async with self._session.post(
            endpoint.url,
            data=body,
            headers={"Content-Type": "application/json", **endpoint.headers},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as response:
            if response.status != 200:
                return NoAnswer(f"status {response.status}")
            content = await self._read(response)
        if content is None:
            return NoAnswer(f"more than {self._longest_body_bytes} bytes")
        try:
            return _decoder.decode(content).to_answer()
        except NOT_JSON:
            return NoAnswer("nonsense")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes | None:
        """The body, or None as soon as it is too long; the connection is then given up."""
        parts = bytearray()
        async for part in response.content.iter_any():
            parts += part
            if len(parts) > self._longest_body_bytes:
                response.close()
                return None
        return bytes(parts)
