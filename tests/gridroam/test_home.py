"""A home has one hub, one secret, and a PostgreSQL for as long as somebody uses it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import asyncpg
import pytest

from gridroam.home import BadHome, Home, HomeTaken
from roaming.refusal import Malformed
from tests.gridroam.processes import alive, postmaster_of, until


async def answers(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("SELECT count(*) = 0 FROM kit.event"))
    finally:
        await connection.close()


def test_the_secret_is_made_once_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    secret = Home(folder).secret
    assert len(secret) == 32
    assert Home(folder).secret == secret != Home(tmp_path / "another").secret
    assert (folder / "secret").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    # Nothing is left of how it was made.
    assert [path.name for path in folder.glob("secret*")] == ["secret"]


def test_one_hub_owns_a_home_at_a_time(tmp_path: Path) -> None:
    with Home(tmp_path).taken_by_this_hub():
        with (
            pytest.raises(HomeTaken, match=f"process {os.getpid()}"),
            Home(tmp_path).taken_by_this_hub(),
        ):
            raise AssertionError("two hubs have one home")
        # Who asked in vain has not taken it away.
        with pytest.raises(HomeTaken), Home(tmp_path).taken_by_this_hub():
            raise AssertionError("two hubs have one home")
    with Home(tmp_path).taken_by_this_hub():
        pass


def test_a_folder_that_cannot_be_a_home_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadHome, match="file/home") as refused:
        Home(tmp_path / "file" / "home")
    assert refused.value.field == "--home"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "this is no URL"),
        ("postgresql://u:sekret@127.0.0.1:port/x", "this is no URL"),
        ("postgresql://u:sekret@127.0.0.1:1/x", r"u:\*\*\*@127\.0\.0\.1:1/x"),
    ],
)
async def test_a_database_that_does_not_answer_is_named_without_its_password(
    tmp_path: Path, url: str, said: str
) -> None:
    with pytest.raises(Malformed, match=said) as refused:
        async with Home(tmp_path, url).database_url():
            raise AssertionError("nobody answers there")
    assert refused.value.field == "--database-url"
    assert "sekret" not in f"{refused.value} {refused.value.value}"


async def test_its_postgresql_runs_while_anybody_uses_it_and_survives_being_killed(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path / "home")
    async with home.database_url() as first:
        server = postmaster_of(home.folder)
        assert server is not None
        async with Home(home.folder).database_url() as second:
            assert second == first
            assert await answers(second)
        # The second user has left, the first one is still there.
        assert alive(server)
        assert await answers(first)
    await until(lambda: not alive(server))

    async with home.database_url() as url:
        killed = postmaster_of(home.folder)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await until(lambda: not alive(killed))
        # Whoever comes next finds it dead and starts it; then it is there for all.
        async with Home(home.folder).database_url() as again:
            assert await answers(again)
        assert await answers(url)
        assert postmaster_of(home.folder) not in (None, killed)
    assert postmaster_of(home.folder) is None

    home.remove()
    assert not home.folder.exists()


async def test_a_start_that_is_broken_off_leaves_no_server_behind(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")

    async def use() -> None:
        async with home.database_url():
            raise AssertionError("it was told to stop before")

    starting = asyncio.create_task(use())
    await until((home.folder / "postgres" / "data").exists)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert postmaster_of(home.folder) is None
