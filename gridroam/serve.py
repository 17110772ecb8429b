"""`gridroam serve`: one hub on one home, from start to a clean end.

Prints exactly one line on standard output, `ready http://host:port` (https with a certificate),
once it answers. SIGTERM and
Ctrl-C: no new calls, those under way are finished, what was taken is written, exit 0.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import replace
from typing import Protocol

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from gridroam import exits, heads, proxies, tls
from gridroam import logging as hub_logging
from gridroam.heads import BoundedProtocol
from gridroam.home import Home
from gridroam.settings import Settings
from kit import garbage, open_files
from roaming.refusal import Clash, Malformed

log = structlog.get_logger(__name__)

GRACE_S = 20

OpenHub = Callable[[Settings, Home, str, asyncio.Event], AbstractAsyncContextManager[ASGIApp]]


class PortTaken(Clash):
    """Something else listens where the hub should."""


class BadHost(Malformed):
    """No address of this machine."""


class WorkerEnded(exits.WorkFailed):
    """One of several processes is gone; the hub ends rather than limp."""


def run(settings: Settings, *, workers: int = 1) -> None:
    """Serve until told to stop. Raises HomeTaken, PortTaken, Malformed before serving anything."""
    hub_logging.configure(settings.log_format, settings.log_level)
    open_files.allow_many()
    if settings.tls is not None:
        tls.context(settings.tls)
    home = Home(settings.home, settings.database_url)
    with home.taken_by_this_hub(), _listening(settings.host, settings.port) as listening:
        if workers == 1:
            uvloop.run(_until_told(settings, _serving(settings, home, listening)))
        else:
            uvloop.run(_until_told(settings, _Supervising(settings, home, listening, workers)))


def run_worker(settings: Settings, listening_fd: int) -> None:
    """One of several processes on the supervisor's socket and database."""
    assert settings.database_url is not None
    hub_logging.configure(settings.log_format, settings.log_level)
    open_files.allow_many()
    listening = socket.socket(fileno=listening_fd)
    home = Home(settings.home, settings.database_url)
    uvloop.run(_until_told(settings, _serving(settings, home, listening)))


class _Work(Protocol):
    async def run(self) -> None: ...

    def stop(self) -> bool:
        """End in order; False while there is nothing yet that could."""


async def _until_told(settings: Settings, work: _Work) -> None:
    """Run until SIGTERM, Ctrl-C, or the end of whoever holds our lifeline.

    Told during its start, a hub breaks it off and takes it back: it has promised nothing yet.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    told = False

    def stop() -> None:
        nonlocal told
        if not work.stop() and not told:
            task.cancel()
        told = True

    def holder_ended() -> None:
        assert settings.lifeline_fd is not None
        loop.remove_reader(settings.lifeline_fd)
        stop()

    for number in exits.ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop)
    if settings.lifeline_fd is not None:
        loop.add_reader(settings.lifeline_fd, holder_ended)
    try:
        await work.run()
    except asyncio.CancelledError:
        if not told:
            raise


def _serving(settings: Settings, home: Home, listening: socket.socket) -> _Serving:
    # Here, as a supervisor of others that serve, and who cannot start, needs nothing of the hub.
    from gridroam.wiring import hub

    garbage.spare_what_is_imported()
    return _Serving(hub, settings, home, listening)


class _Serving:
    """One process that answers calls: those to `hub`, which is opened on its settings and home."""

    def __init__(
        self, hub: OpenHub, settings: Settings, home: Home, listening: socket.socket
    ) -> None:
        self._hub = hub
        self._home = home
        self._listening = listening
        self._server: _Server | None = None
        self._stopping = asyncio.Event()
        self._url = _shown(settings, listening)
        self._settings = replace(settings, public_url=settings.public_url or self._url)

    def stop(self) -> bool:
        if self._server is None:
            return False
        log.info("taking no more calls")
        self._stopping.set()
        self._server.stop()
        return True

    async def run(self) -> None:
        async with (
            self._home.database_url() as database_url,
            self._hub(self._settings, self._home, database_url, self._stopping) as app,
        ):
            config = uvicorn.Config(
                self._behind_proxies(app),
                http=BoundedProtocol if self._settings.tls is None else tls.CertifiedProtocol,
                ssl_context_factory=_context_of(self._settings),
                # Whose word counts is for the operator to say, see gridroam/proxies.py.
                proxy_headers=False,
                ws="websockets-sansio",
                # 64 KiB a connection with it, 14 without (ARCHITECTURE).
                ws_per_message_deflate=False,
                ws_max_size=1024 * 1024,
                ws_ping_interval=30,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=GRACE_S,
                backlog=2048,
            )
            self._server = _Server(config, self._url)
            log.info("serving", url=self._url, parts=sorted(self._settings.only))
            garbage.spare_what_is_held()
            watching = asyncio.create_task(heads.watch(self._server.server_state.connections))
            try:
                await self._server.serve(sockets=[self._listening])
            finally:
                watching.cancel()

    def _behind_proxies(self, app: ASGIApp) -> ASGIApp:
        trusted = self._settings.trusted_proxies
        return proxies.behind(app, trusted) if trusted else app


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


class _Supervising:
    """Several processes on one socket; when one dies, all are ended, and it is said."""

    def __init__(
        self, settings: Settings, home: Home, listening: socket.socket, workers: int
    ) -> None:
        self._settings = settings
        self._home = home
        self._listening = listening
        self._workers = workers
        self._url = _shown(settings, listening)

    def stop(self) -> bool:
        # Waiting is all that a supervisor does: breaking that off is how it is ended.
        return False

    async def run(self) -> None:
        async with (
            self._home.database_url() as database_url,
            _lifeline() as lifeline_fd,
            _ended_in_order() as processes,
        ):
            for number in range(self._workers):
                processes.append(await self._worker(number, database_url, lifeline_fd))
            garbage.spare_what_is_held()
            # Queued here, a call would wait for a process that never takes it.
            self._listening.close()
            if all(await asyncio.gather(*(_is_ready(process) for process in processes))):
                _say_ready(self._url)
                ends = [asyncio.create_task(process.wait()) for process in processes]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            raise WorkerEnded("a worker process ended by itself; its log says why")

    async def _worker(
        self, number: int, database_url: str, lifeline_fd: int
    ) -> asyncio.subprocess.Process:
        settings, listening_fd = self._settings, self._listening.fileno()
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gridroam.cli", "serve-worker", str(listening_fd)),
            *("--home", str(settings.home), "--host", settings.host),
            *("--only", ",".join(sorted(settings.only)), "--log-format", settings.log_format),
            *("--log-level", settings.log_level),
            *("--public-url", settings.public_url or self._url),
            *(["--hub-url", settings.hub_url] if settings.hub_url else []),
            *("--lifeline-fd", str(lifeline_fd)),
            *_as_options(settings),
            *(["--otlp-endpoint", settings.otlp_endpoint] if settings.otlp_endpoint else []),
            *("--trace-ratio", str(settings.trace_ratio)),
            *(["--billing-day", str(settings.billing_day)] if settings.billing_day else []),
            *("--client-rate", str(settings.client_rate)),
            *("--oldest-contracts-s", str(settings.oldest_contracts_s)),
            *(["--refuse-loopback-endpoints"] * (not settings.allow_loopback_endpoints)),
            *([] if number == 0 else ["--no-tasks"]),
            *(["--trust-station-time"] if settings.trust_station_time else []),
            # The URL holds a password: it goes by the environment, which others cannot read.
            env={**os.environ, "GRIDROAM_WORKER_DATABASE_URL": database_url},
            pass_fds=[listening_fd, lifeline_fd],
            stdout=asyncio.subprocess.PIPE,
            # Ctrl-C is the supervisor's to hear.
            start_new_session=True,
        )


async def _is_ready(process: asyncio.subprocess.Process) -> bool:
    assert process.stdout is not None
    return (await process.stdout.readline()).startswith(b"ready ")


@asynccontextmanager
async def _lifeline() -> AsyncIterator[int]:
    """A pipe for processes that must not outlive this one, even when it is killed."""
    ours, theirs = os.pipe()
    try:
        yield ours
    finally:
        os.close(ours)
        os.close(theirs)


@asynccontextmanager
async def _ended_in_order() -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Processes that are told to end with the block, and waited for."""
    processes: list[asyncio.subprocess.Process] = []
    try:
        yield processes
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except socket.gaierror as error:
            raise BadHost(
                f"cannot listen on {host!r}: {error.strerror}",
                field="--host",
                value=host,
                rule="an address of this machine, as 127.0.0.1 or 0.0.0.0",
            ) from None
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


def _shown(settings: Settings, listening: socket.socket) -> str:
    host = settings.host
    scheme = "http" if settings.tls is None else "https"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{listening.getsockname()[1]}"


def _context_of(settings: Settings) -> Callable[..., ssl.SSLContext] | None:
    given = settings.tls
    return None if given is None else lambda *_: tls.context(given)


def _as_options(settings: Settings) -> list[str]:
    """How a worker is told where TLS ends, which proxies are believed, who vouches for people."""
    told = [word for one in settings.trusted_proxies for word in ("--trusted-proxy", one)]
    oidc = settings.oidc
    if oidc is not None:
        told += ["--oidc-issuer", oidc.issuer, "--oidc-client-id", oidc.client_id]
        told += ["--oidc-secret-file", str(oidc.secret_file)]
    given = settings.tls
    if given is not None:
        told += ["--tls-certificate", str(given.certificate), "--tls-key", str(given.key)]
        told += [] if given.client_ca is None else ["--client-ca", str(given.client_ca)]
    return told
