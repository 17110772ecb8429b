"""The way to a partner's service: HTTP over connections that are kept and used again.

The address is the catalogue's; nothing of the caller's can change it. Of several, one that answers.

Two ways lead there. A call whose body is small, or that has none, is written in one piece to a
connection of aiohttp's pool, and one timer looks after all such calls: of what aiohttp's session
does for a request (redirects, cookies, sign-on, timers of its own) the door needs nothing, and it
costs more than all of the door's own checks. A body that streams goes through the session.

A call is repeated only where that is safe (`_again`), and all of it within the time that its
operation has.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator

import aiohttp
from aiohttp.http import HttpProcessingError, RawResponseMessage
from multidict import CIMultiDict
from yarl import URL

from gateway.calls.breaker import Rules, State
from gateway.calls.connections import Connections
from gateway.calls.endpoints import Choice, Endpoint, Endpoints, Turn
from gateway.calls.failures import Failure, explained, failure_of
from gateway.calls.forwarded_headers import request_head, request_headers, response_headers
from gateway.calls.model import Call, Service
from gateway.calls.ports import Answer, Body
from gateway.calls.refusals import (
    BodyTooLarge,
    CallerGone,
    ForwardFailed,
    ProviderResting,
    ProviderUnreachable,
)
from gateway.calls.watching import Watch, Watches

# Answers up to this size are read whole before a byte is passed on: one that breaks off can then
# still become an honest 502, or be asked for again.
WHOLE_BYTES = 64 * 1024
# So much news (RFC 9110, section 15.2) may come before an answer; more is no answer.
MOST_NEWS = 20
# What may be repeated without harm (RFC 9110, section 9.2.2).
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
# Answers that say that the endpoint, not the call, is the trouble.
_AILING = frozenset((502, 503, 504))
MOST_REPEATS = 2
# So many kept connections may turn out to be of no use before that is the partner's fault.
MOST_USELESS = 3
# Before the same endpoint is asked again; twice as long the second time, and a random part of it.
PAUSE_S = 0.05


class Upstream:
    """Connections to all partners. Each partner has a pool of its own, so none waits for another.

    A call has the time of its operation, at most `total_s`; `idle_s` bounds each wait for the next
    piece of an answer. Addresses inside the hub's own network are not called; `allow_loopback` is
    for partners on the same machine.
    """

    def __init__(
        self,
        *,
        connect_s: float = 2.0,
        total_s: float = 120.0,
        idle_s: float = 15.0,
        caller_idle_s: float = 60.0,
        connections_each: int = 256,
        idle_connection_s: float = 30.0,
        allow_loopback: bool = False,
        rules: Rules | None = None,
    ) -> None:
        self._connect_s = connect_s
        self._total_s = total_s
        self._connections_each = connections_each
        self._idle_connection_s = idle_connection_s
        self._allow_loopback = allow_loopback
        self._connections: Connections | None = None
        self._watches = Watches(idle_s, caller_idle_s)
        self.endpoints = Endpoints(
            rules or Rules(), longest_s=total_s, allow_loopback=allow_loopback
        )
        self.under_way = 0
        self.repeats = 0

    async def close(self) -> None:
        self._watches.close()
        self.endpoints.clear()
        if self._connections is not None:
            await self._connections.session.close()
            self._connections = None

    @property
    def connections(self) -> Connections:
        return self._connections or self._open()

    def _open(self) -> Connections:
        self._connections = Connections.open(
            connect_s=self._connect_s,
            each=self._connections_each,
            kept_s=self._idle_connection_s,
            allow_loopback=self._allow_loopback,
        )
        return self._connections

    async def carry(self, call: Call, body: Body, answer: Answer) -> None:
        """Raises a ForwardFailed, BodyTooLarge or BadHeader; then nothing of an answer was passed
        on, or the answer was cut off.
        """
        service = call.service
        assert service is not None
        connections = self._connections or self._open()
        endpoints = self.endpoints.of(service, connections)
        choice = endpoints.sandbox if call.sandbox else endpoints.live
        time_s = endpoints.time_s
        if service.timeouts_s:
            time_s = min(_own_time_s(call, service), self._total_s)
        self.under_way += 1
        try:
            data = b"" if body.empty else await body.small(WHOLE_BYTES)
            if data is None:
                await self._stream(connections, call, choice, time_s, body, answer)
            else:
                await self._ask(connections, call, choice, time_s, data, body, answer)
        finally:
            self.under_way -= 1

    async def _ask(
        self,
        connections: Connections,
        call: Call,
        choice: Choice,
        time_s: float,
        data: bytes,
        body: Body,
        answer: Answer,
    ) -> None:
        """A request in one piece. Its caller's going away, and its time, are watched."""
        began_ns = time.perf_counter_ns()
        endpoint = choice.only
        if endpoint is None or endpoint.breaker.state is not State.CLOSED:
            endpoint = _first(call, choice, began_ns)
        watch = self._watches.begin(connections.loop, body, began_ns, time_s)
        tried: tuple[Endpoint, ...] = ()
        try:
            while endpoint is not None:
                tried = (*tried, endpoint)
                endpoint = await self._try(connections, call, choice, tried, data, answer, watch)
        except asyncio.CancelledError:
            if watch.verdict is None:
                raise
            watch.task.uncancel()
            raise _verdict(call, watch.verdict) from None
        finally:
            self._watches.end(watch)

    async def _try(
        self,
        connections: Connections,
        call: Call,
        choice: Choice,
        tried: tuple[Endpoint, ...],
        data: bytes,
        answer: Answer,
        watch: Watch,
    ) -> Endpoint | None:
        """Ask the last of `tried`. None: the call is answered. Else who is to be asked next."""
        endpoint = tried[-1]
        asked = request_head(call, endpoint.address, len(data)) + data
        turn = Turn(endpoint, time.perf_counter_ns())
        connection: aiohttp.connector.Connection | None = None
        begun = False
        try:
            connection = await connections.connector.connect(
                endpoint.address.place, [], connections.timeout
            )
            if connection.protocol is None or connection.protocol.should_close:
                connection = await _another_connection(connections, endpoint, connection)
            message, content = await _sent(connection, asked, head_only=call.method == "HEAD")
            if message.code in _AILING and "Retry-After" not in message.headers:
                turn.failed(Failure.AILING, call)
                again = await self._again(call, choice, tried, Failure.AILING, watch)
                if again is not None:
                    return again
            watch.content = content
            # The connection is free for the next call as soon as the answer has come.
            content.on_eof(connection.release)
            headers = response_headers(message.raw_headers, endpoint.address, call)
            length = _length(message)
            if length is None or length > WHOLE_BYTES:
                turn.heard()
                begun = True
                await _pass_on(message.code, headers, content, answer, watch)
                turn.succeeded()
            else:
                # Most answers have come whole by now, and nothing is waited for.
                whole = content.read_nowait() if content.is_eof() else await content.read()
                turn.heard()
                turn.succeeded()
                begun = watch.passing_on = True
                await answer.start(message.code, headers)
                await answer.write(whole, more=False)
            return None
        except (aiohttp.ClientError, HttpProcessingError, TimeoutError) as error:
            failure = failure_of(error)
            if not _forgiven(call, choice, tried, failure):
                turn.failed(failure, call)
            turn.of_no_account()
            again = None if begun else await self._again(call, choice, tried, failure, watch)
            if again is None:
                raise explained(call, failure, error) from None
            return again
        except asyncio.CancelledError:
            if isinstance(watch.verdict, TimeoutError):
                turn.failed(Failure.SILENT, call)
            raise
        finally:
            if turn.open:
                turn.of_no_account()
            if connection is not None:
                # Where the answer was not read to its end the connection is of no more use.
                connection.close()

    async def _again(
        self,
        call: Call,
        choice: Choice,
        tried: tuple[Endpoint, ...],
        failure: Failure,
        watch: Watch,
    ) -> Endpoint | None:
        """Who may be asked after the last of `tried` has failed. None: nobody.

        Whoever cannot have seen the call has done nothing of it; any other may be asked again only
        for what may be done twice. Better another endpoint at once than the same after a pause.
        """
        last = tried[-1]
        repeatable = _is_repeatable(call)
        if len(tried) > MOST_REPEATS or not (repeatable or failure.nothing_sent):
            return None
        another = choice.take(_now_s(), repeatable=repeatable, tried=tried)
        if another is None and not (repeatable and failure.may_pass):
            return None
        if not last.budget.take(last.breaker.calls):
            return None
        if another is None:
            if not _forgiven(call, choice, tried, failure):
                pause_s = PAUSE_S * len(tried) * random.uniform(0.5, 1.0)
                if pause_s >= watch.left_s():
                    return None
                await asyncio.sleep(pause_s)
            another = last if last.lets_through(_now_s()) else None
        self.repeats += another is not None
        return another

    async def _stream(
        self,
        connections: Connections,
        call: Call,
        choice: Choice,
        time_s: float,
        body: Body,
        answer: Answer,
    ) -> None:
        """A request whose body is passed on as it comes; reading it, we hear if the caller goes.

        Another endpoint is asked only where nothing of the body has been read.
        """
        began_ns = time.perf_counter_ns()
        endpoint: Endpoint | None = _first(call, choice, began_ns)
        watch = self._watches.begin(connections.loop, None, began_ns, time_s)
        tried: tuple[Endpoint, ...] = ()
        try:
            while endpoint is not None:
                tried = (*tried, endpoint)
                endpoint = await self._try_streaming(
                    connections, call, choice, tried, body, answer, watch
                )
        except asyncio.CancelledError:
            if watch.verdict is None:
                raise
            watch.task.uncancel()
            raise _verdict(call, watch.verdict) from None
        finally:
            self._watches.end(watch)

    async def _try_streaming(
        self,
        connections: Connections,
        call: Call,
        choice: Choice,
        tried: tuple[Endpoint, ...],
        body: Body,
        answer: Answer,
        watch: Watch,
    ) -> Endpoint | None:
        address = tried[-1].address
        headers = CIMultiDict(request_headers(call))
        turn = Turn(tried[-1], time.perf_counter_ns())
        sending = _Sending(body)
        try:
            response = await connections.session.request(
                call.method,
                URL(address.origin + address.target(call), encoded=True),
                headers=headers,
                data=sending.pieces(),
                allow_redirects=False,
            )
            try:
                if response.status in _AILING and "Retry-After" not in response.headers:
                    turn.failed(Failure.AILING, call)
                watch.content = response.content
                told = response_headers(response.raw_headers, address, call)
                await _pass_on(response.status, told, response.content, answer, watch)
                turn.succeeded()
                return None
            finally:
                if response.content.at_eof():
                    response.release()
                else:
                    response.close()
        except (aiohttp.ClientError, TimeoutError) as error:
            if sending.failure is not None:
                raise sending.failure from None
            failure = failure_of(error)
            turn.failed(failure, call)
            again = None
            if failure.nothing_sent and not sending.begun:
                again = await self._again(call, choice, tried, failure, watch)
            if again is None:
                raise explained(call, failure, error) from None
            return again
        except asyncio.CancelledError:
            if isinstance(watch.verdict, TimeoutError):
                turn.failed(Failure.SILENT, call)
            raise
        finally:
            turn.of_no_account()


def _own_time_s(call: Call, service: Service) -> float:
    """Of its operation, by its name or by `METHOD /path`; else of the service."""
    times_s = service.timeouts_s
    own_s = times_s.get(call.operation or "") or times_s.get(call.alias or "")
    return own_s or service.timeout_s


def _now_s() -> float:
    return time.perf_counter_ns() / 1e9


def _is_repeatable(call: Call) -> bool:
    return call.method in IDEMPOTENT or bool(call.headers.get(b"idempotency-key"))


def _forgiven(call: Call, choice: Choice, tried: tuple[Endpoint, ...], failure: Failure) -> bool:
    """Most connections that break off at once were kept ones, which the partner had given up: where
    it is the only one, it is asked once more before that is held against it.
    """
    alone = len(tried) == len(choice.all) == 1
    return alone and failure is Failure.BROKE_OFF and _is_repeatable(call)


def _first(call: Call, choice: Choice, now_ns: int) -> Endpoint:
    endpoint = choice.take(now_ns / 1e9, repeatable=_is_repeatable(call))
    if endpoint is not None:
        return endpoint
    assert call.service is not None
    provider = call.service.provider
    if not choice.all:
        raise ProviderUnreachable(
            f"{call.service_name} of {provider} has no address that the hub may call",
            rule=f"ask {provider}",
        )
    raise ProviderResting(
        f"{call.service_name} of {provider} failed again and again, and is let alone for a while",
        retry_after_s=max(1, math.ceil(choice.rest_s(now_ns / 1e9))),
    )


async def _another_connection(
    connections: Connections, endpoint: Endpoint, useless: aiohttp.connector.Connection
) -> aiohttp.connector.Connection:
    """What a partner says before it is asked answers no call: such a connection is of no use."""
    for _ in range(MOST_USELESS):
        useless.close()
        another = await connections.connector.connect(
            endpoint.address.place, [], connections.timeout
        )
        if another.protocol is not None and not another.protocol.should_close:
            return another
        useless = another
    useless.close()
    raise aiohttp.ServerDisconnectedError


async def _sent(
    connection: aiohttp.connector.Connection, asked: bytes, *, head_only: bool
) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
    """Write the request; the answer's head, and its body as it comes."""
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(
        skip_payload=head_only, read_until_eof=True, auto_decompress=False, read_timeout=None
    )
    transport.write(asked)
    for _ in range(MOST_NEWS):
        message, content = await protocol.read()
        if message.code >= 200:
            return message, content
        if message.code == 101:
            raise aiohttp.ClientPayloadError("switches protocols, unasked")
    raise aiohttp.ClientPayloadError("news without end")


async def _pass_on(
    status: int,
    headers: list[tuple[bytes, bytes]],
    content: aiohttp.StreamReader,
    answer: Answer,
    watch: Watch,
) -> None:
    """The answer piece by piece. While the caller takes one, the partner is not held late."""
    await answer.start(status, headers)
    while piece := await content.readany():
        watch.passing_on = True
        await answer.write(piece, more=True)
        watch.passing_on = False
        watch.passed += 1
    await answer.write(b"", more=False)


def _length(message: RawResponseMessage) -> int | None:
    length = message.headers.get("Content-Length")
    return None if length is None else int(length)


class _Sending:
    """A body on its way to the partner; remembers what was wrong with it.

    aiohttp tells only that sending failed, and the caller should hear why.
    """

    __slots__ = ("_body", "begun", "failure")

    def __init__(self, body: Body) -> None:
        self._body = body
        self.begun = False
        self.failure: BodyTooLarge | CallerGone | None = None

    async def pieces(self) -> AsyncIterator[bytes]:
        self.begun = True
        try:
            while piece := await self._body.read():
                yield piece
        except (BodyTooLarge, CallerGone) as failure:
            self.failure = failure
            raise


def _verdict(call: Call, verdict: CallerGone | TimeoutError) -> ForwardFailed:
    """What a call that its watch has cancelled comes to."""
    if isinstance(verdict, CallerGone):
        return verdict
    return explained(call, Failure.SILENT, verdict)
