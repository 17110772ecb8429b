"""What an interface document says can be called, by those of `bridge` who understand it.

Documents are read beside the event loop: few at once, and none for longer than it may take.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from bridge.document import BadDocument, Document, Kind
from bridge.openapi import RestInterface
from bridge.wsdl import SoapInterface
from marketplace.services.model import METHODS, Operation
from roaming.refusal import Unavailable

Told = TypeVar("Told")

AT_ONCE = 2
WITHIN_S = 30.0


class TooBusy(Unavailable):
    """Others' documents are being read."""


class DocumentReader:
    """Operations by the names that a contract calls them."""

    def __init__(self) -> None:
        self._aside = Aside()

    async def operations(self, document: Document) -> Sequence[Operation]:
        return await self._aside.run(lambda: _operations(document))


def _operations(document: Document) -> list[Operation]:
    if document.kind is Kind.WSDL:
        return [
            Operation(name, "POST", f"/{name}") for name in SoapInterface.read(document).operations
        ]
    told = RestInterface.read(document).operations.values()
    # Of the rest (OPTIONS, HEAD, TRACE) nobody makes a contract.
    return [Operation(one.name, one.method, one.path) for one in told if one.method in METHODS]


class Aside:
    """Runs slow, pure work on threads of its own.

    What takes too long is given up: its thread cannot be ended, so it keeps its place among
    `at_once` until it ends by itself, and does not keep the process from ending.
    """

    def __init__(self, *, at_once: int = AT_ONCE, within_s: float = WITHIN_S) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._within_s = within_s

    async def run(self, work: Callable[[], Told]) -> Told:
        """What `work` returns or raises. BadDocument where it takes too long; TooBusy."""
        try:
            async with asyncio.timeout(self._within_s):
                await self._places.acquire()
        except TimeoutError:
            raise TooBusy(
                "other documents are being read", field="interface", rule="ask again in a minute"
            ) from None
        done: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        threading.Thread(
            target=self._work, args=(work, done, done.get_loop()), name="reader", daemon=True
        ).start()
        try:
            async with asyncio.timeout(self._within_s):
                return await done
        except TimeoutError:
            raise BadDocument(
                "the document takes too long to be read",
                field="interface",
                rule=f"one that is read within {self._within_s:g} seconds",
            ) from None

    def _work(
        self,
        work: Callable[[], Told],
        done: asyncio.Future[Told],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        result: Any = None
        error: Exception | None = None
        try:
            result = work()
        except RecursionError:
            error = BadDocument("the document is nested too deeply", field="interface")
        except Exception as raised:  # noqa: BLE001  handed to whoever waits for it
            error = raised

        def tell() -> None:
            self._places.release()
            if done.done():
                return
            if error is None:
                done.set_result(result)
            else:
                done.set_exception(error)

        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:
            # The process has ended its loop meanwhile.
            return
