"""Processes under load: starting them, loading them from another process, reading their CPU."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec


class PeerMissing(Exception):
    """A peer that is not installed or does not start; the row says so, and the bench goes on."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def cpu_s(pid: int) -> float:
    """User and system time of a process and its children, in seconds (proc(5))."""
    pids = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            pids += [int(child) for child in (task / "children").read_text().split()]
    spent = 0
    for one in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            spent += int(fields[11]) + int(fields[12])
    return spent / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def running(
    command: Sequence[str], port: int, *, environment: Mapping[str, str] | None = None
) -> AsyncIterator[int]:
    """A process that listens on `port`; its pid. PeerMissing holds what it said before it ended."""
    if shutil.which(command[0]) is None:
        raise PeerMissing(f"{command[0]} is not installed")
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    try:
        await _listening(process, port)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _listening(process: asyncio.subprocess.Process, port: int) -> None:
    deadline = asyncio.get_running_loop().time() + 60
    while asyncio.get_running_loop().time() < deadline:
        if process.returncode is not None:
            assert process.stderr is not None
            said = (await process.stderr.read()).decode(errors="replace")
            raise PeerMissing(f"ended with {process.returncode}: {said[-500:]}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise PeerMissing(f"did not listen on port {port} within a minute")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: a GET, or with a body a POST."""

    url: str
    headers: Mapping[str, str]
    body: bytes = b""


async def load(asked: Asked, *, requests: int, at_once: int = 16) -> tuple[float, int]:
    """Seconds for so many requests from another process, and how many got a 2xx."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.loader", asked.url, str(requests), str(at_once)),
        *(f"{name}: {value}" for name, value in asked.headers.items()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(asked.body), 300)
    told = msgspec.json.decode(out)
    return told["seconds"], told["good"]


async def cpu_us_a_call(
    servers: Mapping[str, tuple[int, Asked]], *, requests: int, rounds: int
) -> dict[str, list[float]]:
    """Microseconds of CPU that a call costs each server (name -> pid, call), round by round.

    Each round asks all of them, one after the other, and the next one in the opposite order. What
    else this machine does changes from second to second: figures of one round can be compared with
    each other, and those of two rounds cannot.
    """
    found: dict[str, list[float]] = {name: [] for name in servers}
    for turn in range(rounds):
        for name in list(servers)[:: -1 if turn % 2 else 1]:
            pid, asked = servers[name]
            before = cpu_s(pid)
            await load_well(asked, requests=requests)
            found[name].append((cpu_s(pid) - before) / requests * 1e6)
    return found


async def load_well(asked: Asked, *, requests: int) -> None:
    """Raises PeerMissing where not every one of the requests was answered by a 2xx."""
    _, good = await load(asked, requests=requests)
    if good != requests:
        raise PeerMissing(f"only {good} of {requests} calls were answered by a 2xx")
