"""Interfaces: read once, for all who wait; a bad one harms nobody else."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from bridge.document import BadDocument, Document, Kind
from gateway.bridging.interfaces import Interfaces
from gateway.bridging.model import InterfaceUnreadable
from gateway.calls.model import Service
from tests.gateway.calls.fakes import PROVIDER


def service(name: str = "weather", digest: bytes = b"1", major: int = 1) -> Service:
    return Service(name, major, PROVIDER, "https://weather.example", interface=digest)


@dataclass
class Shelf:
    """Documents by their digest, which is what stands in them. `away`: so many times."""

    away: int = 0
    loaded: list[bytes] = field(default_factory=list)

    async def load(self, digest: bytes) -> Document:
        self.loaded.append(digest)
        if self.away:
            self.away -= 1
            raise ConnectionError("the database is away")
        return Document(Kind.WSDL, "a", {"a": digest})


@dataclass
class Reader:
    """Says what it read, once `gate` is open."""

    gate: threading.Event = field(default_factory=threading.Event)
    read: list[bytes] = field(default_factory=list)

    def __call__(self, service: Service, document: Document) -> str:
        assert self.gate.wait(10)
        content = document.files["a"]
        self.read.append(content)
        if content == b"bad":
            raise BadDocument("it breaks off", field="a", rule="a whole document")
        if content == b"bug":
            raise KeyError("no such type")
        return f"{service.name} {content.decode()}"


@pytest.fixture
def reader() -> Reader:
    reader = Reader()
    reader.gate.set()
    return reader


async def test_many_first_callers_share_one_reading(reader: Reader) -> None:
    reader.gate.clear()
    shelf = Shelf()
    interfaces = Interfaces(shelf, reader)
    waiting = [asyncio.create_task(interfaces.of(service())) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    reader.gate.set()
    found = await asyncio.gather(*waiting[1:])
    assert set(found) == {"weather 1"}
    assert await interfaces.of(service()) == "weather 1"
    assert (shelf.loaded, reader.read) == ([b"1"], [b"1"])


async def test_another_document_of_the_same_service_is_read_anew(reader: Reader) -> None:
    interfaces = Interfaces(Shelf(), reader)
    assert await interfaces.of(service(digest=b"1")) == "weather 1"
    assert await interfaces.of(service(digest=b"2")) == "weather 2"


@pytest.mark.parametrize("digest", [b"bad", b"bug"])
async def test_a_document_that_cannot_be_read_harms_its_own_service_alone(
    reader: Reader, digest: bytes
) -> None:
    interfaces = Interfaces(Shelf(), reader)
    for _ in range(2):
        with pytest.raises(InterfaceUnreadable) as refused:
            await interfaces.of(service("broken", digest))
    assert "broken" in refused.value.detail
    assert refused.value.rule
    assert reader.read == [digest], "what failed once fails again, and is not tried again"
    assert await interfaces.of(service()) == "weather 1"


async def test_where_the_database_is_away_the_next_caller_tries_again(reader: Reader) -> None:
    interfaces = Interfaces(Shelf(away=1), reader)
    with pytest.raises(InterfaceUnreadable):
        await interfaces.of(service())
    assert await interfaces.of(service()) == "weather 1"


async def test_nobody_waits_for_ever_and_the_reading_goes_on(reader: Reader) -> None:
    reader.gate.clear()
    interfaces = Interfaces(Shelf(), reader, wait_s=0.01)
    with pytest.raises(InterfaceUnreadable, match="still being read"):
        await interfaces.of(service())
    task = interfaces.prepare(service())
    reader.gate.set()
    assert await task == "weather 1"
    assert await interfaces.of(service()) == "weather 1"
    assert reader.read == [b"1"]


async def test_only_so_many_are_kept_and_those_last_used_stay(reader: Reader) -> None:
    interfaces = Interfaces(Shelf(), reader, most=2)
    for digest in (b"1", b"2", b"1", b"3", b"1", b"2"):
        await interfaces.of(service(digest=digest))
    assert reader.read == [b"1", b"2", b"3", b"2"]
