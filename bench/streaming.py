"""One long POST from a process of its own: a file, sent as fast as the server takes it."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from bench.processes import PeerMissing

_PART_BYTES = 64 * 1024


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    port: int
    path: str
    file: str
    token: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from the first byte sent to the whole answer, and the answer."""

    seconds: float
    status: int
    body: msgspec.Raw


async def stream(plan: Plan) -> Told:
    """Run a plan in another process. PeerMissing when the answer was no 200."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.streaming"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await process.communicate(msgspec.json.encode(plan))
    if process.returncode != 0:
        raise PeerMissing(f"nothing could be sent: {said.decode(errors='replace')[-500:]}")
    told = msgspec.json.decode(out, type=Told)
    if told.status != 200:
        raise PeerMissing(f"{plan.path} answered {told.status}: {bytes(told.body)[:300]!r}")
    return told


def _send(plan: Plan) -> Told:
    file = Path(plan.file)
    head = (
        f"POST {plan.path} HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\nConnection: close\r\n"
        f"Authorization: Bearer {plan.token}\r\nContent-Type: application/x-ndjson\r\n"
        f"Content-Length: {file.stat().st_size}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", plan.port)) as connection, file.open("rb") as lines:
        began = time.perf_counter()
        connection.sendall(head.encode())
        # A server that says no does not wait for all of it.
        with suppress(ConnectionError):
            while part := lines.read(_PART_BYTES):
                connection.sendall(part)
        answer = b""
        while part := connection.recv(_PART_BYTES):
            answer += part
        seconds = time.perf_counter() - began
    said, _, body = answer.partition(b"\r\n\r\n")
    return Told(seconds=seconds, status=int(said.split()[1]), body=msgspec.Raw(body))


if __name__ == "__main__":
    sys.stdout.buffer.write(
        msgspec.json.encode(_send(msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)))
    )
