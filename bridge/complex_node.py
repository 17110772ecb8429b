"""A complex type: attributes, and text or elements; and the types derived from it (xsi:type)."""

from __future__ import annotations

from dataclasses import dataclass, field

from lxml import etree

from bridge.content_model import (
    ABSENT,
    Group,
    JsonObject,
    Taker,
    Wildcard,
    missing,
    refuse_unknown,
)
from bridge.payload import BadPayload
from bridge.simple_values import Simple, built_in, plain, wrong
from bridge.xml_nodes import (
    XSI,
    clark_name,
    escaped,
    escaped_attribute,
    inner_of,
    inner_xml,
    text_of,
)

_TYPE = f"{{{XSI}}}type"
_STRING = built_in("string")


@dataclass(slots=True)
class Attribute:
    """`tag` as lxml tells it, `written` with its prefix."""

    key: str
    tag: str
    written: str
    simple: Simple
    required: bool
    default: str | None = None

    def schema(self) -> dict[str, object]:
        """A default is told, and never filled in: what nobody said is not passed on."""
        if self.default is None:
            return dict(self.simple.schema)
        return {**self.simple.schema, "default": plain(self.simple.value(self.default))}


@dataclass(slots=True)
class Variant:
    """A type derived from another, as "$type" names it in JSON and xsi:type in XML."""

    name: str
    tag: str
    written: str
    codec: Complex


@dataclass(slots=True)
class Complex:
    """Filled after it is made, since a type may contain itself: then `ready` it."""

    name: str
    abstract: bool = False
    documentation: str = ""
    attributes: tuple[Attribute, ...] = ()
    any_attribute: bool = False
    text: Simple | None = None
    mixed: bool = False
    content: Group = field(default_factory=lambda: Group((), False))
    anything: Wildcard | None = None
    variants: dict[str, Variant] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    _takers: dict[str, Taker] = field(default_factory=dict)
    _attributes: dict[str, Attribute] = field(default_factory=dict)
    _by_tag: dict[str, Variant] = field(default_factory=dict)

    def ready(self) -> None:
        self._takers = {tag: taker for tag, taker, _ in self.content.takers()}
        self._attributes = {one.tag: one for one in self.attributes}
        keys = {one.key for one in self.attributes} | set(self.content.keys)
        if self.text is not None:
            keys.add("value")
        if self.mixed:
            keys.add("$xml")
        self.known = frozenset(keys)

    def has_variants(self, variants: list[Variant]) -> None:
        self.variants = {one.name: one for one in variants}
        self._by_tag = {one.tag: one for one in variants}
        self.known |= {"$type"}
        for one in variants:
            one.codec.known |= {"$type"}

    # --- JSON to XML ---

    def write(self, out: list[str], start: str, end: str, value: object) -> None:
        if not isinstance(value, dict):
            raise wrong(value, "an object")
        if self.variants and "$type" in value:
            name = value["$type"]
            chosen = self.variants.get(name) if isinstance(name, str) else None
            if chosen is None:
                rule = "one of: " + ", ".join(sorted(self.variants))
                raise BadPayload("no such type", value=name, rule=rule).below("$type")
            chosen.codec._write(out, f'{start} xsi:type="{chosen.written}"', end, value)
        elif self.abstract:
            rule = "one of: " + ", ".join(sorted(self.variants))
            raise missing(rule).below("$type")
        else:
            self._write(out, start, end, value)

    def _write(self, out: list[str], start: str, end: str, value: JsonObject) -> None:
        if not value.keys() <= self.known:
            start += self._unknown(value)
        for attribute in self.attributes:
            start += _written(attribute, value)
        if self.text is not None:
            text = _member(value, "value")
            if text is None:
                out.append(f'{start} xsi:nil="true"/>')
                return
            try:
                out.append(f"{start}>{escaped(self.text.write(text))}{end}")
            except BadPayload as bad:
                raise bad.below("value") from None
            return
        if self.mixed:
            try:
                out.append(f"{start}>{inner_xml(_member(value, '$xml'))}{end}")
            except BadPayload as bad:
                raise bad.below("$xml") from None
            return
        out.append(start + ">")
        for step in self.content.steps:
            step.write(out, value)
        out.append(end)

    def _unknown(self, value: JsonObject) -> str:
        """Attributes that xsd:anyAttribute lets in, written; all else is refused."""
        if not self.any_attribute:
            refuse_unknown(value, self.known)
        written = ""
        others = [key for key in value if key not in self.known]
        for place, key in enumerate(others):
            if not key.startswith("@") or not isinstance(value[key], str):
                refuse_unknown(value, self.known)
            text = escaped_attribute(_STRING.write(value[key]))
            try:
                name = etree.QName(key[1:])
            except ValueError:
                raise BadPayload("no name", value=key, rule="@ and an XML name") from None
            if name.namespace:
                namespace = escaped_attribute(name.namespace)
                written += f' xmlns:a{place}="{namespace}" a{place}:{name.localname}="{text}"'
            else:
                written += f' {name.localname}="{text}"'
        return written

    # --- XML to JSON ---

    def read(self, node: etree._Element, strict: bool) -> object:
        if self.variants:
            told = node.get(_TYPE)
            chosen = self._by_tag.get(clark_name(node, told)) if told else None
            if chosen is not None:
                return {"$type": chosen.name, **chosen.codec._read(node, strict)}
            if self.abstract or (told and strict):
                rule = "xsi:type with one of: " + ", ".join(sorted(self.variants))
                raise BadPayload("no such type", value=told, rule=rule).below("$type")
        return self._read(node, strict)

    def _read(self, node: etree._Element, strict: bool) -> JsonObject:
        obj: JsonObject = {}
        if self.attributes or self.any_attribute:
            self._read_attributes(node, obj, strict)
        if self.text is not None:
            try:
                obj["value"] = self.text.read(text_of(node), strict)
            except BadPayload as bad:
                raise bad.below("value") from None
        elif self.mixed:
            obj["$xml"] = inner_of(node)
        else:
            self._read_elements(node, obj, strict)
        return obj

    def _read_elements(self, node: etree._Element, obj: JsonObject, strict: bool) -> None:
        takers = self._takers
        for child in node:
            taker = takers.get(child.tag)
            if taker is not None:
                taker.take(child, obj, strict)
            elif self.anything is not None:
                self.anything.take(child, obj, strict)
            elif strict:
                refuse_unknown({etree.QName(child).localname: None}, frozenset(takers))
        for step in self.content.steps:
            step.check(obj)

    def _read_attributes(self, node: etree._Element, obj: JsonObject, strict: bool) -> None:
        for tag, text in node.attrib.items():
            attribute = self._attributes.get(str(tag))
            if attribute is not None:
                try:
                    obj[attribute.key] = attribute.simple.read(str(text), strict)
                except BadPayload as bad:
                    raise bad.below(attribute.key) from None
            elif self.any_attribute and not str(tag).startswith(f"{{{XSI}}}"):
                obj[f"@{tag!s}"] = str(text)
        for attribute in self.attributes:
            if attribute.required and attribute.key not in obj:
                raise missing(f"{attribute.key} is required").below(attribute.key)


def _member(value: JsonObject, key: str) -> object:
    if key not in value:
        raise missing(f"{key} is required").below(key)
    return value[key]


def _written(attribute: Attribute, value: JsonObject) -> str:
    one = value.get(attribute.key, ABSENT)
    if one is ABSENT:
        if attribute.required:
            raise missing(f"{attribute.key} is required").below(attribute.key)
        return ""
    try:
        return f' {attribute.written}="{escaped_attribute(attribute.simple.write(one))}"'
    except BadPayload as bad:
        raise bad.below(attribute.key) from None
