"""Asking an EVSP whether its customer may charge: over HTTP, in JSON, and not for long.

Whatever is not a clear answer in time is silence: no endpoint, no connection, a redirect, a status
other than 200, a body that is too large or nonsense.

Each EVSP has a line of its own, so that a slow one costs the others nothing: so many questions are
under way to it, so many more wait for one of those places until their time is over, and a question
beyond that is silence at once. How many are under way follows how it answers: each answer earns it
a place more and each silence costs it one. So an EVSP that is quick may be asked by hundreds at
once, and one that hangs holds a handful of connections.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
from aiohttp.http import HttpProcessingError
from yarl import URL

from clearinghouse.authorisation.model import EVSP_REASONS, Answer, Decision, NoAnswer, Reason
from clearinghouse.authorisation.ports import Endpoint, Endpoints
from kit.batching import Batcher
from kit.encoding import encode_json
from kit.http import NOT_JSON
from kit.outside_resolver import OutsideResolver
from roaming.contract_id import ContractId
from roaming.identifier import BadIdentifier
from roaming.party import PartyId

PURPOSE = "authorisation"
MOST_IN_FLIGHT = 512
FIRST_IN_FLIGHT = 64
LEAST_IN_FLIGHT = 8
MOST_WAITING = 1_000
LONGEST_BODY_BYTES = 64 * 1024


class AnswerGiven(msgspec.Struct):
    """What an EVSP sends. A reason that it may not give still is a refusal, and what is no contract
    id names none.
    """

    decision: Decision
    reason: str | None = None
    contract_id: str | None = None

    def to_answer(self) -> Answer:
        if self.decision is Decision.ACCEPTED:
            return Answer(self.decision, contract_id=_contract_id(self.contract_id))
        if self.reason not in EVSP_REASONS:
            return Answer(self.decision)
        return Answer(self.decision, Reason(self.reason))


def _contract_id(text: str | None) -> ContractId | None:
    try:
        return None if text is None else ContractId(text)
    except BadIdentifier:
        return None


_MOST_PLACES = 4096
# The deadline of the question is all there is to keep.
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
# What a header may not hold (RFC 9110, section 5.5): it could end the line.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_decoder = msgspec.json.Decoder(AnswerGiven)


class _Line:
    """The questions to one EVSP: those under way, and those that wait for a place, in order."""

    def __init__(self, first: int, most: int) -> None:
        self.places = first
        self._most = most
        self.under_way = 0
        self.waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        if self.under_way < self.places and not self.waiting:
            self.under_way += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                with suppress(ValueError):
                    self.waiting.remove(place)
            else:
                # It was given a place at the very moment at which its time was over.
                self.leave()
            raise

    def leave(self, change: int = 0) -> None:
        self.under_way -= 1
        self._change(change)
        self._let_in()

    def has_been_silent(self) -> None:
        self._change(-1)

    def _change(self, change: int) -> None:
        self.places = min(max(self.places + change, min(LEAST_IN_FLIGHT, self._most)), self._most)

    def _let_in(self) -> None:
        while self.waiting and self.under_way < self.places:
            place = self.waiting.popleft()
            if not place.done():
                self.under_way += 1
                place.set_result(None)


class HttpEvsps:
    """EVSPs behind their HTTP endpoints. Make it inside the event loop; `close` it there."""

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        most_in_flight: int = MOST_IN_FLIGHT,
        most_waiting: int = MOST_WAITING,
        longest_body_bytes: int = LONGEST_BODY_BYTES,
        allow_loopback: bool = False,
    ) -> None:
        """`allow_loopback`: a host name may lead to this very machine."""
        self._endpoints = endpoints
        # One look for all who ask while the last one runs.
        self._lookups: Batcher[PartyId, Endpoint | None] = Batcher(self._find)
        self._most_in_flight = most_in_flight
        self._most_waiting = most_waiting
        self._longest_body_bytes = longest_body_bytes
        self._lines: dict[PartyId, _Line] = {}
        # A session of its own: no limit shared by all partners, no cookies kept, and no unpacking,
        # since a small packed body may be a huge one.
        self._connector = aiohttp.TCPConnector(
            limit=0,
            ttl_dns_cache=60,
            resolver=OutsideResolver(allow_loopback=allow_loopback),
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )
        self._places: dict[str, _Place] = {}

    async def close(self) -> None:
        await self._lookups.close()
        await self._session.close()

    async def listening(self, evsps: Collection[PartyId]) -> Collection[PartyId]:
        """See `Evsps.listening`."""
        return (await self._endpoints.of_many(evsps, PURPOSE)).keys()

    async def ask(
        self, evsp: PartyId, question: Mapping[str, Any], deadline: float
    ) -> Answer | NoAnswer:
        """See `Evsps.ask`."""
        line = self._line(evsp)
        if len(line.waiting) >= self._most_waiting:
            return NoAnswer(f"{self._most_waiting} questions waiting already")
        entered = False
        try:
            async with asyncio.timeout_at(deadline):
                endpoint = await self._lookups.put(evsp)
                if endpoint is None:
                    return NoAnswer("no endpoint")
                await line.enter()
                entered = True
                return await self._ask_in(line, endpoint, encode_json(question))
        except TimeoutError:
            if not entered:
                return NoAnswer("no place in time to ask it")
            # Not where it was let go since another said yes: that was no silence of its own.
            line.has_been_silent()
            return NoAnswer("no answer in time")

    def _line(self, evsp: PartyId) -> _Line:
        line = self._lines.get(evsp)
        if line is None:
            most = self._most_in_flight
            line = self._lines[evsp] = _Line(min(FIRST_IN_FLIGHT, most), most)
        return line

    async def _ask_in(self, line: _Line, endpoint: Endpoint, body: bytes) -> Answer | NoAnswer:
        """Ask from a place in the line, and give the place back."""
        change = 0
        try:
            answer = await self._post(endpoint, body)
            change = 1
            return answer
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
            change = -1
            return NoAnswer(f"no connection: {type(error).__name__}")
        finally:
            line.leave(change)

    async def _find(self, evsps: Sequence[PartyId]) -> Sequence[Endpoint | None]:
        found = await self._endpoints.of_many(set(evsps), PURPOSE)
        return [found.get(evsp) for evsp in evsps]

    def _place(self, url: str) -> _Place:
        place = self._places.get(url)
        if place is None:
            parsed = URL(url)
            if parsed.scheme not in ("http", "https"):
                raise aiohttp.InvalidURL(url)
            loop = asyncio.get_running_loop()
            place = _Place("POST", parsed, loop=loop, session=self._session)
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            self._places[url] = place
        return place

    async def _post(self, endpoint: Endpoint, body: bytes) -> Answer | NoAnswer:
        """The question in one piece over a connection of aiohttp's pool: of what its session does
        for each request nothing is needed here, and it costs more than all the rest of asking.
        """
        place = self._place(endpoint.url)
        asked = _head(place, endpoint.headers, len(body)) + body
        # What a kept connection had been closed on meanwhile is asked once more: it is a question.
        for last in (False, True):
            connection = await self._connector.connect(place, [], _NO_TIMEOUT)
            try:
                status, content = await _sent(connection, asked)
                if status != 200:
                    return NoAnswer(f"status {status}")
                answer = await self._read(content)
                connection.release()
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if last:
                    raise
                continue
            finally:
                # What was not read to its end is of no more use; what was released stays.
                connection.close()
            if answer is None:
                return NoAnswer(f"more than {self._longest_body_bytes} bytes")
            try:
                return _decoder.decode(answer).to_answer()
            except NOT_JSON:
                return NoAnswer("nonsense")
        raise AssertionError("the last try returns or raises")

    async def _read(self, content: aiohttp.StreamReader) -> bytes | None:
        """The body, or None as soon as it is too long."""
        parts = bytearray()
        while part := await content.readany():
            parts += part
            if len(parts) > self._longest_body_bytes:
                return None
        return bytes(parts)


class _Place(aiohttp.ClientRequest):
    """An EVSP's address, as aiohttp's pool asks where to connect to. It is never sent."""


def _head(place: _Place, headers: Mapping[str, str], length: int) -> bytes:
    lines = [
        f"POST {place.url.raw_path_qs} HTTP/1.1",
        f"Host: {place.headers['Host']}",
        "Accept: application/json",
        "Accept-Encoding: identity",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if any(_CONTROL.search(line) for line in lines):
        raise ValueError("a header that would end its line")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _sent(
    connection: aiohttp.connector.Connection, asked: bytes
) -> tuple[int, aiohttp.StreamReader]:
    """Write the question; the answer's status, and its body as it comes."""
    protocol, transport = connection.protocol, connection.transport
    # What a partner has said before it was asked is no answer to this question.
    if protocol is None or transport is None or protocol.should_close:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(read_until_eof=True, auto_decompress=False, read_timeout=None)
    transport.write(asked)
    while True:
        message, content = await protocol.read()
        if message.code >= 200:
            return message.code, content
        if message.code == 101:
            raise aiohttp.ClientPayloadError("switches protocols, unasked")
