"""A replay that is ended, however it is ended, leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.gridroam.day import cut
from tests.gridroam.processes import Started, alive, gridroam, postmaster_of, started, until


def home_of(folder: Path) -> Path | None:
    """The temporary home of the replay that works in this folder."""
    return next(folder.glob("gridroam-replay-*"), None)


def hub_of(folder: Path) -> int | None:
    """The process id of its hub, once it has taken its home."""
    home = home_of(folder)
    if home is None:
        return None
    lock = home / "hub.lock"
    return int(lock.read_text() or "0") or None if lock.exists() else None


def slow_replay(folder: Path) -> list[str]:
    return ["replay", *cut(folder, 60).options, "--through", "api", "--rate", "0.5"]


async def its_processes(replay: Started, folder: Path) -> tuple[int, int]:
    """The hub and its PostgreSQL, when charges are being played."""
    await until(lambda: "Watch it at" in replay.err)
    home, hub = home_of(folder), hub_of(folder)
    assert home is not None
    assert hub is not None
    server = postmaster_of(home)
    assert server is not None
    assert alive(hub)
    assert alive(server)
    return hub, server


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_signal_ends_its_hub_and_removes_its_home(
    tmp_path: Path, number: int, code: int
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    async with started(
        *slow_replay(tmp_path / "day"),
        errors=tmp_path / "stderr",
        environment={"TMPDIR": str(work)},
    ) as replay:
        hub, server = await its_processes(replay, work)
        ended = await replay.end(number)
    assert (ended.code, ended.out) == (code, "")
    assert not alive(hub)
    await until(lambda: not alive(server))
    assert list(work.iterdir()) == []
    assert "Traceback" not in ended.err


async def test_a_replay_that_is_killed_takes_its_hub_and_its_database_along(
    tmp_path: Path,
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    async with started(
        *slow_replay(tmp_path / "day"),
        errors=tmp_path / "stderr",
        environment={"TMPDIR": str(work)},
    ) as replay:
        hub, server = await its_processes(replay, work)
        replay.process.kill()
        await until(lambda: not alive(hub) and not alive(server))


async def test_a_replay_whose_hub_dies_says_so_in_one_line(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    async with started(
        *slow_replay(tmp_path / "day"),
        errors=tmp_path / "stderr",
        environment={"TMPDIR": str(work)},
    ) as replay:
        hub, server = await its_processes(replay, work)
        os.kill(hub, signal.SIGKILL)
        ended = await replay.done()
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines()[-1] == (
        f"gridroam: the hub (process {hub}) ended in mid-replay, killed by signal 9"
    )
    assert "Traceback" not in ended.err
    await until(lambda: not alive(server))
    assert list(work.iterdir()) == []


async def test_files_that_cannot_be_played_are_refused_before_anything_starts(
    tmp_path: Path,
) -> None:
    day = cut(tmp_path / "day", 60)
    agreements = tmp_path / "day" / "agreements.json"
    told = json.loads(agreements.read_text())
    del told[1]["operator"]
    agreements.write_text(json.dumps(told))
    done = await gridroam("replay", *day.options, tmp_path=tmp_path)
    assert done.code == 2
    assert done.complaint.startswith("agreements.json[1]: ")
    assert "operator" in done.complaint
