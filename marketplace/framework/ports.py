"""What the framework needs: modules and papers kept, and contracts told of."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from marketplace.framework.document import Document, Signature
from marketplace.framework.model import Library, Module
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Paper:
    """A contract's document as it is kept: its canonical bytes, and who signed them."""

    body: bytes
    signatures: Sequence[Signature] = ()


class Shelf(Protocol):
    """The framework's modules and the contracts' papers, in one transaction."""

    async def lock(self) -> None:
        """Nobody else publishes modules until we are done."""
        ...

    async def library(self) -> Library: ...

    async def built_in_names(self) -> frozenset[str]:
        """The modules whose current version came with the hub."""
        ...

    async def add(self, module: Module, by: PartyId | None, now: datetime) -> None:
        """`by` None: it came with the hub."""
        ...

    async def paper(self, contract_id: str) -> Paper | None: ...

    async def keep_paper(self, contract_id: str, paper: Paper, now: datetime) -> None:
        """The first that is kept stays."""
        ...


class Shelves(Protocol):
    def open(self) -> AbstractAsyncContextManager[Shelf]: ...


class Agreements(Protocol):
    """Contracts and who is in them, for a document to be drawn up."""

    async def must_be_in(self, caller: PartyId, contract_id: str) -> None:
        """A refusal unless it is one of the caller's own contracts."""
        ...

    async def document(self, caller: PartyId, contract_id: str) -> Document:
        """One of the caller's own contracts, by what is kept of it; refused as `must_be_in`."""
        ...
