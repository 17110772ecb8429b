"""The nodes of a compiled interface: each writes a value of JSON as XML, and reads XML as JSON.

They are made once for an interface (`xsd_compiler.py`) and hold all that a message needs, so that
writing is joining prepared strings and reading is one look into a table for each element.

How XML looks in JSON is told in `bridge/README.md`. `strict` is for what a caller says; a
provider's answer is read tolerantly: what it adds is left out, and of a type's restrictions only
enumerations bind it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from lxml import etree

from bridge.simple_values import Simple, built_in, wrong
from kit import foreign_xml
from kit.foreign_xml import NotXml

XSI = "http://www.w3.org/2001/XMLSchema-instance"
_NIL = f"{{{XSI}}}nil"
_STRING = built_in("string")
_IN_TEXT = re.compile("[&<>\r]")
_IN_ATTRIBUTE = re.compile('[&<>"\r\n\t]')
_CLARK = re.compile(r"\{([^{}]+)\}([^{}:\s]+)")
_MOST_XML_BYTES = 4 * 1024 * 1024


class Codec(Protocol):
    """What stands between an element's start and its end."""

    def write(self, out: list[str], start: str, end: str, value: object) -> None: ...

    def read(self, node: etree._Element, strict: bool) -> object: ...


def escaped(text: str) -> str:
    if _IN_TEXT.search(text) is None:
        return text
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#13;")


def escaped_attribute(text: str) -> str:
    if _IN_ATTRIBUTE.search(text) is None:
        return text
    text = escaped(text).replace('"', "&quot;")
    return text.replace("\n", "&#10;").replace("\t", "&#9;")


@dataclass(slots=True)
class Element:
    """`tag` as lxml tells it; `start` and `end` as they are written, `<n0:id` and `</n0:id>`."""

    key: str
    tag: str
    start: str
    end: str
    codec: Codec
    nillable: bool = False
    documentation: str = ""

    def write(self, out: list[str], value: object) -> None:
        if value is not None:
            self.codec.write(out, self.start, self.end, value)
        elif self.nillable:
            out.append(f'{self.start} xsi:nil="true"/>')
        else:
            raise wrong(None, "not null: a value, or nothing at all where it may be left out")

    def read(self, node: etree._Element, strict: bool) -> object:
        if node.get(_NIL) in ("true", "1") and (self.nillable or not strict):
            return None
        return self.codec.read(node, strict)


@dataclass(slots=True)
class Text:
    """An element of a simple type."""

    simple: Simple

    def write(self, out: list[str], start: str, end: str, value: object) -> None:
        out.append(f"{start}>{escaped(self.simple.write(value))}{end}")

    def read(self, node: etree._Element, strict: bool) -> object:
        return self.simple.read(text_of(node), strict)


def text_of(node: etree._Element) -> str:
    if len(node):
        raise wrong("elements", "text without elements in it")
    return node.text or ""


@dataclass(slots=True)
class Name:
    """An element that holds a qualified name: in JSON with its namespace, "{urn:x}name"."""

    simple: Simple

    def write(self, out: list[str], start: str, end: str, value: object) -> None:
        text = self.simple.write(value)
        clark = _CLARK.fullmatch(text)
        if clark is None:
            out.append(f"{start}>{escaped(text)}{end}")
        else:
            namespace = escaped_attribute(clark[1])
            out.append(f'{start} xmlns:q="{namespace}">q:{escaped(clark[2])}{end}')

    def read(self, node: etree._Element, strict: bool) -> object:
        return self.simple.read(clark_name(node, text_of(node)), strict)


def clark_name(node: etree._Element, name: str) -> str:
    """What a prefixed name in a text means where it stands."""
    prefix, _, local = name.strip().rpartition(":")
    namespace = node.nsmap.get(prefix or None)
    return f"{{{namespace}}}{local}" if namespace else local


@dataclass(slots=True)
class Untyped:
    """xsd:anyType and mixed content: a string, or {"$xml": what stands between start and end}."""

    def write(self, out: list[str], start: str, end: str, value: object) -> None:
        if isinstance(value, Mapping):
            if value.keys() != {"$xml"}:
                raise wrong(value, 'a string, or an object with "$xml" alone')
            out.append(f"{start}>{inner_xml(value['$xml'])}{end}")
        elif isinstance(value, bool):
            out.append(f"{start}>{'true' if value else 'false'}{end}")
        elif isinstance(value, str | int | float | Decimal):
            out.append(f"{start}>{escaped(_STRING.write(str(value)))}{end}")
        else:
            raise wrong(value, 'a string, or an object with "$xml"')

    def read(self, node: etree._Element, strict: bool) -> object:
        return {"$xml": inner_of(node)} if len(node) else node.text or ""


def inner_xml(value: object) -> str:
    """What a caller gives as XML between two tags, checked and written anew."""
    if not isinstance(value, str):
        raise wrong(value, "XML, as a string")
    return inner_of(_parsed(f"<x>{value}</x>"))


def whole_xml(value: object, may_stand: Callable[[str], bool]) -> str:
    """One element that a caller gives as XML, of a namespace that may stand there, checked and
    written anew."""
    if not isinstance(value, str):
        raise wrong(value, "one XML element, as a string")
    node = _parsed(value)
    if not may_stand(namespace_of(node)):
        raise wrong(value, "an element of a namespace that the schema allows here")
    return told_as_xml(node)


def namespace_of(node: etree._Element) -> str:
    return etree.QName(node).namespace or ""


def _parsed(text: str) -> etree._Element:
    try:
        return foreign_xml.read(text.encode(), most_bytes=_MOST_XML_BYTES)
    except (NotXml, UnicodeEncodeError) as error:
        raise wrong(text, f"well-formed XML: {error}") from None


def told_as_xml(node: etree._Element) -> str:
    """An element as a string that stands alone."""
    alone = copy.deepcopy(node)
    alone.tail = None
    etree.cleanup_namespaces(alone)
    return str(etree.tostring(alone, encoding="unicode"))


def inner_of(node: etree._Element) -> str:
    return escaped(node.text or "") + "".join(
        told_as_xml(child) + escaped(child.tail or "") for child in node
    )
