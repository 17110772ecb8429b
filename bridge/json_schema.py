"""JSON Schema (2020-12, as OpenAPI 3.1 has it) of what an interface's messages look like in JSON.

Named types become components; all else stands where it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.complex_node import Complex
from bridge.content_model import Either, Group, Items, Member, Step, Wildcard
from bridge.xml_nodes import Codec, Element, Name, Text

Schema = dict[str, Any]
_XML = "XML, as a string that stands alone"


class JsonSchemas:
    """Gathers `components` while it is asked for schemas."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._names: dict[int, str] = {}
        # Codecs are held so that no other takes an id.
        self._held: list[Complex] = []

    def element(self, element: Element) -> Schema:
        schema = self.codec(element.codec)
        if element.nillable:
            schema = {"anyOf": [schema, {"type": "null"}]}
        return _described(schema, element.documentation)

    def codec(self, codec: Codec) -> Schema:
        if isinstance(codec, Complex):
            return self._complex(codec)
        if isinstance(codec, Text | Name):
            return dict(codec.simple.schema)
        inner = {
            "type": "object",
            "properties": {"$xml": {"type": "string", "description": _XML}},
            "required": ["$xml"],
            "additionalProperties": False,
        }
        return {"anyOf": [{"type": ["string", "number", "boolean"]}, inner]}

    def _complex(self, codec: Complex) -> Schema:
        if not codec.name:
            return self.object(codec)
        name = self._names.get(id(codec))
        if name is None:
            name = self._named(codec)
            self.components[name] = {}
            self.components[name] = self._with_variants(codec, name)
        return {"$ref": f"#/components/schemas/{name}"}

    def _named(self, codec: Complex) -> str:
        name, count = codec.name, 1
        taken = set(self._names.values())
        while name in taken:
            count += 1
            name = f"{codec.name}{count}"
        self._names[id(codec)] = name
        self._held.append(codec)
        return name

    def _with_variants(self, codec: Complex, name: str) -> Schema:
        """A type that others extend is itself, unless abstract, or one of those, which say so."""
        others = [one for one in codec.variants.values() if one.codec is not codec]
        own = [one for one in codec.variants.values() if one.codec is codec]
        if not others:
            return self.object(codec)
        choices: list[Schema] = []
        if not codec.abstract:
            told = {"$type": {"enum": [one.name for one in own]}}
            choices.append(self.object(codec, told))
        for one in others:
            # Written out, not referred to: it may have variants of its own, by its own name.
            choices.append(self.object(one.codec, {"$type": {"const": one.name}}, ("$type",)))
        return _described({"anyOf": choices}, codec.documentation)

    def object(
        self,
        codec: Complex,
        more: Mapping[str, Schema] | None = None,
        required: Iterable[str] = (),
    ) -> Schema:
        """A type as an object, with `more` members than its own."""
        members: dict[str, Schema] = {one.key: one.schema() for one in codec.attributes}
        needed = [*required, *(one.key for one in codec.attributes if one.required)]
        conditions: list[Schema] = []
        if codec.text is not None:
            members["value"] = dict(codec.text.schema)
            needed.append("value")
        elif codec.mixed:
            members["$xml"] = {"type": "string", "description": _XML}
            needed.append("$xml")
        else:
            needed += self._steps(codec.content.steps, members, conditions)
        if "$type" in codec.known and "$type" not in (more or {}):
            members["$type"] = {"type": "string"}
        members.update(more or {})
        schema: Schema = {"type": "object", "properties": members, "additionalProperties": False}
        if codec.any_attribute:
            del schema["additionalProperties"]
            schema["patternProperties"] = {"^@": {"type": "string"}}
            schema["unevaluatedProperties"] = False
        if needed:
            schema["required"] = needed
        if conditions:
            schema["allOf"] = conditions
        return _described(schema, codec.documentation)

    def _steps(
        self, steps: Iterable[Step], members: dict[str, Schema], conditions: list[Schema]
    ) -> list[str]:
        """Adds to `members` and `conditions`; returns the members that are required."""
        required: list[str] = []
        for step in steps:
            if isinstance(step, Member):
                schema = self.element(step.element)
                members[step.key] = _many(schema, step.least, step.most) if step.many else schema
                required += [step.key] * (step.least > 0)
            elif isinstance(step, Items):
                members[step.key] = _many(self._item(step), step.least, step.most)
                required += [step.key] * (step.least > 0)
            elif isinstance(step, Wildcard):
                one = {"type": "string", "description": _XML}
                members[step.key] = _many(one, step.least, step.most)
                required += [step.key] * (step.least > 0)
            elif isinstance(step, Either):
                conditions.append(self._choice(step, members))
            elif isinstance(step, Group):
                inner: list[Schema] = []
                needed = self._steps(step.steps, members, inner)
                if step.optional:
                    if needed or inner:
                        whole = _all(needed, inner)
                        conditions.append({"anyOf": [_without(step.keys), whole]})
                else:
                    required += needed
                    conditions += inner
        return required

    def _item(self, items: Items) -> Schema:
        members: dict[str, Schema] = {}
        conditions: list[Schema] = []
        required = self._steps(items.group.steps, members, conditions)
        return {
            "type": "object",
            "properties": members,
            "additionalProperties": False,
            **_all(required, conditions),
        }

    def _choice(self, choice: Either, members: dict[str, Schema]) -> Schema:
        branches: list[Schema] = []
        for branch in choice.branches:
            inner: list[Schema] = []
            needed = self._steps(branch.steps, members, inner)
            others = choice.keys - branch.keys
            schema = _all(needed, inner)
            if others:
                schema = {"allOf": [schema, _without(others)]} if schema else _without(others)
            branches.append(schema)
        if choice.optional:
            branches.append(_without(choice.keys))
        return {"anyOf": branches}


def _all(required: list[str], conditions: list[Schema]) -> Schema:
    schema: Schema = {}
    if required:
        schema["required"] = required
    if conditions:
        schema["allOf"] = conditions
    return schema


def _without(keys: Iterable[str]) -> Schema:
    return {"not": {"anyOf": [{"required": [key]} for key in sorted(keys)]}}


def _many(schema: Schema, least: int, most: int | None) -> Schema:
    many: Schema = {"type": "array", "items": schema}
    if least:
        many["minItems"] = least
    if most is not None:
        many["maxItems"] = most
    return many


def _described(schema: Schema, documentation: str) -> Schema:
    return {**schema, "description": documentation} if documentation else schema
