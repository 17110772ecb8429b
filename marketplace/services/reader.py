"""What an interface document says can be called, by those of `bridge` who understand it.

A document is a stranger's, and reading one may take long and much: so it is read in a process of
its own, which is ended when it takes more than it may. Nobody's calls wait for it meanwhile.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bridge.document import BadDocument, Document, DocumentTooLarge, Kind
from bridge.openapi import RestInterface
from bridge.wsdl import SoapInterface
from marketplace.services.model import METHODS, Operation
from roaming.refusal import Refusal, Unavailable

AT_ONCE = 2
CPU_S = 10
WITHIN_S = 30.0
MOST_MEMORY_BYTES = 1024 * 1024 * 1024
_HOUSE = Path(__file__).parents[2]
_REFUSALS: dict[str, type[Refusal]] = {
    kind.__name__: kind for kind in (BadDocument, DocumentTooLarge)
}


class TooBusy(Unavailable):
    """Others' documents are being read."""


class DocumentReader:
    """Operations by the names that a contract calls them.

    `cpu_s`, `within_s`: for one document, in a processor's time and in everybody's.
    """

    def __init__(
        self,
        *,
        at_once: int = AT_ONCE,
        cpu_s: int = CPU_S,
        within_s: float = WITHIN_S,
        memory_bytes: int = MOST_MEMORY_BYTES,
    ) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._cpu_s = cpu_s
        self._within_s = within_s
        self._memory_bytes = memory_bytes

    async def read(self, document: Document) -> tuple[Sequence[Operation], str]:
        """Raises BadDocument, DocumentTooLarge, TooBusy."""
        try:
            async with asyncio.timeout(self._within_s):
                await self._places.acquire()
        except TimeoutError:
            raise TooBusy(
                "other documents are being read", field="interface", rule="ask again in a minute"
            ) from None
        try:
            return _told(await self._read(document.to_bytes()))
        finally:
            self._places.release()

    async def _read(self, content: bytes) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __name__, str(self._cpu_s), str(self._memory_bytes)),
            cwd=_HOUSE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(self._within_s):
                told, complaint = await process.communicate(content)
        except TimeoutError:
            raise self._too_much() from None
        finally:
            # Also where the caller has gone away.
            if process.returncode is None:
                process.kill()
                await process.wait()
        code = process.returncode
        if code is not None and code < 0:
            raise self._too_much()
        assert code == 0, complaint.decode(errors="replace")
        return told

    def _too_much(self) -> BadDocument:
        return BadDocument(
            "the document takes too long, or too much memory, to be read",
            field="interface",
            rule=f"one that is read within {self._cpu_s} seconds",
        )


def _told(answer: bytes) -> tuple[list[Operation], str]:
    told = msgspec.json.decode(answer)
    if "operations" in told:
        return [Operation(*one) for one in told["operations"]], told["version"]
    raise _REFUSALS[told.pop("refusal")](**told)


def read(document: Document) -> tuple[list[Operation], str]:
    """Operations and version, read in this process. Raises BadDocument, DocumentTooLarge."""
    if document.kind is Kind.WSDL:
        names = SoapInterface.read(document).operations
        # A WSDL tells no version of its own.
        return [Operation(name, "POST", f"/{name}") for name in names], ""
    found = RestInterface.read(document)
    # Of the rest (OPTIONS, HEAD, TRACE) nobody makes a contract.
    return [
        Operation(one.name, one.method, one.path)
        for one in found.operations.values()
        if one.method in METHODS
    ], found.version


def answer(content: bytes) -> dict[str, Any]:
    """What is told of a document, or why it is refused."""
    try:
        found, version = read(Document.of_bytes(content))
    except (BadDocument, DocumentTooLarge) as refused:
        return {
            "refusal": type(refused).__name__,
            "detail": refused.detail,
            "field": refused.field,
            "value": None if refused.value is None else str(refused.value)[:200],
            "rule": refused.rule,
        }
    except MemoryError:
        return {
            "refusal": "DocumentTooLarge",
            "detail": "the document takes too much memory to be read",
            "field": "interface",
            "rule": "one of which fewer copies are made, or a shorter one",
        }
    return {
        "operations": [[one.name, one.method, one.path] for one in found],
        "version": version,
    }


def main() -> None:
    """A document comes in, what is told of it goes out."""
    cpu_s, memory_bytes = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    told = answer(sys.stdin.buffer.read())
    sys.stdout.buffer.write(msgspec.json.encode(told))


if __name__ == "__main__":
    main()
