"""One exchange with a provider in its own words: a body that is there, an answer taken whole.

It goes the way that every call goes (`gateway/calls/upstream.py`, `local.py`): with the same
headers of the hub's, the same bounds, patience and addresses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from starlette.types import Message, Receive

from gateway.bridging.model import BodyTooSlow, NotJson, Told, is_json, media_type_of
from gateway.calls.model import Call, Held
from gateway.calls.ports import Answer, Body, Carry, Words
from gateway.calls.refusals import BodyTooLarge, ProviderBroken
from roaming.refusal import Refusal

# A body that is read whole keeps nothing but memory waiting; longer than this it may not.
READ_WITHIN_S = 30.0
# The largest answer that is taken whole: what a caller may send, its answer may be.
MOST_ANSWER_BYTES = 10 * 1024 * 1024
# Of a caller's headers these are about its own body, or ask for one that we could not read.
_OF_THE_BODY = frozenset(
    (
        *(b"content-type", b"content-length", b"content-encoding", b"content-language"),
        *(b"transfer-encoding", b"accept", b"accept-encoding", b"range", b"soapaction"),
        *(b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"),
    )
)


async def whole(
    body: Body, most_bytes: int, held: Held | None = None, *, within_s: float = READ_WITHIN_S
) -> bytes:
    """All of a body. Raises BodyTooLarge, BodyTooSlow, CallerGone, and what `held` raises."""
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(within_s):
            while piece := await body.read():
                size += len(piece)
                if size > most_bytes:
                    raise BodyTooLarge(
                        f"the body has more than {most_bytes} bytes",
                        field="body",
                        value=size,
                        rule=f"at most {most_bytes} bytes here",
                    )
                if held is not None:
                    held.more(len(piece))
                pieces.append(piece)
    except TimeoutError:
        raise BodyTooSlow(
            "the body did not come whole", field="body", rule=f"within {within_s:g} seconds"
        ) from None
    return b"".join(pieces)


async def json_of(call: Call, body: Body, most_bytes: int) -> bytes:
    """A body that is announced as JSON, or b"". Raises NotJson, and what `whole` raises."""
    content = await whole(body, most_bytes, call.holding)
    announced = call.headers.get(b"content-type", b"").decode("latin-1")
    coding = call.headers.get(b"content-encoding", b"identity")
    if content and (not is_json(media_type_of(announced)) or coding.lower() != b"identity"):
        raise NotJson(
            "the body is not announced as JSON",
            field="Content-Type",
            value=announced[:100],
            rule="application/json, not compressed",
        )
    return content


def asked_otherwise(
    call: Call, method: str, path: str, query: str, content_type: str, more: Mapping[str, str]
) -> Call:
    """The call as the provider is asked: what the caller said of its own body is left out."""
    headers = {name: value for name, value in call.headers.items() if name not in _OF_THE_BODY}
    if content_type:
        headers[b"content-type"] = content_type.encode()
    # Without a word on it any coding would do (RFC 9110, section 12.5.3).
    headers[b"accept-encoding"] = b"identity"
    headers |= {name.lower().encode(): value.encode("latin-1") for name, value in more.items()}
    scope = {
        **call.scope,
        "method": method,
        "query_string": query.encode("ascii"),
        "headers": list(headers.items()),
    }
    return replace(
        call, scope=scope, method=method, rest=path, query=query, headers=headers, status=0
    )


async def ask(call: Call, body: Body, carry: Carry) -> Told:
    """What the provider answers.

    Raises what the way there raises, and ProviderBroken for an answer longer than any may be.
    """
    answer = _Taken(call)
    await carry(call, body, answer)
    return answer.told()


class Written:
    """A body that is there already; `theirs` tells when the caller has gone away."""

    __slots__ = ("_content", "_theirs", "empty")

    def __init__(self, content: bytes, theirs: Body) -> None:
        self._content = content
        self._theirs = theirs
        self.empty = not content

    @property
    def receive(self) -> Receive:
        return self._receive

    async def small(self, most_bytes: int) -> bytes | None:
        # However long: it is in memory, and goes out with its length, which old servers insist on.
        return await self.read()

    async def read(self) -> bytes:
        content, self._content = self._content, b""
        return content

    async def gone(self) -> None:
        await self._theirs.gone()

    async def _receive(self) -> Message:
        if self.empty or self._content:
            self.empty = False
            return {"type": "http.request", "body": await self.read(), "more_body": False}
        await self.gone()
        return {"type": "http.disconnect"}


class _Taken:
    """An answer that is taken whole."""

    words: Words

    def __init__(self, call: Call) -> None:
        self._call = call
        self._headers: tuple[tuple[bytes, bytes], ...] = ()
        self._pieces: list[bytes] = []
        self._size = 0

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._call.status = status
        self._headers = tuple(headers)

    async def write(self, chunk: bytes, *, more: bool) -> None:
        self._size += len(chunk)
        if self._size > MOST_ANSWER_BYTES:
            raise broken(self._call, f"answered more than {MOST_ANSWER_BYTES} bytes")
        if self._call.holding is not None:
            self._call.holding.more(len(chunk))
        self._pieces.append(chunk)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self.start(message["status"], list(message.get("headers", ())))
        elif message["type"] == "http.response.body":
            await self.write(message.get("body", b""), more=message.get("more_body", False))

    async def refuse(self, refusal: Refusal) -> None:
        raise refusal

    def told(self) -> Told:
        return Told(self._call.status, self._headers, b"".join(self._pieces))


def broken(call: Call, how: str) -> ProviderBroken:
    """The provider did answer, and nobody can make anything of it."""
    assert call.service is not None
    provider = call.service.provider
    return ProviderBroken(
        f"{call.service_name} of {provider} {how}",
        rule=f"ask {provider}; it may have done the work",
    )


async def write(
    answer: Answer,
    status: int,
    content_type: str,
    content: bytes,
    more: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """An answer in one piece; one without content has no type either."""
    headers = [(b"content-length", str(len(content)).encode()), *more]
    if content:
        headers.append((b"content-type", content_type.encode()))
    await answer.start(status, headers)
    await answer.write(content, more=False)
