"""Asking EVSPs over real sockets: whatever is not a clear answer in time is silence."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from clearinghouse.authorisation.client import HttpEvsps
from clearinghouse.authorisation.model import Answer, Decision, NoAnswer, Reason
from roaming.contract_id import ContractId
from roaming.party import PartyId
from tests.clearinghouse.authorisation.fakes import (
    FixedEndpoint,
    Handler,
    ListedEndpoints,
    evsp_server,
)

XYZ, ABC = PartyId("FR*XYZ"), PartyId("DE*ABC")
QUESTION = {"evse_id": "FR*PD1*E123", "at": datetime(2025, 1, 7, tzinfo=UTC)}
LONG_S = 10.0


@pytest.fixture
def endpoints() -> ListedEndpoints:
    return ListedEndpoints({})


@pytest.fixture
async def evsps(endpoints: ListedEndpoints) -> AsyncIterator[HttpEvsps]:
    evsps = HttpEvsps(endpoints, most_in_flight=4)
    yield evsps
    await evsps.close()


def in_seconds(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def ask(
    evsps: HttpEvsps, endpoints: ListedEndpoints, handler: Handler, timeout_s: float = LONG_S
) -> Answer | NoAnswer:
    async with evsp_server(handler) as url:
        endpoints.by_party[XYZ] = FixedEndpoint(url, {"Authorization": "Bearer ours"})
        return await evsps.ask(XYZ, QUESTION, in_seconds(timeout_s))


def answering(body: bytes, **more: Any) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, **more)

    return handler


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"decision":"accepted"}', Answer(Decision.ACCEPTED)),
        (b'{"decision":"accepted","reason":"over-limit"}', Answer(Decision.ACCEPTED)),
        (b'{"decision":"refused","more":1}', Answer(Decision.REFUSED)),
        (
            b'{"decision":"refused","reason":"over-limit"}',
            Answer(Decision.REFUSED, Reason.OVER_LIMIT),
        ),
        (
            b'{"decision":"accepted","contract_id":"fr-xyz-000000001"}',
            Answer(Decision.ACCEPTED, contract_id=ContractId("FRXYZ000000001")),
        ),
        (b'{"decision":"accepted","contract_id":"no id"}', Answer(Decision.ACCEPTED)),
        (b'{"decision":"refused","reason":"bad hair day"}', Answer(Decision.REFUSED)),
        (b'{"decision":"refused","reason":"evsp-silent"}', Answer(Decision.REFUSED)),
    ],
)
async def test_a_clear_answer_is_taken(
    evsps: HttpEvsps, endpoints: ListedEndpoints, body: bytes, answer: Answer
) -> None:
    assert await ask(evsps, endpoints, answering(body)) == answer


async def test_the_evsp_gets_the_question_and_its_own_headers(
    evsps: HttpEvsps, endpoints: ListedEndpoints
) -> None:
    got: list[tuple[Any, str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        got.append((await request.json(), request.headers["authorization"], request.content_type))
        return web.json_response({"decision": "accepted"})

    await ask(evsps, endpoints, handler)
    expected = {"evse_id": "FR*PD1*E123", "at": "2025-01-07T00:00:00Z"}
    assert got == [(expected, "Bearer ours", "application/json")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'"accepted"',
        b'{"decision":"perhaps"}',
        b'{"reason":"over-limit"}',
        b'{"decision":"refused","reason":7}',
        b'{"decision":"refused","reason":"\xff"}',
        b"[" * 60_000,
        b'{"decision":"accepted","a":' + b"[" * 60_000,
    ],
    ids=lambda body: body[:20].decode("ascii", "replace"),
)
async def test_nonsense_is_silence(
    evsps: HttpEvsps, endpoints: ListedEndpoints, body: bytes
) -> None:
    assert await ask(evsps, endpoints, answering(body)) == NoAnswer("nonsense")


@pytest.mark.parametrize("status", [201, 204, 401, 404, 500, 503])
async def test_any_other_status_is_silence(
    evsps: HttpEvsps, endpoints: ListedEndpoints, status: int
) -> None:
    handler = answering(b'{"decision":"accepted"}', status=status)
    assert await ask(evsps, endpoints, handler) == NoAnswer(f"status {status}")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_silence_and_not_followed(
    evsps: HttpEvsps, endpoints: ListedEndpoints, status: int
) -> None:
    followed: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        followed.append(request.path)
        return web.json_response({"decision": "accepted"})

    async with evsp_server(elsewhere) as url:
        handler = answering(b"", status=status, headers={"Location": url})
        assert await ask(evsps, endpoints, handler) == NoAnswer(f"status {status}")
    assert followed == []


async def test_a_huge_answer_is_silence(evsps: HttpEvsps, endpoints: ListedEndpoints) -> None:
    huge = b'{"decision":"accepted","padding":"' + b"x" * 70_000 + b'"}'
    answer = await ask(evsps, endpoints, answering(huge))
    assert answer == NoAnswer("more than 65536 bytes")


async def test_an_endless_answer_is_given_up_when_it_is_too_long(
    evsps: HttpEvsps, endpoints: ListedEndpoints
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 10_000)

    answer = await ask(evsps, endpoints, handler)
    assert answer == NoAnswer("more than 65536 bytes")


async def test_a_packed_answer_is_not_unpacked(
    evsps: HttpEvsps, endpoints: ListedEndpoints
) -> None:
    packed = gzip.compress(b'{"decision":"accepted"}')
    handler = answering(packed, headers={"Content-Encoding": "gzip"})
    assert await ask(evsps, endpoints, handler) == NoAnswer("nonsense")


async def test_a_slow_evsp_is_silent(evsps: HttpEvsps, endpoints: ListedEndpoints) -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError("never")

    assert await ask(evsps, endpoints, handler, 0.05) == NoAnswer("no answer in time")


async def test_an_evsp_that_drips_its_answer_is_silent(
    evsps: HttpEvsps, endpoints: ListedEndpoints
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"decision":')
        await asyncio.Event().wait()
        return response

    assert await ask(evsps, endpoints, handler, 0.1) == NoAnswer("no answer in time")


async def test_an_evsp_that_hangs_up_is_silent(
    evsps: HttpEvsps, endpoints: ListedEndpoints
) -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    answer = await ask(evsps, endpoints, handler)
    assert isinstance(answer, NoAnswer)
    assert answer.cause.startswith("no connection")


async def test_an_evsp_that_is_down_is_silent(evsps: HttpEvsps, endpoints: ListedEndpoints) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoints.by_party[XYZ] = FixedEndpoint(f"http://127.0.0.1:{port}/ask")
    answer = await evsps.ask(XYZ, QUESTION, in_seconds(LONG_S))
    assert answer == NoAnswer("no connection: ClientConnectorError")


async def test_a_kept_connection_that_was_closed_meanwhile_is_no_silence(
    evsps: HttpEvsps, endpoints: ListedEndpoints
) -> None:
    """An EVSP that closes each connection after its second question, without a word."""
    seen: dict[object, int] = {}

    async def handler(request: web.Request) -> web.Response:
        seen[request.transport] = seen.get(request.transport, 0) + 1
        if seen[request.transport] == 2:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"decision": "accepted"})

    async with evsp_server(handler) as url:
        endpoints.by_party[XYZ] = FixedEndpoint(url)
        for _ in range(4):
            assert await evsps.ask(XYZ, QUESTION, in_seconds(LONG_S)) == Answer(Decision.ACCEPTED)
    assert list(seen.values()) == [2, 2, 2, 1]


async def test_a_connection_is_kept_and_used_again(
    evsps: HttpEvsps, endpoints: ListedEndpoints
) -> None:
    seen: set[object] = set()

    async def handler(request: web.Request) -> web.Response:
        seen.add(request.transport)
        return web.json_response({"decision": "accepted"})

    async with evsp_server(handler) as url:
        endpoints.by_party[XYZ] = FixedEndpoint(url)
        for _ in range(5):
            await evsps.ask(XYZ, QUESTION, in_seconds(LONG_S))
    assert len(seen) == 1


@pytest.mark.parametrize("value", ["two\r\nlines: 1", "nul\x00"])
async def test_a_header_that_would_end_its_line_is_never_sent(
    evsps: HttpEvsps, endpoints: ListedEndpoints, value: str
) -> None:
    async with evsp_server(answering(b'{"decision":"accepted"}')) as url:
        endpoints.by_party[XYZ] = FixedEndpoint(url, {"X-Key": value})
        answer = await evsps.ask(XYZ, QUESTION, in_seconds(LONG_S))
    assert answer == NoAnswer("no connection: ValueError")


@pytest.mark.parametrize("url", ["", "not a url", "ftp://x/", "http://[::1", "http://127.0.0.1:0"])
async def test_an_address_that_cannot_be_called_is_silence(
    evsps: HttpEvsps, endpoints: ListedEndpoints, url: str
) -> None:
    endpoints.by_party[XYZ] = FixedEndpoint(url)
    assert isinstance(await evsps.ask(XYZ, QUESTION, in_seconds(LONG_S)), NoAnswer)


async def test_an_evsp_without_an_endpoint_is_silent(evsps: HttpEvsps) -> None:
    assert await evsps.ask(XYZ, QUESTION, in_seconds(LONG_S)) == NoAnswer("no endpoint")


class Gate:
    """An EVSP that answers when it is let, and tells how many questions it has before it."""

    def __init__(self) -> None:
        self.open, self.idle = asyncio.Event(), asyncio.Event()
        self.arrived = asyncio.Semaphore(0)
        self.most = self.now = 0

    async def handle(self, _: web.Request) -> web.Response:
        self.idle.clear()
        self.now += 1
        self.most = max(self.most, self.now)
        self.arrived.release()
        try:
            await self.open.wait()
        finally:
            self.now -= 1
            if not self.now:
                self.idle.set()
        return web.json_response({"decision": "accepted"})


async def test_a_slow_evsp_has_so_many_questions_and_costs_the_others_nothing(
    endpoints: ListedEndpoints,
) -> None:
    evsps, slow = HttpEvsps(endpoints, most_in_flight=4, most_waiting=3), Gate()
    async with evsp_server(slow.handle) as slow_url, evsp_server(answering(b"{}")) as quick_url:
        endpoints.by_party = {XYZ: FixedEndpoint(slow_url), ABC: FixedEndpoint(quick_url)}
        deadline = in_seconds(LONG_S)
        waiting = [asyncio.create_task(evsps.ask(XYZ, QUESTION, deadline)) for _ in range(7)]
        for _ in range(4):
            await slow.arrived.acquire()
        assert await evsps.ask(XYZ, QUESTION, deadline) == NoAnswer("3 questions waiting already")
        assert await evsps.ask(ABC, QUESTION, deadline) == NoAnswer("nonsense")
        slow.open.set()
        assert await asyncio.gather(*waiting) == [Answer(Decision.ACCEPTED)] * 7
        assert slow.most == 4
    await evsps.close()


async def test_who_waits_for_a_place_does_so_until_its_time_is_over(
    endpoints: ListedEndpoints,
) -> None:
    evsps, slow = HttpEvsps(endpoints, most_in_flight=1), Gate()
    async with evsp_server(slow.handle) as url:
        endpoints.by_party = {XYZ: FixedEndpoint(url)}
        first = asyncio.create_task(evsps.ask(XYZ, QUESTION, in_seconds(LONG_S)))
        await slow.arrived.acquire()
        late = await evsps.ask(XYZ, QUESTION, in_seconds(0.05))
        assert late == NoAnswer("no place in time to ask it")
        slow.open.set()
        assert await first == Answer(Decision.ACCEPTED)
        # The place of the one that went away is not lost.
        assert await evsps.ask(XYZ, QUESTION, in_seconds(LONG_S)) == Answer(Decision.ACCEPTED)
    await evsps.close()


async def test_answers_earn_an_evsp_more_questions_at_once_and_silence_costs_it_some(
    endpoints: ListedEndpoints,
) -> None:
    evsps, quick = HttpEvsps(endpoints), Gate()
    quick.open.set()
    async with evsp_server(quick.handle) as url:
        endpoints.by_party = {XYZ: FixedEndpoint(url)}

        async def many(number: int, timeout_s: float = LONG_S) -> list[Answer | NoAnswer]:
            deadline = in_seconds(timeout_s)
            asks = (evsps.ask(XYZ, QUESTION, deadline) for _ in range(number))
            return await asyncio.gather(*asks)

        await many(100)
        quick.open.clear()
        asked = asyncio.create_task(many(200))
        # The first hundred, and those who have a place now.
        for _ in range(100 + 164):
            await quick.arrived.acquire()
        quick.open.set()
        await asked
        assert quick.most >= 164
        quick.open.clear()
        for _ in range(8):
            await many(100, timeout_s=0.1)
        async with asyncio.timeout(LONG_S):
            await quick.idle.wait()
        quick.most = 0
        await many(100, timeout_s=0.1)
        assert quick.most <= 8
    await evsps.close()


async def test_a_question_that_is_let_go_is_no_silence_of_the_evsp(
    endpoints: ListedEndpoints,
) -> None:
    evsps, slow = HttpEvsps(endpoints), Gate()
    async with evsp_server(slow.handle) as url:
        endpoints.by_party = {XYZ: FixedEndpoint(url)}
        deadline = in_seconds(LONG_S)
        for _ in range(2):
            asked = [asyncio.create_task(evsps.ask(XYZ, QUESTION, deadline)) for _ in range(64)]
            async with asyncio.timeout(LONG_S):
                for _ in asked:
                    await slow.arrived.acquire()
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
    await evsps.close()


class CountedEndpoints(ListedEndpoints):
    """Counts how often it is asked."""

    def __init__(self, by_party: dict[PartyId, FixedEndpoint]) -> None:
        super().__init__(by_party)
        self.looks = 0

    async def of_many(
        self, parties: Collection[PartyId], purpose: str
    ) -> Mapping[PartyId, FixedEndpoint]:
        self.looks += 1
        return await super().of_many(parties, purpose)


async def test_many_questions_at_once_share_a_look_at_the_endpoints() -> None:
    async with evsp_server(answering(b'{"decision":"accepted"}')) as url:
        endpoints = CountedEndpoints({XYZ: FixedEndpoint(url)})
        evsps = HttpEvsps(endpoints)
        asks = (evsps.ask(XYZ, QUESTION, in_seconds(LONG_S)) for _ in range(50))
        assert await asyncio.gather(*asks) == [Answer(Decision.ACCEPTED)] * 50
        assert endpoints.looks <= 2
        assert list(await evsps.listening([ABC, XYZ])) == [XYZ]
    await evsps.close()


@pytest.mark.parametrize("allow_loopback", [False, True])
async def test_a_name_is_asked_only_where_it_may_lead(
    endpoints: ListedEndpoints, allow_loopback: bool
) -> None:
    """The name was fine when it was registered; where it leads is looked at for each connection."""
    evsps = HttpEvsps(endpoints, allow_loopback=allow_loopback)
    try:
        async with evsp_server(answering(b'{"decision":"accepted"}')) as url:
            endpoints.by_party[XYZ] = FixedEndpoint(url.replace("127.0.0.1", "localhost"), {})
            answer = await evsps.ask(XYZ, QUESTION, in_seconds(LONG_S))
    finally:
        await evsps.close()
    assert isinstance(answer, Answer if allow_loopback else NoAnswer)
