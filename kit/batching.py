"""Many callers wait for one commit, and nobody is answered before it.

While batches are being written the next one gathers, so under load a commit is shared by as many as
came meanwhile, and a lone caller waits for nothing but its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from kit.actor import acting_as

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """`write` gets up to `most` items and answers with as many results, in order.

    When `write` fails for a batch of several, each item is tried alone: one bad item costs only its
    own caller. `write` must therefore undo everything when it raises. With `at_once` above 1 so
    many batches are written side by side, in no order: less waiting, more and smaller batches.

    A batch is many callers' and so nobody's act: an item whose event is to have an actor brings it.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        most: int = 500,
        at_once: int = 1,
    ) -> None:
        self._write = write
        self._most = most
        self._at_once = at_once
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._writers: set[asyncio.Task[None]] = set()
        self._running = 0
        self._starting = False
        self._closed = False

    async def put(self, item: Item) -> Result:
        """Wait until `item` is written; its result, or the exception that refused it."""
        assert not self._closed, "put after close"
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        # One that is yet to begin will take this item, too.
        if self._running < self._at_once and not self._starting:
            self._starting = True
            self._running += 1
            writer = asyncio.create_task(self._drain())
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        return await future

    async def close(self) -> None:
        """Take nothing more; return when all that was taken is written."""
        self._closed = True
        while self._writers:
            await asyncio.wait(self._writers)

    async def _drain(self) -> None:
        self._starting = False
        try:
            with acting_as(None):
                while self._waiting:
                    batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                    await self._write_batch(batch)
        finally:
            # At once, not when the task is done: what is put between the two needs a writer.
            self._running -= 1

    async def _write_batch(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001  whatever it is, it is the callers' to hear
            if len(batch) == 1:
                _fail(batch[0][1], error)
                return
            for one in batch:
                await self._write_batch([one])
            return
        assert len(results) == len(batch), "one result for each item"
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)


def _fail(future: asyncio.Future[Result], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
