"""An EVSP that says yes after a while, and does nothing else: as little of its own as can be.

`python -m bench.slow_evsp PORT MILLISECONDS`
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import cast

import uvloop

_BODY = b'{"decision":"accepted"}'
_YES = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)


def command(port: int, milliseconds: int) -> list[str]:
    return [sys.executable, "-m", "bench.slow_evsp", str(port), str(milliseconds)]


class _Connection(asyncio.Protocol):
    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self._got = b""
            asyncio.get_running_loop().call_later(self._after_s, self._transport.write, _YES)


async def _serve(port: int, milliseconds: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(milliseconds / 1000), "127.0.0.1", port, backlog=2048
    )
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
