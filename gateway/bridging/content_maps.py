"""Contents in other words: what a provider's own maps make of a question, and of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from bridge.maps import ContentMap, MapFailed
from bridge.payload import BadPayload, read_json, write_json
from gateway.bridging.aside import UNKNOWN, aside
from gateway.bridging.exchange import Written, ask, asked_otherwise, broken, json_of, write
from gateway.bridging.model import JSON, Told
from gateway.calls.flows import Door, straight_to
from gateway.calls.model import Call
from gateway.calls.ports import Answer, Body, Carry

MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Maps:
    """Those of one operation; None: the content stays as it is."""

    request: ContentMap | None
    answer: ContentMap | None

    def asked(self, payload: object) -> object:
        """Raises MapFailed."""
        return payload if self.request is None else self.request.apply(payload)

    def answered(self, payload: object, call: Call) -> object:
        """Raises ProviderBroken: whatever is wrong between the answer and its map, is there."""
        if self.answer is None:
            return payload
        try:
            return self.answer.apply(payload)
        except MapFailed as failed:
            raise broken(call, f"answered what its own map cannot read: {failed.detail}") from None

    def asked_json(self, content: bytes) -> bytes:
        """Raises BadPayload, MapFailed."""
        return write_json(self.asked(read_json(content)))

    def told(self, told: Told, call: Call) -> Told:
        """A good answer as the map tells it; any other as it came. Raises ProviderBroken."""
        if self.answer is None or not told.good or not told.content:
            return told
        if not told.is_json:
            how = f"answered with {told.media_type or 'nothing'}, and its map takes JSON"
            raise broken(call, how)
        try:
            payload = read_json(told.content)
        except BadPayload as bad:
            raise broken(call, f"answered with bad JSON: {bad.detail}") from None
        kept = [one for one in told.headers if one[0] not in _OF_THE_CONTENT]
        content = write_json(self.answered(payload, call))
        return Told(told.status, (*kept, (b"content-type", JSON.encode())), content)


NONE = Maps(None, None)


def of(call: Call) -> Maps:
    """The maps of the operation that is called, by its name or as `METHOD /path`."""
    service = call.service
    assert service is not None
    found = service.maps.get(call.operation or "") or service.maps.get(call.alias or "")
    return NONE if found is None else _compiled(found.request, found.answer)


@lru_cache(maxsize=2_000)
def _compiled(request: str | None, answer: str | None) -> Maps:
    return Maps(
        None if request is None else ContentMap.read("request", request),
        None if answer is None else ContentMap.read("answer", answer),
    )


async def turn(call: Call, body: Body, door: Door) -> Carry:
    """REST to REST. Where the operation has no map, nothing is read and all streams as ever.

    Raises NotJson, BadPayload, MapFailed.
    """
    service = call.service
    assert service is not None
    maps = of(call)
    straight = straight_to(service, door)
    if maps is NONE:
        return straight
    content: bytes | None = None
    if maps.request is not None and not body.empty:
        came = await json_of(call, body, MOST_BYTES)
        content = await aside(UNKNOWN, lambda: maps.asked_json(came))

    async def carry(call: Call, body: Body, answer: Answer) -> None:
        inner = _asked(call, content)
        sent = body if content is None else Written(content, body)
        if maps.answer is None:
            await straight(inner, sent, answer)
            return
        told = await ask(inner, sent, straight)
        made = await aside(UNKNOWN, lambda: maps.told(told, call))
        kept = [one for one in made.headers if one[0] not in (b"content-type", b"content-length")]
        await write(answer, made.status, made.content_type, made.content, kept)

    return carry


def _asked(call: Call, content: bytes | None) -> Call:
    """What is asked of the content's form goes no further: it is another content."""
    kept = _CONDITIONS if content is not None else _CONDITIONS | _OF_A_BODY
    more = {n.decode(): v.decode("latin-1") for n, v in call.headers.items() if n in kept}
    content_type = JSON if content is not None else more.pop("content-type", "")
    return asked_otherwise(call, call.method, call.rest, call.query, content_type, more)


_CONDITIONS = frozenset(
    (b"accept", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since")
)
_OF_A_BODY = frozenset((b"content-type", b"content-encoding", b"content-language"))
_OF_THE_CONTENT = frozenset(
    (b"accept-ranges", b"content-encoding", b"content-length", b"content-range", b"content-type")
)
