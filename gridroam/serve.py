"""`gridroam serve`: one hub on one home, from start to a clean end.

Prints exactly one line on standard output, `ready http://host:port`, once it answers. SIGTERM and
Ctrl-C: no new calls, those under way are finished, what was taken is written, exit 0.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace

import uvicorn
import uvloop

from gridroam import logging as hub_logging
from gridroam.home import Home
from gridroam.settings import Settings
from gridroam.wiring import hub
from roaming.refusal import Clash

GRACE_S = 20


class PortTaken(Clash):
    """Something else listens where the hub should."""


def run(settings: Settings, *, workers: int = 1) -> None:
    """Serve until told to stop. Raises HomeTaken, PortTaken, Malformed before serving anything."""
    hub_logging.configure(settings.log_format)
    home = Home(settings.home, settings.database_url)
    with home.taken_by_this_hub(), _listening(settings.host, settings.port) as listening:
        if workers == 1:
            uvloop.run(_serve(settings, home, listening))
        else:
            uvloop.run(_supervise(settings, home, listening, workers))


def run_worker(settings: Settings, listening_fd: int) -> None:
    """One of several processes on the supervisor's socket and database."""
    assert settings.database_url is not None
    hub_logging.configure(settings.log_format)
    listening = socket.socket(fileno=listening_fd)
    uvloop.run(_serve(settings, Home(settings.home, settings.database_url), listening))


async def _serve(settings: Settings, home: Home, listening: socket.socket) -> None:
    url = _shown(settings.host, listening)
    settings = replace(settings, public_url=settings.public_url or url)
    async with home.database_url() as database_url, hub(settings, home, database_url) as app:
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="websockets-sansio",
            # 64 KiB a connection with it, 14 without (ARCHITECTURE).
            ws_per_message_deflate=False,
            ws_max_size=1024 * 1024,
            ws_ping_interval=30,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            h11_max_incomplete_event_size=64 * 1024,
            timeout_graceful_shutdown=GRACE_S,
            backlog=2048,
        )
        server = _Server(config, url)
        with _told_to_stop(server.stop):
            await server.serve(sockets=[listening])


class _Server(uvicorn.Server):
    """Says when it is ready. uvicorn re-raises the signal that ended it; ours exits 0."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            _say_ready(self._url)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        # Asked twice, it stops waiting for calls under way.
        self.force_exit = self.should_exit
        self.should_exit = True


async def _supervise(
    settings: Settings, home: Home, listening: socket.socket, workers: int
) -> None:
    """Start `workers` processes on one socket; when one dies, end them all and say so."""
    url = _shown(settings.host, listening)
    async with home.database_url() as database_url:
        async with _worker_processes(settings, url, database_url, listening, workers) as processes:
            stop = asyncio.Event()
            with _told_to_stop(stop.set):
                for process in processes:
                    assert process.stdout is not None
                    await process.stdout.readline()
                _say_ready(url)
                ends = [asyncio.create_task(process.wait()) for process in processes]
                stopping = asyncio.create_task(stop.wait())
                await asyncio.wait([*ends, stopping], return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
        if not stop.is_set():
            raise SystemExit("a worker process ended by itself; see its log above")


@asynccontextmanager
async def _worker_processes(
    settings: Settings, url: str, database_url: str, listening: socket.socket, workers: int
) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    processes = []
    # The URL holds a password: it goes by the environment, which other users cannot read.
    environment = {**os.environ, "GRIDROAM_WORKER_DATABASE_URL": database_url}
    for number in range(workers):
        command = [
            *(sys.executable, "-m", "gridroam.cli", "serve-worker", str(listening.fileno())),
            *("--home", str(settings.home), "--host", settings.host),
            *("--only", ",".join(sorted(settings.only)), "--log-format", settings.log_format),
            *("--public-url", settings.public_url or url),
            *(["--refuse-loopback-endpoints"] * (not settings.allow_loopback_endpoints)),
            *([] if number == 0 else ["--no-tasks"]),
            *(["--trust-station-time"] if settings.trust_station_time else []),
        ]
        processes.append(
            await asyncio.create_subprocess_exec(
                *command,
                env=environment,
                pass_fds=[listening.fileno()],
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        )
    try:
        yield processes
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))


@contextmanager
def _told_to_stop(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise PortTaken(
                f"cannot listen on {host}:{port}: {error.strerror}",
                field="--port",
                value=port,
                rule="a free port, or 0 for any",
            ) from None
        yield listening


def _say_ready(url: str) -> None:
    sys.stdout.write(f"ready {url}\n")
    sys.stdout.flush()


def _shown(host: str, listening: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"
