"""What comes before a request's body, and after it, has a bound: a stranger who sends headers
without end would have them all kept in memory, before anybody could ask who that is. And it has its
time: one who sends nothing, or a byte a minute, would keep a connection for ever.

The parser under uvicorn keeps whatever belongs to a line that has not ended, and uvicorn's own
bound is for another parser. A body is not kept: whoever reads it minds its length.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kit.encoding import encode_json
from kit.problem import MEDIA_TYPE, body_of

# What one reading of the socket brings comes on top of it.
MOST_BYTES = 64 * 1024
# From the connection, or the first byte of a further head, until the head has come whole. A body
# has the patience of whoever reads it.
HEAD_S = 30.0

_NO = encode_json(
    body_of(
        431,
        "HeadersTooLarge",
        "the head of the request does not end",
        field="headers",
        rule=f"at most {MOST_BYTES} bytes",
    )
)
_REFUSED = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: %b\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%b"
) % (MEDIA_TYPE.encode(), len(_NO), _NO)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's connection, which ends where a head, or what follows a body, does not."""

    _of: Any = None
    _without_end = 0
    _body_came = False
    _head_began_s: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_began_s = self.loop.time()

    def end_if_late(self, now_s: float, after_s: float) -> None:
        """Close where a head has been awaited for so long."""
        began_s = self._head_began_s
        if began_s is not None and now_s - began_s >= after_s and not self.transport.is_closing():
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        scope: Any = self.scope
        if scope is None:
            return
        if "method" in scope:
            self._head_began_s = None
        elif self._head_began_s is None:
            self._head_began_s = self.loop.time()
        # A head that has ended has its method; a call that came in one piece is left at once.
        if "method" in scope and (self.cycle is None or not self.cycle.more_body):
            return
        if self._of is not scope or self._body_came:
            self._of, self._body_came, self._without_end = scope, False, 0
            return
        self._without_end += len(data)
        if self._without_end > MOST_BYTES and not self.transport.is_closing():
            # A call under way has its own answer, or none any more.
            if "method" not in scope:
                self.transport.write(_REFUSED)
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        self._body_came = True
        super().on_body(body)


async def watch(connections: Collection[object], *, after_s: float = HEAD_S) -> None:
    """End connections whose head is late, for as long as this runs. One look for all of them."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(after_s / 6)
        now_s = loop.time()
        for one in list(connections):
            if isinstance(one, BoundedProtocol):
                one.end_if_late(now_s, after_s)
