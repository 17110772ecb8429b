"""The hub's own PostgreSQL: started once, found again, stopped without losing anything."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import unquote

import asyncpg
import pytest

from kit.embedded_postgres import EmbeddedPostgres, PostgresFailed, Settings


def exists(path: str) -> bool:
    return Path(path).exists()


async def test_a_server_is_found_again_by_another_and_keeps_what_was_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder whose path is too long for a Unix socket, closed to everybody else. So is TMPDIR's.
    home = tmp_path / ("long" * 25)
    home.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    first = EmbeddedPostgres(home, Settings(durable=False))
    await first.start()
    await first.create_database("gridroam")
    second = EmbeddedPostgres(home, Settings(durable=False))
    await second.start()
    assert second.url() == first.url()
    connection = await asyncpg.connect(second.url())
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await connection.close()
    socket_folder = unquote(second.url().rpartition("host=")[2])
    assert exists(socket_folder)
    assert not socket_folder.startswith(str(home))
    second.stop()
    assert not exists(socket_folder)
    with pytest.raises(PostgresFailed, match="no PostgreSQL runs"):
        first.url()
    await first.start()
    # Who has had the address since before it was stopped has the right one.
    assert unquote(first.url().rpartition("host=")[2]) == socket_folder
    connection = await asyncpg.connect(first.url())
    assert await connection.fetchval("SELECT answer FROM kept") == 42
    await connection.close()
    first.stop()
    assert home.stat().st_mode & 0o777 == 0o700


async def test_a_place_for_the_socket_that_is_somebody_elses_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / ("long" * 25)
    home.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    postgres = EmbeddedPostgres(home, Settings(durable=False))
    await postgres.start()
    place = Path(unquote(postgres.url().rpartition("host=")[2]))
    postgres.stop()
    os.symlink(tmp_path, place)
    try:
        again = EmbeddedPostgres(home, Settings(durable=False))
        await again.start()
        assert Path(unquote(again.url().rpartition("host=")[2])) != place
        again.stop()
    finally:
        os.unlink(place)


async def test_a_stranger_without_the_password_is_refused(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path, Settings(durable=False))
    await postgres.start()
    try:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(postgres.url("postgres").replace(postgres.password, "guess"))
    finally:
        postgres.stop()
