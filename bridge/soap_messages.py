"""One direction of an operation: its body and its bound headers, between payload and XML.

The payload is what stands in the body's element (of RPC: an object of its parts). Bound headers
are the member "$headers"; a payload that is no object stands beside it as "value".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lxml import etree

from bridge.complex_node import Complex
from bridge.content_model import Group, Member
from bridge.payload import BadPayload
from bridge.simple_values import wrong
from bridge.soap_envelope import Parts
from bridge.wsdl_reading import Message, Part
from bridge.xml_nodes import Element
from bridge.xsd_compiler import Compiler, Prefixes

HEADERS = "$headers"


@dataclass(slots=True)
class MessageCodec:
    """`body` is None when the body is empty."""

    body: Element | None
    headers: tuple[Element, ...]
    header_tags: frozenset[str] = field(init=False)
    _headers: dict[str, Element] = field(init=False)

    def __post_init__(self) -> None:
        self._headers = {one.tag: one for one in self.headers}
        self.header_tags = frozenset(self._headers)

    @property
    def tag(self) -> str | None:
        """Of the body's element."""
        return None if self.body is None else self.body.tag

    @property
    def scalar(self) -> bool:
        """The payload is no object."""
        return self.body is not None and not isinstance(self.body.codec, Complex)

    def write(self, payload: object) -> tuple[str, str]:
        """(header's elements, body's) Raises BadPayload."""
        try:
            head = ""
            if self.headers and isinstance(payload, dict) and HEADERS in payload:
                head = self._write_headers(payload[HEADERS])
                payload = {key: one for key, one in payload.items() if key != HEADERS}
                if self.scalar:
                    payload = payload.get("value")
            if self.body is None:
                if payload not in (None, {}):
                    raise wrong(payload, "an empty object: the operation takes nothing")
                return head, ""
            out: list[str] = []
            self.body.write(out, payload)
            return head, "".join(out)
        except RecursionError:
            raise wrong(None, "a value that is not nested without end") from None

    def _write_headers(self, told: object) -> str:
        if not isinstance(told, dict):
            raise wrong(told, "an object of headers").below(HEADERS)
        known = {one.key: one for one in self.headers}
        out: list[str] = []
        for key, value in told.items():
            try:
                if key not in known:
                    rule = "one of: " + ", ".join(known)
                    raise BadPayload("no such header", value=key, rule=rule)
                known[key].write(out, value)
            except BadPayload as bad:
                raise bad.below(key).below(HEADERS) from None
        return "".join(out)

    def read(self, parts: Parts, *, strict: bool) -> object:
        """The payload. Raises BadPayload."""
        try:
            payload = self._read_body(parts.body, strict)
            if not self.headers or not parts.headers:
                return payload
            return self._with_headers(payload, parts, strict)
        except RecursionError:
            raise wrong(None, "elements that are not nested without end") from None

    def _read_body(self, body: tuple[etree._Element, ...], strict: bool) -> object:
        if self.body is None:
            return {}
        if not body or body[0].tag != self.body.tag or (strict and len(body) > 1):
            found = ", ".join(str(one.tag) for one in body[:3]) or "nothing"
            raise BadPayload("another body", value=found, rule=f"one element: {self.body.tag}")
        return self.body.read(body[0], strict)

    def _with_headers(self, payload: object, parts: Parts, strict: bool) -> object:
        found: dict[str, object] = {}
        for node in parts.headers:
            element = self._headers.get(node.tag)
            if element is not None:
                try:
                    found[element.key] = element.read(node, strict)
                except BadPayload as bad:
                    raise bad.below(element.key).below(HEADERS) from None
        if not found:
            return payload
        if isinstance(payload, dict) and not self.scalar:
            return {**payload, HEADERS: found}
        return {"value": payload, HEADERS: found}


@dataclass(frozen=True, slots=True)
class SoapOperation:
    """`style` is "document" or "rpc". One-way: nothing is answered but the HTTP status."""

    name: str
    style: str
    version: str
    soap_action: str
    documentation: str
    request: MessageCodec
    answer: MessageCodec | None
    faults: tuple[Element, ...]

    @property
    def one_way(self) -> bool:
        return self.answer is None


def compiled_message(message: Message, compiler: Compiler, prefixes: Prefixes) -> MessageCodec:
    """Raises BadDocument."""
    headers = tuple(_element(part, compiler) for part in message.headers)
    if message.wrapper is not None:
        members = tuple(Member(_element(part, compiler), 1, 1) for part in message.body)
        codec = Complex("", content=Group(members, False))
        codec.ready()
        written = prefixes.written(message.wrapper)
        wrapper = Element(message.wrapper, message.wrapper, f"<{written}", f"</{written}>", codec)
        return MessageCodec(wrapper, headers)
    if not message.body:
        return MessageCodec(None, headers)
    return MessageCodec(_element(message.body[0], compiler), headers)


def _element(part: Part, compiler: Compiler) -> Element:
    if part.element is not None:
        return compiler.global_element(part.element, part.file)
    return compiler.part(part.name, part.type or "", part.file)
