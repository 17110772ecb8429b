"""Load over kept HTTP/1.1 connections, from another process and as cheap as Python makes it.

Not `ab`: it asks in HTTP/1.0, which uvicorn answers with `connection: close` (ab then counts no
kept connection at all), and every call would pay for a connection of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


class _Caller(asyncio.Protocol):
    """One connection: a request, its answer, the next request, until the work is done."""

    def __init__(self, request: bytes, work: _Work) -> None:
        self._request = request
        self._work = work
        self._waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are transports by what they do, not by class.
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def _next(self) -> None:
        if self._work.left == 0:
            self._transport.close()
            return
        self._work.left -= 1
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        head_ends = self._waiting.find(b"\r\n\r\n")
        if head_ends < 0:
            return
        head = self._waiting[:head_ends]
        length = _LENGTH.search(head)
        if length is not None:
            if len(self._waiting) < head_ends + 4 + int(length[1]):
                return
        elif _CHUNKED.search(head) and not self._waiting.endswith(b"\r\n0\r\n\r\n"):
            return
        self._waiting = b""
        self._work.answered(head[9:12])
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._work.lost()


class _Work:
    def __init__(self, requests: int, callers: int) -> None:
        self.left = requests
        self.callers = callers
        self.good = 0
        self.done = asyncio.Event()

    def answered(self, status: bytes) -> None:
        self.good += status[:1] == b"2"

    def lost(self) -> None:
        self.callers -= 1
        if self.callers == 0:
            self.done.set()


async def load(
    url: str, requests: int, at_once: int, headers: list[str], body: bytes
) -> tuple[float, int]:
    """Seconds taken, and how many were answered by a 2xx. Those with a body are POSTs."""
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    if body:
        headers = [*headers, f"Content-Length: {len(body)}"]
    method = "POST" if body else "GET"
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", "Accept: */*"]
    request = "\r\n".join([*lines, *headers, "", ""]).encode() + body
    work = _Work(requests, at_once)
    loop = asyncio.get_running_loop()
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    began = time.perf_counter()
    for _ in range(at_once):
        await loop.create_connection(lambda: _Caller(request, work), host, port)
    await work.done.wait()
    return time.perf_counter() - began, work.good


if __name__ == "__main__":
    url, requests, at_once, *headers = sys.argv[1:]
    body = sys.stdin.buffer.read()
    took, good = uvloop.run(load(url, int(requests), int(at_once), headers, body))
    print(json.dumps({"seconds": took, "good": good}))
