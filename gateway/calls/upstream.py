"""The way to a partner's service: HTTP over connections that are kept and used again.

What the partner gets is an allow-list: no credentials, no cookies, nothing that belongs to one hop.
What comes back is another. The address is the catalogue's; nothing of the caller's can change it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from gateway.calls.model import (
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
# A caller's going away is looked for only in calls that last: watching costs as much as a check.
WATCH_AFTER_S = 0.25


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
        self._session: aiohttp.ClientSession | None = None
        self._watches = _Watches()
        self.under_way = 0

    async def close(self) -> None:
        self._watches.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    limit_per_host=self._connections_each,
                    keepalive_timeout=self._idle_connection_s,
                    ttl_dns_cache=60,
                    resolver=OutsideResolver(allow_loopback=self._allow_loopback),
                ),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                request_class=_Request,
            )
        return self._session

    async def carry(self, call: Call, body: Body, answer: Answer) -> None:
        """Raises ProviderUnreachable, ProviderBroken, ProviderSilent, CallerGone, BodyTooLarge."""
        service = call.service
        assert service is not None
        assert service.endpoint is not None
        session = self._session or self._open()
        sending = _Sending(body)
        data: bytes | AsyncIterator[bytes] | None = None
        if not body.empty:
            data = await body.small(WHOLE_BYTES)
            if data is None:
                data = sending.pieces()
        # A body that still comes is watched by reading it.
        watch = self._watches.begin(body) if data is None or isinstance(data, bytes) else None
        self.under_way += 1
        try:
            endpoint = Endpoint.of(service.endpoint)
            if endpoint.inside and not (self._allow_loopback and endpoint.loopback):
                raise _unreachable(call)
            await self._exchange(session, call, endpoint, data, answer)
        except aiohttp.ClientError as error:
            raise sending.failure or _failure(call, error) from None
        except TimeoutError as error:
            raise sending.failure or _failure(call, error) from None
        except asyncio.CancelledError:
            if watch is None or not watch.gone:
                raise
            watch.task.uncancel()
            raise CallerGone("the caller closed the connection") from None
        finally:
            self.under_way -= 1
            if watch is not None:
                self._watches.end(watch)

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        call: Call,
        endpoint: Endpoint,
        data: bytes | AsyncIterator[bytes] | None,
        answer: Answer,
    ) -> None:
        response = await session.request(
            call.method,
            URL(endpoint.address(call.rest, call.query), encoded=True),
            headers=request_headers(call),
            data=data,
            allow_redirects=False,
        )
        try:
            headers = response_headers(response.raw_headers, endpoint, call.root)
            length = response.content_length
            if length is not None and length <= WHOLE_BYTES:
                whole = await response.read()
                await answer.start(response.status, headers)
                await answer.write(whole, more=False)
                return
            await answer.start(response.status, headers)
            async for piece in response.content.iter_any():
                await answer.write(piece, more=True)
            await answer.write(b"", more=False)
        finally:
            # Where the answer was not read to its end the connection is of no more use.
            if response.content.at_eof():
                response.release()
            else:
                response.close()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A partner's address from the catalogue, taken apart once."""

    base: str
    query: str
    beginning: re.Pattern[bytes]
    inside: bool
    loopback: bool

    @staticmethod
    @lru_cache(maxsize=4096)
    def of(url: str) -> Endpoint:
        base, _, query = url.partition("?")
        base = base.rstrip("/")
        parsed = URL(base, encoded=True)
        host, path = parsed.raw_host or "", parsed.raw_path.rstrip("/")
        return Endpoint(
            base=base,
            query=query,
            # What an address below the endpoint begins with, absolute or from the root.
            beginning=re.compile(
                f"(?:{re.escape(base.removesuffix(path))})?{re.escape(path)}(?=/)".encode()
            ),
            inside=is_inside(host),
            loopback=is_loopback(host),
        )

    def address(self, rest: str, query: str) -> str:
        """Where a call goes. `rest` begins with a slash, so it cannot change the host."""
        both = f"{self.query}&{query}" if self.query and query else self.query or query
        return f"{self.base}{rest}?{both}" if both else self.base + rest


class _Request(aiohttp.ClientRequest):
    """Sends the headers that it is given and makes up none of its own.

    aiohttp can be told to skip its own, and then copies and sorts all of them for every call.
    """

    _NONE_OF_ITS_OWN: CIMultiDict[None] = CIMultiDict([("Content-Type", None)])

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        self._skip_auto_headers = self._NONE_OF_ITS_OWN


class _Watches:
    """Looks after calls that last, and cancels those whose caller has gone away.

    One timer for all: most calls are over long before it rings, and then cost a set operation.
    """

    def __init__(self) -> None:
        self._young: set[_Watch] = set()
        self._older: set[_Watch] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, body: Body) -> _Watch:
        watch = _Watch(body)
        self._young.add(watch)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._ring)
        return watch

    def end(self, watch: _Watch) -> None:
        self._young.discard(watch)
        self._older.discard(watch)
        watch.end()

    def _ring(self) -> None:
        for watch in self._older:
            watch.look()
        self._older, self._young = self._young, set()
        self._timer = None
        if self._older:
            self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._ring)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Watch:
    """One call that is cancelled when its caller goes away."""

    __slots__ = ("_body", "_waiting", "gone", "task")

    def __init__(self, body: Body) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task: asyncio.Task[Any] = task
        self.gone = False
        self._body = body
        self._waiting: asyncio.Task[None] | None = None

    def look(self) -> None:
        self._waiting = asyncio.create_task(self._until_gone())

    async def _until_gone(self) -> None:
        await self._body.gone()
        self.gone = True
        self.task.cancel()

    def end(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()


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


def request_headers(call: Call) -> CIMultiDict[str]:
    """What the partner is told: the allow-list, who calls, under which contract, which trace."""
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in call.headers.items():
        known = REQUEST_HEADERS.get(name)
        if known is not None:
            headers[known] = value.decode("latin-1")
    headers["X-Request-Id"] = call.request_id
    headers["traceparent"] = call.traceparent
    headers["X-Caller-Party"] = str(call.party)
    if call.grant is not None:
        headers["X-Contract-Id"] = call.grant.contract_id
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
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.InvalidURL)):
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
