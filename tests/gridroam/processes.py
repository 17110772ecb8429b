"""`gridroam` as its operator has it: a process of its own, with its output and its exit code."""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

DEADLINE_S = 60.0


class Process:
    """One that the nursery forked, told as asyncio tells a subprocess."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, told: asyncio.StreamReader) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._ended = asyncio.create_task(self._end(told))

    async def _end(self, told: asyncio.StreamReader) -> int:
        self.returncode = int(await told.readline())
        return self.returncode

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def send_signal(self, number: int) -> None:
        # Its number may be somebody else's after its end.
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@functools.cache
def _nursery() -> Path:
    """The socket of this test process's own nursery, which ends and tidies up with it."""
    place = Path(tempfile.mkdtemp(prefix="gridroam-nursery-")) / "births"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        number = listener.fileno()
        nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.gridroam.nursery", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[number],
        )

    @atexit.register
    def end() -> None:
        assert nursery.stdin is not None
        nursery.stdin.close()
        nursery.wait()

    return place


@dataclass(frozen=True, slots=True)
class Done:
    """How a process ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line of a command that was refused or failed; anything else fails the test."""
        assert self.out == "", self.out
        (line,) = self.err.splitlines()
        assert line.startswith("gridroam: ")
        return line.removeprefix("gridroam: ")


@dataclass(slots=True)
class Started:
    """A running process. What it writes to standard error is kept in a file."""

    process: Process
    errors: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def err(self) -> str:
        return self.errors.read_text()

    async def line(self) -> str:
        """The next line of standard output; empty when there is none any more."""
        async with asyncio.timeout(DEADLINE_S):
            return (await self.process.stdout.readline()).decode().rstrip("\n")

    async def end(self, number: int = signal.SIGTERM) -> Done:
        """Send a signal, and wait for the end."""
        self.process.send_signal(number)
        return await self.done()

    async def done(self, within_s: float = DEADLINE_S) -> Done:
        async with asyncio.timeout(within_s):
            out = await self.process.stdout.read()
            code = await self.process.wait()
        return Done(code, out.decode(), self.err)


@asynccontextmanager
async def started(
    *arguments: str | Path, errors: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Started]:
    """Start a command; it is killed with the block, if it has not ended."""
    asked = {
        "arguments": [str(argument) for argument in arguments],
        "environment": {**os.environ, **(environment or {})},
    }
    reading, writing = os.pipe()
    asking = socket.socket(socket.AF_UNIX)
    asking.connect(str(_nursery()))
    with errors.open("w") as err:
        line = json.dumps(asked).encode() + b"\n"
        socket.send_fds(asking, [line], [writing, err.fileno()])
    os.close(writing)
    stdout = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stdout), os.fdopen(reading, "rb", buffering=0)
    )
    told, connection = await asyncio.open_unix_connection(sock=asking)
    process = Process(int(await told.readline()), stdout, told)
    try:
        yield Started(process, errors)
    finally:
        process.kill()
        await process.wait()
        pipe.close()
        connection.close()


async def gridroam(
    *arguments: str | Path,
    tmp_path: Path,
    environment: Mapping[str, str] | None = None,
    within_s: float = DEADLINE_S,
) -> Done:
    """Run a command to its end."""
    async with started(*arguments, errors=tmp_path / "stderr", environment=environment) as running:
        return await running.done(within_s)


@dataclass(slots=True)
class Serving(Started):
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@asynccontextmanager
async def serving(*arguments: str | Path, tmp_path: Path) -> AsyncIterator[Serving]:
    """A hub that says it is ready, on a port of its own."""
    async with started(
        "serve", "--port", "0", *arguments, errors=tmp_path / "hub.stderr"
    ) as running:
        said = await running.line()
        assert said.startswith("ready http://127.0.0.1:"), running.err
        yield Serving(running.process, running.errors, said.removeprefix("ready "))


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition; TimeoutError says that it did not come."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def postmaster_of(home: Path) -> int | None:
    """The process id of the PostgreSQL of a home, when there is one."""
    with suppress(OSError, IndexError):
        return int((home / "postgres/data/postmaster.pid").read_text().splitlines()[0])
    return None
