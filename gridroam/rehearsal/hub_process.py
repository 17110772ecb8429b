"""The hub of a replay: a process of its own, started as any hub is, and talked to over sockets."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


class HubDidNotStart(RuntimeError):
    """`gridroam serve` ended before it was ready; its own words are on standard error."""


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


@asynccontextmanager
async def running(
    home: Path, *, port: int = 0, host: str = "127.0.0.1", options: Sequence[str] = ()
) -> AsyncIterator[RunningHub]:
    """Start a hub for a rehearsal and stop it at the end, with SIGTERM as an operator would."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gridroam.cli", "serve", "--home", str(home)),
        *("--host", host, "--port", str(port), "--trust-station-time", *options),
        stdout=asyncio.subprocess.PIPE,
        # Ctrl-C is the replay's to hear; it then ends the hub in order.
        start_new_session=True,
    )
    assert process.stdout is not None
    first = (await process.stdout.readline()).decode().strip()
    if not first.startswith("ready "):
        raise HubDidNotStart(f"the hub ended with {await process.wait()}; see above")
    try:
        yield RunningHub(first.removeprefix("ready "), process)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
