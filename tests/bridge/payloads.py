"""Payloads by hypothesis: whatever an interface allows, made from its compiled nodes."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from bridge.complex_node import Complex
from bridge.content_model import Either, Group, Items, Member, Step
from bridge.payload import BadPayload
from bridge.simple_values import Simple
from bridge.xml_nodes import Codec, Element, Name, Text

_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
)
_MOST_DEEP = 6


@st.composite
def payloads(draw: st.DrawFn, codec: Codec, derived: bool = True, depth: int = 0) -> Any:
    """`derived`: with types that are derived from those that the schema names."""
    if isinstance(codec, Text | Name):
        return draw(values(codec.simple))
    if not isinstance(codec, Complex):
        return draw(_TEXT)
    chosen = codec
    told: dict[str, Any] = {}
    if codec.variants and (codec.abstract or (derived and draw(st.booleans()))):
        variant = draw(st.sampled_from(sorted(codec.variants.values(), key=lambda one: one.name)))
        chosen = variant.codec
        told["$type"] = variant.name
    for attribute in chosen.attributes:
        if attribute.required or draw(st.booleans()):
            told[attribute.key] = draw(values(attribute.simple))
    if chosen.text is not None:
        told["value"] = draw(values(chosen.text))
    elif chosen.mixed:
        told["$xml"] = draw(st.sampled_from(["", "x", "a<b>c</b>d"]))
    else:
        for step in chosen.content.steps:
            told.update(draw(_members(step, derived, depth + 1)))
    return told


@st.composite
def _members(draw: st.DrawFn, step: Step, derived: bool, depth: int) -> dict[str, Any]:
    if isinstance(step, Member):
        if step.least == 0 and (depth > _MOST_DEEP or draw(st.booleans())):
            return {}
        one = _element(step.element, derived, depth)
        if not step.many:
            return {step.key: draw(one)}
        most = max(step.least, 1) + (0 if depth > 2 else 1)
        most = most if step.most is None else min(most, step.most)
        return {step.key: draw(st.lists(one, min_size=max(step.least, 1), max_size=most))}
    if isinstance(step, Either):
        return draw(_members(draw(st.sampled_from(step.branches)), derived, depth))
    if isinstance(step, Group):
        if step.optional and (depth > _MOST_DEEP or draw(st.booleans())):
            return {}
        told: dict[str, Any] = {}
        for inner in step.steps:
            told.update(draw(_members(inner, derived, depth)))
        return told
    if isinstance(step, Items):
        item = _members(step.group, derived, depth).filter(bool)
        most = step.least + 2 if step.most is None else step.most
        found = draw(st.lists(item, min_size=step.least, max_size=min(most, step.least + 2)))
        return {step.key: found} if found else {}
    return {}


@st.composite
def _element(draw: st.DrawFn, element: Element, derived: bool, depth: int) -> Any:
    if element.nillable and draw(st.booleans()):
        return None
    return draw(payloads(element.codec, derived, depth))


def values(simple: Simple) -> st.SearchStrategy[Any]:
    """Values that the type takes, in the spelling in which it is read back."""

    def stays(value: Any) -> bool:
        try:
            return bool(simple.read(simple.write(value), True) == value)
        except BadPayload:
            return False

    return _raw(simple.schema, simple.kind).filter(stays)


def _raw(schema: dict[str, Any], kind: str) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if kind == "dateTime":
        times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001
        return times.map(lambda one: one.strftime("%Y-%m-%dT%H:%M:%SZ"))
    if "pattern" in schema:
        # In JSON Schema \d is an ASCII digit; in XSD, and so for us, one of any script.
        return st.from_regex(re.compile(schema["pattern"], re.ASCII), fullmatch=True)
    if schema.get("contentEncoding") == "base64":
        return st.binary(max_size=20).map(lambda one: base64.b64encode(one).decode())
    if kind in ("float", "double"):
        number = st.floats(-1e9, 1e9)
        return number | st.sampled_from(["INF", "-INF"])
    match schema.get("type"):
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            low, high = schema.get("minimum", -1000), schema.get("maximum", 1000)
            return st.decimals(low, high, places=3).map(Decimal.normalize)
        case "array":
            return st.lists(_raw(schema["items"], ""), max_size=3)
    if "anyOf" in schema:
        return st.one_of([_raw(one, "") for one in schema["anyOf"]])
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    most = low + 10 if high is None else min(high, low + 10)
    alphabet = st.characters(
        codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"
    )
    return st.text(alphabet, min_size=low, max_size=most)
