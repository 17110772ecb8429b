"""A PostgreSQL that says that it ends, and is slow to hang up, as a busy machine's is.

What lies between the two is a moment of its own to a client: its connection is open, and good for
nothing.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

SOCKET = ".s.PGSQL.5432"
# PostgreSQL, Frontend/Backend Protocol, ErrorResponse: what each backend says when the server dies.
_FIELDS = b"SFATAL\0VFATAL\0C57P02\0Mterminating connection due to unexpected postmaster exit\0\0"
GOODBYE = b"E" + (len(_FIELDS) + 4).to_bytes(4) + _FIELDS


@asynccontextmanager
async def dying(url: str) -> AsyncIterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """The address of one that passes everything on to `url`, and how to have it say goodbye."""
    behind = Path(parse_qs(urlsplit(url).query)["host"][0]) / SOCKET
    # A socket's path may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="dying-"))
    clients: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.append(writer)
        theirs, ours = await asyncio.open_unix_connection(behind)
        try:
            await asyncio.gather(_pass_on(reader, ours), _pass_on(theirs, writer))
        finally:
            ours.close()
            writer.close()

    async def goodbye() -> None:
        for writer in clients:
            writer.write(GOODBYE)
            await writer.drain()
        # The client reads in the next turns of the same loop.
        for _ in range(5):
            await asyncio.sleep(0)

    server = await asyncio.start_unix_server(serve, folder / SOCKET)
    try:
        yield f"{url.partition('?')[0]}?host={quote(str(folder), safe='')}", goodbye
    finally:
        server.close()
        for writer in clients:
            writer.close()
        await server.wait_closed()
        shutil.rmtree(folder)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while said := await reader.read(1 << 16):
        writer.write(said)
        await writer.drain()
    writer.close()
