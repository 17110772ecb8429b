"""The way to a partner's service: HTTP over connections that are kept and used again.

What the partner gets is an allow-list: no credentials, no cookies, nothing that belongs to one hop.
What comes back is another. The address is the catalogue's; nothing of the caller's can change it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
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

    `total_s` bounds a call, `idle_s` each wait for the next piece of an answer.
    """

    def __init__(
        self,
        *,
        connect_s: float = 2.0,
        total_s: float = 30.0,
        idle_s: float = 15.0,
        connections_each: int = 256,
        idle_connection_s: float = 30.0,
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(
            total=total_s, connect=connect_s, sock_connect=connect_s, sock_read=idle_s
        )
        self._connections_each = connections_each
        self._idle_connection_s = idle_connection_s
        self._session: aiohttp.ClientSession | None = None
        self.under_way = 0

    async def close(self) -> None:
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
                ),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
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
        watch = _Watch(body) if data is None or isinstance(data, bytes) else None
        self.under_way += 1
        try:
            await self._exchange(session, call, service.endpoint, data, answer)
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
                watch.end()

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        call: Call,
        endpoint: str,
        data: bytes | AsyncIterator[bytes] | None,
        answer: Answer,
    ) -> None:
        base = endpoint.rstrip("/")
        address = f"{base}{call.rest}?{call.query}" if call.query else base + call.rest
        response = await session.request(
            call.method,
            URL(address, encoded=True),
            headers=request_headers(call),
            data=data,
            allow_redirects=False,
        )
        try:
            headers = response_headers(response.raw_headers, base, call.root)
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


class _Watch:
    """Cancels a call that lasts when its caller goes away."""

    __slots__ = ("_body", "_timer", "_waiting", "gone", "task")

    def __init__(self, body: Body) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task: asyncio.Task[Any] = task
        self.gone = False
        self._body = body
        self._waiting: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._begin)

    def _begin(self) -> None:
        self._waiting = asyncio.create_task(self._until_gone())

    async def _until_gone(self) -> None:
        await self._body.gone()
        self.gone = True
        self.task.cancel()

    def end(self) -> None:
        self._timer.cancel()
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
    raw: Iterable[tuple[bytes, bytes]], base: str, root: str
) -> list[tuple[bytes, bytes]]:
    """What of a partner's headers the caller is told."""
    kept = [_NOSNIFF]
    for given, value in raw:
        name = given.lower()
        if name in RESPONSE_HEADERS:
            if name in _POINTING:
                ours = _in_our_house(name, value, base, root)
                if ours is None:
                    continue
                value = ours
            kept.append((name, value))
    return kept


def _in_our_house(name: bytes, value: bytes, base: str, root: str) -> bytes | None:
    """An address below the endpoint becomes one below the service; any other stays untold.

    A redirect elsewhere would carry the caller, and its access token, past the door.
    """
    begins = _beginning(base)
    if name == b"location":
        found = begins.match(value)
        return None if found is None else root.encode() + value[found.end() :]
    told = _sub_links(begins, value, root.encode())
    return None if b"://" in told or b"<//" in told else told


@lru_cache(maxsize=1024)
def _beginning(base: str) -> re.Pattern[bytes]:
    """Matches what an address below `base` begins with, absolute or from the root."""
    path = URL(base, encoded=True).raw_path.rstrip("/")
    origin = base.removesuffix(path)
    return re.compile(f"(?:{re.escape(origin)})?{re.escape(path)}(?=/)".encode())


def _sub_links(begins: re.Pattern[bytes], value: bytes, root: bytes) -> bytes:
    return re.sub(b"<" + begins.pattern, lambda _: b"<" + root, value)


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
        return ProviderUnreachable(
            f"{whose} cannot be reached", rule=f"try again later, or ask {provider}"
        )
    return ProviderBroken(
        f"{whose} broke off, or answered in no HTTP",
        rule="try again with the same Idempotency-Key: it may have done the work",
    )
