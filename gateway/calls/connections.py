"""Connections to partners that are kept and used again, and their addresses taken apart once.

A partner's connections are a pool of their own, so none waits for another.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict
from yarl import URL

from gateway.calls.model import Call
from kit.outside_resolver import OutsideResolver
from kit.outside_url import is_inside, is_loopback


@dataclass(frozen=True, slots=True)
class Connections:
    """What belongs to one event loop.

    Of the time that a call may take, only the connecting is aiohttp's affair: all else is watched.
    """

    loop: asyncio.AbstractEventLoop
    connector: aiohttp.TCPConnector
    session: aiohttp.ClientSession
    timeout: aiohttp.ClientTimeout

    @classmethod
    def open(
        cls, *, connect_s: float, each: int, kept_s: float, allow_loopback: bool
    ) -> Connections:
        """`each` is the most that one partner has; `kept_s`, how long one is kept unused."""
        timeout = aiohttp.ClientTimeout(total=None, connect=connect_s, sock_connect=connect_s)
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=each,
            keepalive_timeout=kept_s,
            ttl_dns_cache=60,
            resolver=OutsideResolver(allow_loopback=allow_loopback),
        )
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            request_class=_Request,
        )
        return cls(asyncio.get_running_loop(), connector, session, timeout)


@dataclass(frozen=True, slots=True)
class Address:
    """A partner's address from the catalogue, taken apart once.

    `inside`: it leads into the hub's own network. `beginning`: what an address below it begins
    with, absolute or from the root.
    """

    place: Place
    origin: str
    host: str
    path: str
    query: str
    beginning: re.Pattern[bytes]
    inside: bool

    @staticmethod
    def of(url: str, opened: Connections, *, allow_loopback: bool) -> Address:
        base, _, query = url.partition("?")
        base = base.rstrip("/")
        parsed = URL(base, encoded=True)
        host, path = parsed.raw_host or "", parsed.raw_path.rstrip("/")
        origin = base.removesuffix(path)
        place = Place("GET", parsed, loop=opened.loop, session=opened.session)
        return Address(
            place=place,
            origin=origin,
            host=place.headers["Host"],
            path=path,
            query=query,
            beginning=re.compile(f"(?:{re.escape(origin)})?{re.escape(path)}(?=/)".encode()),
            inside=is_inside(host) and not (allow_loopback and is_loopback(host)),
        )

    def target(self, call: Call) -> str:
        """Where a call goes. Its `rest` begins with a slash, so it cannot change the host; where it
        is empty, the call goes to the address itself.
        """
        query, more = self.query, call.query
        path = self.path + call.rest or "/"
        both = f"{query}&{more}" if query and more else query or more
        return f"{path}?{both}" if both else path


class _Request(aiohttp.ClientRequest):
    """Sends the headers that it is given and makes up none of its own.

    aiohttp can be told to skip its own, and then copies and sorts all of them for every call.
    """

    _NONE_OF_ITS_OWN: CIMultiDict[None] = CIMultiDict([("Content-Type", None)])

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        self._skip_auto_headers = self._NONE_OF_ITS_OWN


class Place(_Request):
    """An address, as aiohttp's pool asks where to connect to. It is never sent."""

    _key: ConnectionKey | None = None

    @property
    def connection_key(self) -> ConnectionKey:
        # aiohttp puts it together anew each time; it does not change.
        if self._key is None:
            self._key = super().connection_key
        return self._key
