"""The hub of a replay lives and dies with it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from gridroam.rehearsal import hub_process
from gridroam.rehearsal.hub_process import HubDied, HubRefused
from tests.gridroam.processes import alive, postmaster_of, until


async def test_work_is_over_when_the_hub_dies(tmp_path: Path) -> None:
    async with hub_process.running(tmp_path / "home") as hub:

        async def done() -> str:
            return "done"

        assert await hub.while_alive(done()) == "done"
        assert hub.peak_memory_mb() > 10

        async def for_ever() -> None:
            os.kill(hub.process.pid, signal.SIGKILL)
            await asyncio.Event().wait()

        with pytest.raises(HubDied, match=r"process \d+\) ended in mid-replay, killed by signal 9"):
            await hub.while_alive(for_ever())

        async def tripped() -> None:
            raise ConnectionResetError("what the dying hub made of the work")

        with pytest.raises(HubDied):
            await hub.while_alive(tripped())

        # Its PostgreSQL outlived it, and belongs to whoever takes the home next.
        async with hub_process.running(tmp_path / "home") as again:
            with pytest.raises(ConnectionResetError):
                await again.while_alive(tripped())
            with pytest.raises(HubRefused):
                async with hub_process.running(tmp_path / "home"):
                    raise AssertionError("two hubs have one home")
        assert again.process.returncode == 0
    assert postmaster_of(tmp_path / "home") is None
    assert not alive(hub.process.pid)


async def test_a_hub_that_is_not_wanted_any_more_while_it_starts_is_ended(tmp_path: Path) -> None:
    home = tmp_path / "home"

    async def begin() -> None:
        async with hub_process.running(home):
            raise AssertionError("it was told to stop before")

    starting = asyncio.create_task(begin())
    await until(lambda: postmaster_of(home) is not None)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert postmaster_of(home) is None
