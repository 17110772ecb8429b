"""The way to a partner's service: HTTP over connections that are kept and used again.

What the partner gets is an allow-list: no cookies, nothing that belongs to one hop, and none of the
caller's credentials but an assertion of the hub's in their place.
What comes back is another. The address is the catalogue's; nothing of the caller's can change it.

Two ways lead there. A call whose body is small, or that has none, is written in one piece to a
connection of aiohttp's pool, and one timer looks after all such calls: of what aiohttp's session
does for a request (redirects, cookies, sign-on, timers of its own) the door needs nothing, and it
costs more than all of the door's own checks. A body that streams goes through the session.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http import HttpProcessingError, RawResponseMessage
from multidict import CIMultiDict
from yarl import URL

from gateway.calls.model import (
    BadHeader,
    BodyTooLarge,
    Call,
    CallerGone,
    ProviderBroken,
    ProviderSilent,
    ProviderUnreachable,
)
from gateway.calls.ports import Answer, Body
from kit.outside_resolver import OutsideResolver
from kit.outside_url import is_inside, is_loopback

REQUEST_HEADERS = {
    name.lower().encode(): name
    for name in (
        "Accept",
        "Accept-Encoding",
        "Accept-Language",
        "Content-Encoding",
        "Content-Language",
        "Content-Type",
        "Idempotency-Key",
        "If-Match",
        "If-Modified-Since",
        "If-None-Match",
        "If-Unmodified-Since",
        "Prefer",
        "Range",
        "SOAPAction",
        "Tracestate",
    )
}
RESPONSE_HEADERS = frozenset(
    name.encode()
    for name in (
        "accept-ranges",
        "age",
        "allow",
        "cache-control",
        "content-encoding",
        "content-language",
        "content-length",
        "content-range",
        "content-type",
        "etag",
        "expires",
        "last-modified",
        "link",
        "location",
        "preference-applied",
        "retry-after",
        "vary",
    )
)
# Addresses in answers that point into the partner's own house are told in ours.
_POINTING = frozenset((b"location", b"link", b"content-location"))
# The caller's browser must not guess that a partner's answer is a page of the hub.
_NOSNIFF = (b"x-content-type-options", b"nosniff")

# Answers up to this size are read whole before a byte is passed on: one that breaks off can then
# still become an honest 502.
WHOLE_BYTES = 64 * 1024
# Calls are looked after only once they last: most are over sooner, and watching costs as much as a
# check does.
WATCH_EVERY_S = 0.25
# What a kept connection broke off without a word may be asked once more (RFC 9110, section 9.2.2).
_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
# What these mean lies in the body, so where there is none its length is told as 0 (RFC 9110, 8.6).
_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
# What a header's value may not hold (RFC 9110, section 5.5): it could end the line.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MOST_ENDPOINTS = 4096


class Upstream:
    """Connections to all partners. Each partner has a pool of its own, so none waits for another.

    `total_s` bounds a call, `idle_s` each wait for the next piece of an answer. Addresses inside
    the hub's own network are not called; `allow_loopback` is for partners on the same machine.
    """

    def __init__(
        self,
        *,
        connect_s: float = 2.0,
        total_s: float = 30.0,
        idle_s: float = 15.0,
        connections_each: int = 256,
        idle_connection_s: float = 30.0,
        allow_loopback: bool = False,
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(
            total=total_s, connect=connect_s, sock_connect=connect_s, sock_read=idle_s
        )
        self._connections_each = connections_each
        self._idle_connection_s = idle_connection_s
        self._allow_loopback = allow_loopback
        self._opened: _Opened | None = None
        self._endpoints: dict[str, Endpoint] = {}
        self._watches = _Watches(total_s, idle_s)
        self.under_way = 0

    async def close(self) -> None:
        self._watches.close()
        self._endpoints.clear()
        if self._opened is not None:
            await self._opened.session.close()
            self._opened = None

    def _open(self) -> _Opened:
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=self._connections_each,
            keepalive_timeout=self._idle_connection_s,
            ttl_dns_cache=60,
            resolver=OutsideResolver(allow_loopback=self._allow_loopback),
        )
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            request_class=_Request,
        )
        self._opened = _Opened(asyncio.get_running_loop(), connector, session)
        return self._opened

    def _endpoint(self, opened: _Opened, url: str) -> Endpoint:
        """A partner's address from the catalogue, taken apart once. ValueError: it is none."""
        if len(self._endpoints) >= _MOST_ENDPOINTS:
            self._endpoints.clear()
        endpoint = Endpoint.of(url, opened, allow_loopback=self._allow_loopback)
        self._endpoints[url] = endpoint
        return endpoint

    async def carry(self, call: Call, body: Body, answer: Answer) -> None:
        """Raises ProviderUnreachable, ProviderBroken, ProviderSilent, CallerGone, BodyTooLarge."""
        service = call.service
        assert service is not None
        url = service.sandbox_endpoints[0] if call.sandbox else service.endpoint
        assert url is not None
        opened = self._opened or self._open()
        endpoint = self._endpoints.get(url)
        if endpoint is None:
            try:
                endpoint = self._endpoint(opened, url)
            except ValueError:
                raise _unreachable(call) from None
        if endpoint.inside:
            raise _unreachable(call)
        self.under_way += 1
        try:
            data = b"" if body.empty else await body.small(WHOLE_BYTES)
            if data is None:
                await self._stream(opened, call, endpoint, body, answer)
            else:
                await self._ask(opened, call, endpoint, data, body, answer)
        finally:
            self.under_way -= 1

    async def _ask(
        self,
        opened: _Opened,
        call: Call,
        endpoint: Endpoint,
        data: bytes,
        body: Body,
        answer: Answer,
    ) -> None:
        """A request in one piece. Its caller's going away, and its time, are watched."""
        asked = request_head(call, endpoint, len(data)) + data
        watch = self._watches.begin(opened.loop, body)
        connection: aiohttp.connector.Connection | None = None
        try:
            connection, message, content = await self._answered(opened, call, endpoint, asked)
            watch.content = content
            # The connection is free for the next call as soon as the answer has come.
            content.on_eof(connection.release)
            headers = response_headers(message.raw_headers, endpoint, call.root)
            length = _length(message)
            if length is None or length > WHOLE_BYTES:
                await _pass_on(message.code, headers, content, answer, watch)
                return
            # Most answers have come whole by now, and nothing is waited for.
            whole = content.read_nowait() if content.is_eof() else await content.read()
            watch.passing_on = True
            await answer.start(message.code, headers)
            await answer.write(whole, more=False)
        except (aiohttp.ClientError, HttpProcessingError, TimeoutError) as error:
            raise _failure(call, error) from None
        except asyncio.CancelledError:
            if watch.verdict is None:
                raise
            watch.task.uncancel()
            if isinstance(watch.verdict, CallerGone):
                raise watch.verdict from None
            raise _failure(call, watch.verdict) from None
        finally:
            self._watches.end(watch)
            if connection is not None:
                # Where the answer was not read to its end the connection is of no more use.
                connection.close()

    async def _answered(
        self, opened: _Opened, call: Call, endpoint: Endpoint, asked: bytes
    ) -> tuple[aiohttp.connector.Connection, RawResponseMessage, aiohttp.StreamReader]:
        """Once more where a kept connection had been closed by the partner meanwhile."""
        once_more = call.method in _IDEMPOTENT
        while True:
            try:
                connection = await opened.connector.connect(endpoint.place, [], self._timeout)
            except TimeoutError:
                raise aiohttp.ConnectionTimeoutError from None
            try:
                message, content = await _sent(connection, asked, head_only=call.method == "HEAD")
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                connection.close()
                if not once_more:
                    raise
                once_more = False
            except BaseException:
                connection.close()
                raise
            else:
                return connection, message, content

    async def _stream(
        self, opened: _Opened, call: Call, endpoint: Endpoint, body: Body, answer: Answer
    ) -> None:
        """A request whose body is passed on as it comes; reading it, we hear if the caller goes."""
        sending = _Sending(body)
        try:
            response = await opened.session.request(
                call.method,
                URL(endpoint.origin + endpoint.target(call), encoded=True),
                headers=CIMultiDict(request_headers(call)),
                data=sending.pieces(),
                allow_redirects=False,
            )
            try:
                headers = response_headers(response.raw_headers, endpoint, call.root)
                await _pass_on(response.status, headers, response.content, answer)
            finally:
                if response.content.at_eof():
                    response.release()
                else:
                    response.close()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise sending.failure or _failure(call, error) from None


async def _sent(
    connection: aiohttp.connector.Connection, asked: bytes, *, head_only: bool
) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
    """Write the request; the answer's head, and its body as it comes."""
    protocol, transport = connection.protocol, connection.transport
    # What a partner has said before it was asked is no answer to this call.
    if protocol is None or transport is None or protocol.should_close:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(
        skip_payload=head_only, read_until_eof=True, auto_decompress=False, read_timeout=None
    )
    transport.write(asked)
    while True:
        message, content = await protocol.read()
        if message.code >= 200:
            return message, content
        if message.code == 101:
            raise aiohttp.ClientPayloadError("switches protocols, unasked")


async def _pass_on(
    status: int,
    headers: list[tuple[bytes, bytes]],
    content: aiohttp.StreamReader,
    answer: Answer,
    watch: _Watch | None = None,
) -> None:
    """The answer piece by piece. While the caller takes one, the partner is not held late."""
    await answer.start(status, headers)
    while piece := await content.readany():
        if watch is not None:
            watch.passing_on = True
        await answer.write(piece, more=True)
        if watch is not None:
            watch.passing_on = False
    await answer.write(b"", more=False)


def _length(message: RawResponseMessage) -> int | None:
    length = message.headers.get("Content-Length")
    return None if length is None else int(length)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What belongs to one event loop."""

    loop: asyncio.AbstractEventLoop
    connector: aiohttp.TCPConnector
    session: aiohttp.ClientSession


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A partner's address from the catalogue, taken apart once.

    `inside`: it leads into the hub's own network. `beginning`: what an address below it begins
    with, absolute or from the root.
    """

    place: _Place
    origin: str
    host: str
    path: str
    query: str
    beginning: re.Pattern[bytes]
    inside: bool

    @staticmethod
    def of(url: str, opened: _Opened, *, allow_loopback: bool) -> Endpoint:
        base, _, query = url.partition("?")
        base = base.rstrip("/")
        parsed = URL(base, encoded=True)
        host, path = parsed.raw_host or "", parsed.raw_path.rstrip("/")
        origin = base.removesuffix(path)
        place = _Place("GET", parsed, loop=opened.loop, session=opened.session)
        return Endpoint(
            place=place,
            origin=origin,
            host=place.headers["Host"],
            path=path,
            query=query,
            beginning=re.compile(f"(?:{re.escape(origin)})?{re.escape(path)}(?=/)".encode()),
            inside=is_inside(host) and not (allow_loopback and is_loopback(host)),
        )

    def target(self, call: Call) -> str:
        """Where a call goes. Its `rest` begins with a slash, so it cannot change the host."""
        query, more = self.query, call.query
        both = f"{query}&{more}" if query and more else query or more
        return f"{self.path}{call.rest}?{both}" if both else self.path + call.rest


class _Request(aiohttp.ClientRequest):
    """Sends the headers that it is given and makes up none of its own.

    aiohttp can be told to skip its own, and then copies and sorts all of them for every call.
    """

    _NONE_OF_ITS_OWN: CIMultiDict[None] = CIMultiDict([("Content-Type", None)])

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        self._skip_auto_headers = self._NONE_OF_ITS_OWN


class _Place(_Request):
    """An endpoint, as aiohttp's pool asks where to connect to. It is never sent."""

    _key: ConnectionKey | None = None

    @property
    def connection_key(self) -> ConnectionKey:
        # aiohttp puts it together anew each time; it does not change.
        if self._key is None:
            self._key = super().connection_key
        return self._key


class _Watches:
    """Looks after calls that last: cancels those whose caller has gone away or whose time is up.

    One timer for all: most calls are over long before it rings, and then cost a set operation.
    """

    def __init__(self, total_s: float, idle_s: float) -> None:
        self._total_s = total_s
        self._idle_s = idle_s
        self._young: set[_Watch] = set()
        self._older: set[_Watch] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, body: Body) -> _Watch:
        # Told the loop, Python need not look for it, which in 3.11 asks the kernel who we are.
        task = asyncio.current_task(loop)
        assert task is not None
        watch = _Watch(task, body)
        self._young.add(watch)
        if self._timer is None:
            self._timer = loop.call_later(WATCH_EVERY_S, self._ring, loop)
        return watch

    def end(self, watch: _Watch) -> None:
        self._young.discard(watch)
        self._older.discard(watch)
        if watch.waiting is not None:
            watch.waiting.cancel()

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for watch in self._older:
            watch.look(now_s, self._total_s, self._idle_s)
        for watch in self._young:
            watch.began_s = watch.heard_s = now_s
        self._older |= self._young
        self._young.clear()
        self._timer = loop.call_later(WATCH_EVERY_S, self._ring, loop) if self._older else None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Watch:
    """One call that is cancelled when its caller goes away or its time is up; `verdict` says which.

    Its times begin when the timer first rings, so they are at most WATCH_EVERY_S too generous.
    """

    __slots__ = (
        "_body",
        "_bytes",
        "began_s",
        "content",
        "heard_s",
        "passing_on",
        "task",
        "verdict",
        "waiting",
    )

    began_s: float
    heard_s: float

    def __init__(self, task: asyncio.Task[Any], body: Body) -> None:
        self.task = task
        self._body = body
        self._bytes = 0
        self.content: aiohttp.StreamReader | None = None
        self.passing_on = False
        self.verdict: CallerGone | TimeoutError | None = None
        self.waiting: asyncio.Task[None] | None = None

    def look(self, now_s: float, total_s: float, idle_s: float) -> None:
        if self.waiting is None:
            self.waiting = asyncio.create_task(self._until_gone())
        come = 0 if self.content is None else self.content.total_bytes
        if come != self._bytes or self.passing_on:
            self._bytes, self.heard_s = come, now_s
        late = now_s - self.began_s >= total_s or now_s - self.heard_s >= idle_s
        if late and not self.passing_on:
            self._give_up(TimeoutError())

    async def _until_gone(self) -> None:
        await self._body.gone()
        self._give_up(CallerGone("the caller closed the connection"))

    def _give_up(self, verdict: CallerGone | TimeoutError) -> None:
        if self.verdict is None:
            self.verdict = verdict
            self.task.cancel()


class _Sending:
    """A body on its way to the partner; remembers what was wrong with it.

    aiohttp tells only that sending failed, and the caller should hear why.
    """

    __slots__ = ("_body", "failure")

    def __init__(self, body: Body) -> None:
        self._body = body
        self.failure: BodyTooLarge | CallerGone | None = None

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            while piece := await self._body.read():
                yield piece
        except (BodyTooLarge, CallerGone) as failure:
            self.failure = failure
            raise


def request_head(call: Call, endpoint: Endpoint, length: int) -> bytes:
    """A request up to where its body begins (RFC 9112, section 3)."""
    lines = [f"{call.method} {endpoint.target(call)} HTTP/1.1\r\nHost: {endpoint.host}"]
    lines += [f"{name}: {value}" for name, value in request_headers(call)]
    if length or call.method in _WITH_BODY:
        lines.append(f"Content-Length: {length}")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("latin-1")


def request_headers(call: Call) -> list[tuple[str, str]]:
    """What the partner is told: the allow-list, who calls, under which contract, which trace."""
    headers = [
        ("X-Request-Id", call.request_id),
        ("traceparent", call.traceparent),
        ("X-Caller-Party", str(call.party)),
    ]
    if call.credentials is not None:
        headers.append(("Authorization", call.credentials))
    if call.grant is not None:
        headers.append(("X-Contract-Id", call.grant.contract_id))
    for name, value in call.headers.items():
        known = REQUEST_HEADERS.get(name)
        if known is not None:
            text = value.decode("latin-1")
            if _CONTROL.search(text):
                raise BadHeader(
                    "a header's value holds a control character",
                    field=known,
                    rule="RFC 9110, section 5.5",
                )
            headers.append((known, text))
    return headers


def response_headers(
    raw: Iterable[tuple[bytes, bytes]], endpoint: Endpoint, root: str
) -> list[tuple[bytes, bytes]]:
    """What of a partner's headers the caller is told."""
    kept = [_NOSNIFF]
    for given, value in raw:
        name = given.lower()
        if name in RESPONSE_HEADERS:
            if name in _POINTING:
                ours = _in_our_house(name, value, endpoint.beginning, root.encode())
                if ours is None:
                    continue
                value = ours
            kept.append((name, value))
    return kept


def _in_our_house(
    name: bytes, value: bytes, beginning: re.Pattern[bytes], root: bytes
) -> bytes | None:
    """An address below the endpoint becomes one below the service; any other stays untold.

    A redirect elsewhere would carry the caller, and its access token, past the door.
    """
    if name == b"location":
        found = beginning.match(value)
        return None if found is None else root + value[found.end() :]
    told = re.sub(b"<" + beginning.pattern, lambda _: b"<" + root, value)
    return None if b"://" in told or b"<//" in told else told


def _failure(call: Call, error: Exception) -> ProviderUnreachable | ProviderBroken | ProviderSilent:
    assert call.service is not None
    provider = call.service.provider
    whose = f"{call.service_name} of {provider}"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ProviderSilent(
            f"{whose} took no connection in time", rule=f"try again later, or ask {provider}"
        )
    if isinstance(error, TimeoutError):
        return ProviderSilent(
            f"{whose} did not answer in time",
            rule="try again with the same Idempotency-Key: it may have done the work",
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        return _unreachable(call)
    return ProviderBroken(
        f"{whose} broke off, or answered in no HTTP",
        rule="try again with the same Idempotency-Key: it may have done the work",
    )


def _unreachable(call: Call) -> ProviderUnreachable:
    assert call.service is not None
    provider = call.service.provider
    return ProviderUnreachable(
        f"{call.service_name} of {provider} cannot be reached",
        rule=f"try again later, or ask {provider}",
    )
