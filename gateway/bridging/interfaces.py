"""Interfaces ready for use: each document is read once in a process, beside the calls of others.

Whoever comes first waits with all who come meanwhile for one reading. A document that cannot be
read makes its own service unavailable and no other.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from bridge.document import Document
from gateway.bridging.model import InterfaceUnreadable
from gateway.bridging.ports import Documents
from gateway.calls.model import Service
from roaming.refusal import Refusal

log = structlog.get_logger(__name__)

MOST_READ = 500
WAIT_S = 20.0
# Reading takes a core for as long as it takes; the calls of others go on beside it. Two at once,
# so that one document that takes long holds up no other.
AT_ONCE = 2

Read = TypeVar("Read")
_Key = tuple[str, int, bytes]


class Interfaces(Generic[Read]):
    """`read` makes of a service and its document what is used at every call; it runs in a thread.

    It raises BadDocument and its like for a document that is of no use.
    """

    def __init__(
        self,
        documents: Documents,
        read: Callable[[Service, Document], Read],
        *,
        most: int = MOST_READ,
        wait_s: float = WAIT_S,
    ) -> None:
        self._documents = documents
        self._read = read
        self._most = most
        self._wait_s = wait_s
        self._kept: OrderedDict[_Key, asyncio.Task[Read | Refusal | None]] = OrderedDict()
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def of(self, service: Service) -> Read:
        """Raises InterfaceUnreadable."""
        task = self.prepare(service)
        if not task.done():
            # Whoever goes away leaves the reading to those who still wait for it.
            await asyncio.wait((task,), timeout=self._wait_s)
        if not task.done():
            raise InterfaceUnreadable(
                f"the interface document of {service.name} is still being read",
                rule="try again in a minute",
            )
        found = task.result()
        if found is None:
            raise InterfaceUnreadable(
                f"the interface document of {service.name} cannot be read now",
                rule="try again shortly",
            )
        if isinstance(found, Refusal):
            raise InterfaceUnreadable(
                f"the interface document of {service.name} cannot be used: {found.detail}",
                field=found.field,
                value=found.value,
                rule=found.rule or f"ask {service.provider}, its provider",
            )
        return found

    def prepare(self, service: Service) -> asyncio.Task[Read | Refusal | None]:
        """Begin to read, unless that has happened: ahead of the first call where it can be."""
        key = _key(service)
        task = self._kept.get(key)
        if task is None:
            task = self._kept[key] = asyncio.create_task(self._make(service))
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return task

    async def close(self) -> None:
        for task in self._kept.values():
            task.cancel()
        await asyncio.gather(*self._kept.values(), return_exceptions=True)
        self._kept.clear()

    async def _make(self, service: Service) -> Read | Refusal | None:
        """None: not now, and the next to come tries again."""
        assert service.interface is not None
        try:
            document = await self._documents.load(service.interface)
        except Exception as error:  # noqa: BLE001  whatever is wrong there, is not with the document
            log.warning("interface not loaded", service=service.name, error=repr(error))
            self._kept.pop(_key(service), None)
            return None
        async with self._turns:
            try:
                return await asyncio.to_thread(self._read, service, document)
            except Refusal as refusal:
                return refusal
            except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
                # A reader's own fault, which it will make again with the same document.
                log.error("interface not read", service=service.name, exc_info=error)
                return Refusal("our reader fails at it", rule="tell the hub's operator")


def _key(service: Service) -> _Key:
    assert service.interface is not None
    return service.name, service.major, service.interface
