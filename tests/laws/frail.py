"""A database whose user dies between any two awaits, at the place that a test names.

Each call to the server and each commit is a place before which, and behind which, one may die.
What dies in a transaction is undone, as when a process is killed; what dies behind a commit has not
heard that it succeeded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kit.database import Database

_CALLS = frozenset({"execute", "executemany", "fetch", "fetchrow", "fetchval"})


class Died(Exception):
    """The process is gone at this place."""


class Countdown:
    """Dies at the n-th place, counted from 0; never again after it, and not at all with None."""

    def __init__(self) -> None:
        self._left: int | None = None

    def set(self, places: int | None) -> None:
        self._left = places

    def place(self) -> None:
        if self._left is None:
            return
        self._left -= 1
        if self._left < 0:
            self._left = None
            raise Died


class _Transaction:
    def __init__(self, transaction: Any, countdown: Countdown) -> None:
        self._transaction = transaction
        self._countdown = countdown

    async def __aenter__(self) -> None:
        await self._transaction.__aenter__()

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            try:
                self._countdown.place()
            except Died as died:
                await self._transaction.__aexit__(Died, died, None)
                raise
        await self._transaction.__aexit__(kind, error, trace)
        if kind is None:
            self._countdown.place()


class _Connection:
    def __init__(self, connection: Any, countdown: Countdown) -> None:
        self._connection = connection
        self._countdown = countdown

    def transaction(self, **how: Any) -> _Transaction:
        return _Transaction(self._connection.transaction(**how), self._countdown)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        if name not in _CALLS:
            return found

        async def call(*arguments: Any, **more: Any) -> Any:
            self._countdown.place()
            answer = await found(*arguments, **more)
            self._countdown.place()
            return answer

        return call


class _Pool:
    def __init__(self, pool: Any, countdown: Countdown) -> None:
        self._pool = pool
        self._countdown = countdown

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[_Connection]:
        async with self._pool.acquire() as connection:
            yield _Connection(connection, self._countdown)


def frail(database: Database, countdown: Countdown) -> Database:
    """The same database for somebody who may die. Closing it is the other's affair."""
    pool: Any = _Pool(database.pool, countdown)
    return Database(database.url, database.engine, pool, database.session)
