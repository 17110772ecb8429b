"""The simple types of a schema, restrictions and all, made into `Simple`s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import xmlschema.names as nm
from elementpath.regex import RegexError, translate_pattern
from pydantic_core import SchemaError, SchemaValidator, core_schema
from xmlschema.validators import XsdAtomicRestriction, XsdList, XsdSimpleType, XsdUnion

from bridge import simple_values
from bridge.simple_values import Simple, compared, plain, type_of_check, wrong
from bridge.xsd_reading import XSD, documentation_of, patterns_of


class SimpleTypes:
    """Each type is made once."""

    def __init__(self) -> None:
        self._made: dict[int, Simple] = {}

    def of(self, xsd_type: XsdSimpleType) -> Simple:
        made = self._made.get(id(xsd_type))
        if made is None:
            made = self._made[id(xsd_type)] = self._make(xsd_type)
            told = documentation_of(xsd_type)
            if told and not str(xsd_type.name).startswith(f"{{{XSD}}}"):
                made.schema["description"] = told
        return made

    def _make(self, xsd_type: Any) -> Simple:
        if isinstance(xsd_type, XsdUnion):
            return simple_values.union_of(self.of(one) for one in xsd_type.member_types)
        if isinstance(xsd_type, XsdList):
            return simple_values.list_of(self.of(xsd_type.item_type))
        name = xsd_type.name or ""
        if name.startswith(f"{{{XSD}}}"):
            local = name.rpartition("}")[2]
            if local in ("NMTOKENS", "IDREFS", "ENTITIES"):
                return simple_values.list_of(simple_values.built_in(local[:-1]))
            return simple_values.built_in(local)
        base = xsd_type.base_type
        if isinstance(xsd_type, XsdAtomicRestriction) and base is not None:
            if not base.is_simple():
                base = base.content
            return _restricted(xsd_type, self.of(base))
        return simple_values.built_in("string")


def _restricted(xsd_type: Any, base: Simple) -> Simple:
    schema = dict(base.schema)
    checks = list(base.checks)
    firm = list(base.firm_checks)
    facets = dict(xsd_type.facets)
    collapses = base.collapses
    space = facets.get(nm.XSD_WHITE_SPACE)
    if space is not None:
        collapses = collapses or space.elem.get("value") == "collapse"
    for tag, facet in facets.items():
        if tag == nm.XSD_ENUMERATION:
            check = _enumeration([one.get("value", "") for one in facet], base, schema)
            checks.append(check)
            firm.append(check)
        elif tag in _FACETS:
            checks.append(_FACETS[tag](facet.elem.get("value", "0"), base, schema))
    patterns = patterns_of([xsd_type.elem, *xsd_type.elem])
    if patterns:
        checks.extend(_pattern(patterns, schema))
    return Simple(base.kind, base.text, base.value, collapses, tuple(checks), tuple(firm), schema)


def _enumeration(allowed: list[str], base: Simple, schema: dict[str, object]) -> type_of_check:
    values = [base.read(one, False) for one in allowed]
    said = ", ".join(allowed[:30]) + (", …" if len(allowed) > 30 else "")
    schema["enum"] = [plain(one) for one in values]
    rule = f"one of: {said}"
    try:
        known: Any = frozenset(values)
    except TypeError:
        known = values

    def check(value: object, text: str) -> None:
        if value not in known:
            raise wrong(value, rule)

    return check


def _pattern(patterns: list[str], schema: dict[str, object]) -> list[type_of_check]:
    """In an engine that takes time in proportion to the text. What it has no words for is told in
    the schema, and not checked."""
    try:
        translated = [
            translate_pattern(one, back_references=False, lazy_quantifiers=False, anchors=False)
            for one in patterns
        ]
    except (RegexError, IndexError, ValueError, OverflowError):
        return []
    pattern = "|".join(one.removesuffix(r"(?!\n\Z)") for one in translated)
    if "pattern" in schema:
        schema["allOf"] = [*schema.get("allOf", []), {"pattern": pattern}]  # type: ignore[misc]
    else:
        schema["pattern"] = pattern
    try:
        validator = SchemaValidator(
            core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")
        )
    except SchemaError:
        return []
    matches = validator.isinstance_python
    rule = "of this pattern: " + " or ".join(patterns)

    def check(value: object, text: str) -> None:
        if not matches(text):
            raise wrong(value, rule[:500])

    return [check]


def _bound(
    word: str, keyword: str, holds: Callable[[Any, Any], bool]
) -> Callable[[str, Simple, dict[str, object]], type_of_check]:
    def make(limit: str, base: Simple, schema: dict[str, object]) -> type_of_check:
        bound = compared(base.value(limit.strip()))
        if bound is not None:
            schema[keyword] = plain(bound)

        def check(value: object, text: str) -> None:
            number = compared(value)
            if bound is not None and number is not None and not holds(number, bound):
                raise wrong(value, f"{word} {limit}")

        return check

    return make


def _length(
    word: str, keywords: tuple[str, ...], holds: Callable[[int, int], bool]
) -> Callable[[str, Simple, dict[str, object]], type_of_check]:
    def make(limit: str, base: Simple, schema: dict[str, object]) -> type_of_check:
        bound = int(limit)
        listed = base.schema.get("type") == "array"
        if listed or base.kind not in ("base64Binary", "hexBinary", "QName"):
            for keyword in keywords:
                schema[keyword + ("Items" if listed else "Length")] = bound

        def check(value: object, text: str) -> None:
            if not holds(_size(base, text, listed), bound):
                raise wrong(value, f"{word} {bound} long")

        return check

    return make


def _size(base: Simple, text: str, listed: bool) -> int:
    if listed:
        return len(text.split())
    if base.kind == "hexBinary":
        return len(text) // 2
    if base.kind == "base64Binary":
        return len(text) // 4 * 3 - text[-2:].count("=")
    return len(text)


def _digits(
    word: str, of_fraction: bool
) -> Callable[[str, Simple, dict[str, object]], type_of_check]:
    def make(limit: str, base: Simple, schema: dict[str, object]) -> type_of_check:
        most = int(limit)
        schema.setdefault("description", f"at most {most} {word}")

        def check(value: object, text: str) -> None:
            whole, _, fraction = text.lstrip("+-").partition(".")
            fraction = fraction.rstrip("0")
            if len(fraction) + (0 if of_fraction else len(whole.lstrip("0"))) > most:
                raise wrong(value, f"at most {most} {word}")

        return check

    return make


_FACETS: dict[str, Callable[[str, Simple, dict[str, object]], type_of_check]] = {
    nm.XSD_MIN_INCLUSIVE: _bound("at least", "minimum", lambda one, bound: one >= bound),
    nm.XSD_MAX_INCLUSIVE: _bound("at most", "maximum", lambda one, bound: one <= bound),
    nm.XSD_MIN_EXCLUSIVE: _bound("above", "exclusiveMinimum", lambda one, bound: one > bound),
    nm.XSD_MAX_EXCLUSIVE: _bound("below", "exclusiveMaximum", lambda one, bound: one < bound),
    nm.XSD_LENGTH: _length("exactly", ("min", "max"), lambda size, bound: size == bound),
    nm.XSD_MIN_LENGTH: _length("at least", ("min",), lambda size, bound: size >= bound),
    nm.XSD_MAX_LENGTH: _length("at most", ("max",), lambda size, bound: size <= bound),
    nm.XSD_TOTAL_DIGITS: _digits("digits", False),
    nm.XSD_FRACTION_DIGITS: _digits("digits after the point", True),
}
