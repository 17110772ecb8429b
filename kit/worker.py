"""A worker does one step after another until it is closed: outboxes, retries, projections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog

from kit import actor
from kit.actor import acting_as

log = structlog.get_logger(__name__)

BACK_OFF_MOST_S = 30.0


class Worker:
    """Runs `step` until closed. True: there is more, go on at once. False: wait to be woken.

    A step that raises is logged and tried again, after a pause that doubles up to
    `back_off_most_s`: a database that is away must not turn the worker into a busy loop, nor end
    it.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[bool]],
        *,
        idle_s: float = 1.0,
        back_off_most_s: float = BACK_OFF_MOST_S,
    ) -> None:
        self._name = name
        self._step = step
        self._idle_s = idle_s
        self._back_off_most_s = back_off_most_s
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self._name)

    def wake(self) -> None:
        self._woken.set()

    async def close(self) -> None:
        """Stop, in mid-step if need be: steps are transactions, and safe to undo."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    async def _run(self) -> None:
        with acting_as(actor.task(self._name)):
            await self._go_on()

    async def _go_on(self) -> None:
        pause_s = 0.0
        while True:
            self._woken.clear()
            try:
                more = await self._step()
                pause_s = 0.0
            except Exception as error:  # noqa: BLE001  a worker outlives any one failure
                pause_s = min(max(0.2, pause_s * 2), self._back_off_most_s)
                log.warning("step failed", worker=self._name, error=repr(error), again_in_s=pause_s)
                await asyncio.sleep(pause_s)
                continue
            if not more:
                # Not wait_for: on Python 3.11 it can swallow a cancellation that meets a wake.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._idle_s):
                        await self._woken.wait()


@asynccontextmanager
async def woken_by(worker: Worker, *told: AsyncIterable[object]) -> AsyncIterator[None]:
    """Inside the block the worker runs, and whatever is heard wakes it."""

    async def hear(one: AsyncIterable[object]) -> None:
        async for _ in one:
            worker.wake()

    hearing = [asyncio.create_task(hear(one)) for one in told]
    worker.start()
    try:
        yield
    finally:
        for task in hearing:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await worker.close()
