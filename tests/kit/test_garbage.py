"""What is held is not looked through again; what is dropped later is still freed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from kit.garbage import look_when_ready, spare_what_is_held, spare_what_is_imported


class Node:
    """Refers to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize("spare", [spare_what_is_imported, spare_what_is_held])
def test_what_is_held_is_no_longer_looked_through(spare: Callable[[], None]) -> None:
    held = [Node() for _ in range(100)]
    spare()
    looked_through = {id(one) for one in gc.get_objects()}
    assert not any(id(one) in looked_through for one in held)


@pytest.mark.usefixtures("collector")
def test_cycles_that_come_later_are_freed_by_themselves() -> None:
    look_when_ready()
    spare_what_is_held()
    later = weakref.ref(Node())
    kept = []
    while later() is not None:
        kept.append(Node())
        assert len(kept) < 1_000_000
    assert later() is None
