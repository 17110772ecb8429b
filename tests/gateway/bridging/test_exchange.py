"""Bodies that are read whole, and bodies that are there already."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from starlette.types import Receive

from gateway.bridging.exchange import Written, whole
from gateway.bridging.model import BodyTooSlow
from gateway.calls.holding import Pot
from gateway.calls.refusals import BodyTooLarge, CallerTooBusy


class Coming:
    """A body of these pieces. `dribbles`: then nothing more comes, and no end."""

    empty = False

    def __init__(self, pieces: Iterable[bytes], *, dribbles: bool = False) -> None:
        self._pieces = list(pieces)
        self._dribbles = dribbles

    @property
    def receive(self) -> Receive:
        raise AssertionError("it is read by its pieces")

    async def small(self, most_bytes: int) -> bytes | None:
        return None

    async def read(self) -> bytes:
        if not self._pieces and self._dribbles:
            await asyncio.Event().wait()
        return self._pieces.pop(0) if self._pieces else b""

    async def gone(self) -> None:
        await asyncio.Event().wait()


async def test_a_body_is_read_to_its_end() -> None:
    assert await whole(Coming([b"ab", b"c"]), 3) == b"abc"
    assert await whole(Coming([]), 3) == b""


async def test_a_body_is_read_no_further_than_it_may_be_long() -> None:
    with pytest.raises(BodyTooLarge):
        await whole(Coming([b"ab", b"cd"], dribbles=True), 3)


async def test_what_is_held_of_a_body_is_no_more_than_there_is_room_for() -> None:
    pot = Pot(100, 3)
    held = pot.of_client("client-1")
    with pytest.raises(CallerTooBusy):
        await whole(Coming([b"ab", b"cd"], dribbles=True), 10, held)
    assert pot.bytes == 2
    held.let_go()
    assert await whole(Coming([b"abc"]), 10, pot.of_client("client-1")) == b"abc"


async def test_nobody_keeps_us_reading_for_ever() -> None:
    with pytest.raises(BodyTooSlow):
        await whole(Coming([b"a"], dribbles=True), 3, within_s=0.01)


async def test_what_is_there_already_is_read_once_in_any_way() -> None:
    for content in (b"abc", b""):
        body = Written(content, Coming([]))
        assert body.empty is (content == b"")
        assert (await body.small(1), await body.read()) == (content, b"")
        again = Written(content, Coming([]))
        assert await again.receive() == {
            "type": "http.request",
            "body": content,
            "more_body": False,
        }


async def test_after_its_end_it_is_heard_when_the_caller_goes_away() -> None:
    theirs = Coming([])
    body = Written(b"abc", theirs)
    await body.receive()
    waiting = asyncio.ensure_future(body.receive())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
