"""Answers of a service that comes to its end say so: `Deprecation` (RFC 9745), `Sunset` (RFC 8594).

Such a service's calls are carried aside (`Service.aside`); no other pays anything for it.
"""

from __future__ import annotations

from email.utils import format_datetime

from starlette.types import Message

from gateway.calls.model import Call, Service
from gateway.calls.ports import Answer, Body, Carry, Words
from roaming.refusal import Refusal


def telling_of_end(carry: Carry, service: Service | None) -> Carry:
    """The same way to a service; where it has a sunset, its answers tell of it."""
    if service is None or service.sunset is None:
        return carry
    told = headers_of(service)

    async def carry_and_tell(call: Call, body: Body, answer: Answer) -> None:
        await carry(call, body, TellingAnswer(answer, told))

    return carry_and_tell


def headers_of(service: Service) -> list[tuple[bytes, bytes]]:
    """When it was told, when it ends, and where the catalogue names its other versions."""
    assert service.sunset is not None
    catalogue = f"</marketplace/services/{service.name}>"
    told = [
        (b"sunset", format_datetime(service.sunset, usegmt=True).encode()),
        (b"link", f'{catalogue}; rel="deprecation", {catalogue}; rel="sunset"'.encode()),
    ]
    if service.deprecated_at is not None:
        told.append((b"deprecation", b"@%d" % service.deprecated_at.timestamp()))
    return told


class TellingAnswer:
    """An answer with further headers."""

    __slots__ = ("_answer", "_told")

    def __init__(self, answer: Answer, told: list[tuple[bytes, bytes]]) -> None:
        self._answer = answer
        self._told = told

    @property
    def words(self) -> Words:
        return self._answer.words

    @words.setter
    def words(self, words: Words) -> None:
        self._answer.words = words

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        await self._answer.start(status, [*headers, *self._told])

    async def write(self, chunk: bytes, *, more: bool) -> None:
        await self._answer.write(chunk, more=more)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *self._told]}
        await self._answer.send(message)

    async def refuse(self, refusal: Refusal) -> None:
        await self._answer.refuse(refusal)
