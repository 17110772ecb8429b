"""Many callers wait for one commit, and nobody is answered before it.

While one batch is being written the next one gathers, so under load a commit is shared by as many
as came meanwhile, and a lone caller waits for nothing but its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """`write` gets up to `most` items and answers with as many results, in order.

    When `write` fails for a batch of several, each item is tried alone: one bad item costs only its
    own caller. `write` must therefore undo everything when it raises.
    """

    def __init__(
        self, write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], *, most: int = 500
    ) -> None:
        self._write = write
        self._most = most
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    async def put(self, item: Item) -> Result:
        """Wait until `item` is written; its result, or the exception that refused it."""
        assert not self._closed, "put after close"
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._drain())
        return await future

    async def close(self) -> None:
        """Take nothing more; return when all that was taken is written."""
        self._closed = True
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._write_batch(batch)
        finally:
            self._writer = None

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
