"""The hub's home folder: its secret, its locks, and its own PostgreSQL unless another is named.

Commands work beside a running hub: whoever uses the home's PostgreSQL holds a shared lock on it,
and the last one to leave stops it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import asyncpg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from gridroam import migrating
from kit.database import Database
from kit.embedded_postgres import EmbeddedPostgres
from roaming.refusal import Clash, Malformed

DATABASE = "gridroam"


class HomeTaken(Clash):
    """Another hub runs on this home."""


class BadHome(Malformed):
    """The folder cannot be a hub's home."""


class Home:
    """A folder that one hub owns, and that commands may use beside it."""

    def __init__(self, folder: Path, database_url: str | None = None) -> None:
        self._database_url = database_url
        try:
            self.folder = folder.expanduser().resolve()
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Whether files can be made here is only known by making one.
            (self.folder / "hub.lock").touch(mode=0o600)
        except (OSError, RuntimeError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise BadHome(
                f"cannot use {folder} as a home: {why}",
                field="--home",
                value=folder,
                rule="a folder that this user may write to",
            ) from None

    @property
    def secret(self) -> bytes:
        """32 random bytes that seal what must be read again (signing keys); made at first need."""
        path = self.folder / "secret"
        with suppress(FileExistsError):
            # Written whole under another name first: two processes agree on one secret.
            fresh = self.folder / f"secret.{os.getpid()}"
            fresh.touch(mode=0o600)
            fresh.write_bytes(secrets.token_bytes(32))
            try:
                os.link(fresh, path)
            finally:
                fresh.unlink()
        return path.read_bytes()

    def remove(self) -> None:
        """The folder and its PostgreSQL's data, once nobody uses them any more."""
        EmbeddedPostgres(self.folder).remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def taken_by_this_hub(self) -> Iterator[None]:
        """Hold the home for one hub; HomeTaken names the process that has it."""
        with (self.folder / "hub.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.seek(0)
                raise HomeTaken(
                    f"a hub already runs on {self.folder} (process {lock.read().strip()})",
                    rule="stop it, or name another --home",
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    @asynccontextmanager
    async def database_url(self) -> AsyncIterator[str]:
        """A URL that answers, with all tables up to date, for as long as the block lasts."""
        if self._database_url is not None:
            await _reachable(self._database_url)
            await migrating.upgrade(self._database_url)
            yield self._database_url
            return
        postgres = EmbeddedPostgres(self.folder)
        with (self.folder / "postgres.users").open("w") as users:
            try:
                async with self._alone_at("postgres.change"):
                    await _whole(postgres.start())
                    await postgres.create_database(DATABASE)
                    await migrating.upgrade(postgres.url(DATABASE))
                    fcntl.flock(users, fcntl.LOCK_SH)
                yield postgres.url(DATABASE)
            finally:
                async with self._alone_at("postgres.change"):
                    if _is_last(users):
                        await asyncio.to_thread(postgres.stop)

    @asynccontextmanager
    async def _alone_at(self, name: str) -> AsyncIterator[None]:
        """One process at a time: two must not start, or start and stop, one server."""
        with (self.folder / name).open("w") as lock:
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
            yield

    @asynccontextmanager
    async def database(self, *, pool_size: int = 4) -> AsyncIterator[Database]:
        async with self.database_url() as url:
            database = await Database.open(url, pool_size=pool_size)
            try:
                yield database
            finally:
                await database.close()


async def _whole(start: Coroutine[Any, Any, None]) -> None:
    """Cancelled in mid-start, a server would come up behind our back, with nobody to stop it."""
    starting = asyncio.create_task(start)
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        raise


def _is_last(users: IO[str]) -> bool:
    """Whether nobody else holds the shared lock on the server."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


async def _reachable(url: str) -> None:
    """Malformed names the URL (without its password) that no server answers at."""
    rule = "postgresql://user:password@host:port/name"
    try:
        parsed = make_url(url)
        plain = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    except (ValueError, ArgumentError):
        # Not shown: of a text that is no URL nobody knows which part of it is the password.
        raise Malformed("this is no URL", field="--database-url", rule=rule) from None
    try:
        connection = await asyncpg.connect(plain, timeout=10)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        shown = parsed.render_as_string(hide_password=True)
        raise Malformed(
            f"no PostgreSQL answers at {shown}: {str(error) or type(error).__name__}",
            field="--database-url",
            value=shown,
            rule=rule,
        ) from None
    await connection.close()
