"""The worker that looks after exposure between authorisations: holds grow old, debts grow."""

from __future__ import annotations

from clearinghouse.exposure import flows
from clearinghouse.exposure.ports import Books
from kit.clock import Clock
from kit.worker import Worker


class Watcher:
    """Looks at each EVSP that has a limit, every `idle_s` seconds."""

    def __init__(self, books: Books, clock: Clock, *, idle_s: float = 5.0) -> None:
        self._books = books
        self._clock = clock
        self._percents: dict[tuple[str, ...], float] = {}
        self._worker = Worker("exposure: watch", self.step, idle_s=idle_s)

    def start(self) -> None:
        self._worker.start()

    async def close(self) -> None:
        await self._worker.close()

    def percents(self) -> dict[tuple[str, ...], float]:
        """How much of its room each EVSP used when it was looked at last."""
        return self._percents

    async def step(self) -> bool:
        seen: dict[tuple[str, ...], float] = {}
        for evsp in await self._books.watched(self._clock()):
            found = await flows.watch(evsp, books=self._books, clock=self._clock)
            if found.figures is not None:
                seen[(evsp,)] = found.figures.percent
        self._percents = seen
        return False
