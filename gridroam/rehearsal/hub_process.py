"""The hub of a replay: a process of its own, started as any hub is, and talked to over sockets."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gridroam.exits import WorkFailed
from roaming.refusal import Malformed

Result = TypeVar("Result")

# A hub finishes the calls under way first (gridroam.serve.GRACE_S); then its PostgreSQL ends.
ENDS_WITHIN_S = 60
# When the hub dies, its sockets break first, and the system tells of its end a moment later.
TOLD_WITHIN_S = 2.0


class HubDidNotStart(WorkFailed):
    """`gridroam serve` ended before it was ready; its own words are on standard error."""


class HubRefused(Malformed):
    """`gridroam serve` would not run like this (a home that is taken); it has said why."""


class HubDied(WorkFailed):
    """The hub ended in the middle of the work."""


@dataclass(frozen=True, slots=True)
class RunningHub:
    url: str
    process: asyncio.subprocess.Process

    def peak_memory_mb(self) -> float:
        """The most memory that the process has held so far (VmHWM), 0 where it cannot be told."""
        status = Path(f"/proc/{self.process.pid}/status")
        with suppress(OSError):
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return 0.0

    async def died(self) -> HubDied:
        """Wait for the hub to end by itself, and say how it did."""
        code = await self.process.wait()
        how = f"killed by signal {-code}" if code < 0 else f"with exit code {code}"
        return HubDied(f"the hub (process {self.process.pid}) ended in mid-replay, {how}")

    async def while_alive(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of `work`; HubDied when the hub ends before, whatever the work made of it."""
        working = asyncio.create_task(work)
        dying = asyncio.create_task(self.died())
        try:
            await asyncio.wait([working, dying], return_when=asyncio.FIRST_COMPLETED)
            if working.done() and working.exception() is not None:
                await asyncio.wait([dying], timeout=TOLD_WITHIN_S)
            if dying.done() and not (working.done() and working.exception() is None):
                raise dying.result()
            return await working
        finally:
            for task in (working, dying):
                task.cancel()
            await asyncio.gather(working, dying, return_exceptions=True)


@asynccontextmanager
async def running(
    home: Path, *, port: int = 0, host: str = "127.0.0.1", options: Sequence[str] = ()
) -> AsyncIterator[RunningHub]:
    """Start a hub for a rehearsal and stop it at the end, with SIGTERM as an operator would.

    It ends by itself when this process is gone: it reads a pipe that nobody writes to.
    """
    theirs, ours = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gridroam.cli", "serve", "--home", str(home)),
            *("--host", host, "--port", str(port), "--trust-station-time"),
            # Between progress bars only what is wrong is worth a line.
            *("--log-level", "warning", "--lifeline-fd", str(theirs), *options),
            stdout=asyncio.subprocess.PIPE,
            pass_fds=[theirs],
            # Ctrl-C is the replay's to hear; it then ends the hub in order.
            start_new_session=True,
        )
        try:
            yield RunningHub(await _url_of(process), process)
        finally:
            await _end(process)
    finally:
        os.close(theirs)
        os.close(ours)


async def _url_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    first = (await process.stdout.readline()).decode().strip()
    if first.startswith("ready "):
        return first.removeprefix("ready ")
    code = await process.wait()
    if code == 2:
        raise HubRefused("the hub refused to start, see above")
    raise HubDidNotStart(f"the hub did not start (exit code {code}), see above")


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(ENDS_WITHIN_S):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
