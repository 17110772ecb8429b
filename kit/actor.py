"""Who does what is done now: the door, the command line and each worker say so for all below them.

An actor is a text: `client:…`, `person:…`, `office` (the hub's operator at the command line),
`task:…` (the hub's own timed work). None: nobody has said so, and then nothing is made up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

OFFICE = "office"
_acting: ContextVar[str | None] = ContextVar("gridroam.actor", default=None)

actor_now = _acting.get
"""Who acts here; what is made now and written later by another task has to ask now."""


def client(client_id: str) -> str:
    return f"client:{client_id}"


def person(person_id: str) -> str:
    return f"person:{person_id}"


def task(name: str) -> str:
    """Workers of one kind, as one for each party, are the same actor."""
    return f"task:{name.partition(':')[0]}"


@contextmanager
def acting_as(actor: str | None) -> Iterator[None]:
    """Inside the block, and in tasks begun there, `actor` acts; after it, whoever did before."""
    before = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(before)
