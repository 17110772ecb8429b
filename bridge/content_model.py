"""The content of a complex type, step by step: members, groups, choices, wildcards.

A step writes its members of a JSON object in the order of the schema. Reading takes the elements in
the order in which they come, each by its name, and then lets the steps check what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from lxml import etree

from bridge.payload import BadPayload
from bridge.simple_values import wrong
from bridge.xml_nodes import Element, namespace_of, told_as_xml, whole_xml

ABSENT: Any = object()
JsonObject = dict[str, Any]


def missing(rule: str) -> BadPayload:
    return BadPayload("something is missing", value=None, rule=rule)


class Step(Protocol):
    """A part of a content model, in the order of writing."""

    keys: frozenset[str]

    def write(self, out: list[str], obj: JsonObject) -> None: ...

    def check(self, obj: JsonObject) -> None:
        """What reading cannot see from one element: what is missing, or too many."""

    def takers(self) -> Iterator[tuple[str, Taker, frozenset[str]]]:
        """(tag, who takes it, keys that tell that an item is over when it comes)"""


class Taker(Protocol):
    def take(self, node: etree._Element, obj: JsonObject, strict: bool) -> None: ...


@dataclass(slots=True)
class Member:
    """An element of a content model, once or several times."""

    element: Element
    least: int
    most: int | None
    key: str = field(init=False)
    many: bool = field(init=False)
    keys: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.key = self.element.key
        self.many = self.most is None or self.most > 1
        self.keys = frozenset((self.key,))

    def write(self, out: list[str], obj: JsonObject) -> None:
        value = obj.get(self.key, ABSENT)
        if value is ABSENT:
            if self.least:
                raise missing(f"{self.key} is required").below(self.key)
        elif self.many:
            self._write_many(out, value)
        else:
            try:
                self.element.write(out, value)
            except BadPayload as bad:
                raise bad.below(self.key) from None

    def _write_many(self, out: list[str], values: object) -> None:
        if not isinstance(values, list):
            raise wrong(values, "an array").below(self.key)
        self._count(values)
        for place, value in enumerate(values):
            try:
                self.element.write(out, value)
            except BadPayload as bad:
                raise bad.below(place).below(self.key) from None

    def _count(self, values: list[object]) -> None:
        if len(values) < self.least or (self.most is not None and len(values) > self.most):
            most = "" if self.most is None else f" to {self.most}"
            raise BadPayload(
                "too few or too many",
                value=len(values),
                rule=f"{self.least}{most or ' or more'} of {self.key}",
            ).below(self.key)

    def check(self, obj: JsonObject) -> None:
        value = obj.get(self.key, ABSENT)
        if value is ABSENT:
            if self.least:
                raise missing(f"{self.key} is required").below(self.key)
        elif self.many and isinstance(value, list):
            self._count(value)

    def takers(self) -> Iterator[tuple[str, Taker, frozenset[str]]]:
        yield self.element.tag, self, frozenset() if self.many else self.keys

    def take(self, node: etree._Element, obj: JsonObject, strict: bool) -> None:
        try:
            value = self.element.read(node, strict)
        except BadPayload as bad:
            if self.many:
                bad = bad.below(len(obj.get(self.key, ())))
            raise bad.below(self.key) from None
        if self.many:
            obj.setdefault(self.key, []).append(value)
        elif self.key in obj:
            raise BadPayload("too many", value=2, rule=f"one {self.key}").below(self.key)
        else:
            obj[self.key] = value


@dataclass(slots=True)
class Group:
    """Steps one after another, all of them or, if `optional`, none."""

    steps: tuple[Step, ...]
    optional: bool
    keys: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.keys = frozenset().union(*(step.keys for step in self.steps))

    def _absent(self, obj: JsonObject) -> bool:
        return self.optional and self.keys.isdisjoint(obj)

    def write(self, out: list[str], obj: JsonObject) -> None:
        if not self._absent(obj):
            for step in self.steps:
                step.write(out, obj)

    def check(self, obj: JsonObject) -> None:
        if not self._absent(obj):
            for step in self.steps:
                step.check(obj)

    def takers(self) -> Iterator[tuple[str, Taker, frozenset[str]]]:
        for place, step in enumerate(self.steps):
            later: frozenset[str] = frozenset().union(*(s.keys for s in self.steps[place + 1 :]))
            for tag, taker, over in step.takers():
                yield tag, taker, over | later


@dataclass(slots=True)
class Either:
    """A choice: one of the branches. `optional`: or none, as when a branch may be empty."""

    branches: tuple[Group, ...]
    optional: bool
    keys: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.keys = frozenset().union(*(branch.keys for branch in self.branches))

    def _chosen(self, obj: JsonObject) -> Group | None:
        present = self.keys & obj.keys()
        if not present:
            if self.optional:
                return None
            raise missing(self._rule())
        fitting = [branch for branch in self.branches if present <= branch.keys]
        if not fitting:
            raise BadPayload(
                "more than one of a choice",
                value=", ".join(sorted(present)),
                rule=self._rule(),
            )
        for branch in fitting[:-1]:
            try:
                branch.check(obj)
            except BadPayload:
                continue
            return branch
        return fitting[-1]

    def _rule(self) -> str:
        told = (" with ".join(sorted(branch.keys)) for branch in self.branches)
        return "one of: " + ", or ".join(one for one in told if one)

    def write(self, out: list[str], obj: JsonObject) -> None:
        chosen = self._chosen(obj)
        if chosen is not None:
            chosen.write(out, obj)

    def check(self, obj: JsonObject) -> None:
        chosen = self._chosen(obj)
        if chosen is not None:
            chosen.check(obj)

    def takers(self) -> Iterator[tuple[str, Taker, frozenset[str]]]:
        for branch in self.branches:
            for tag, taker, over in branch.takers():
                yield tag, taker, over | (self.keys - branch.keys)


@dataclass(slots=True)
class Items:
    """A group that repeats, whose order says something: an array with an object for each turn."""

    key: str
    group: Group
    least: int
    most: int | None
    keys: frozenset[str] = field(init=False)
    _inner: dict[str, tuple[Taker, frozenset[str]]] = field(init=False)

    def __post_init__(self) -> None:
        self.keys = frozenset((self.key,))
        self._inner = {tag: (taker, over) for tag, taker, over in self.group.takers()}

    def write(self, out: list[str], obj: JsonObject) -> None:
        items = obj.get(self.key, [])
        if not isinstance(items, list):
            raise wrong(items, "an array").below(self.key)
        self._count(items)
        for place, item in enumerate(items):
            try:
                if not isinstance(item, dict):
                    raise wrong(item, "an object")
                refuse_unknown(item, self.group.keys)
                self.group.write(out, item)
            except BadPayload as bad:
                raise bad.below(place).below(self.key) from None

    def check(self, obj: JsonObject) -> None:
        items = obj.get(self.key, [])
        if not isinstance(items, list):
            return
        self._count(items)
        for place, item in enumerate(items):
            if isinstance(item, dict):
                try:
                    self.group.check(item)
                except BadPayload as bad:
                    raise bad.below(place).below(self.key) from None

    def _count(self, items: list[object]) -> None:
        found = len(items)
        if found < self.least or (self.most is not None and found > self.most):
            most = "or more" if self.most is None else f"to {self.most}"
            rule = f"{self.least} {most} objects, each with some of: " + ", ".join(
                sorted(self.group.keys)
            )
            raise BadPayload("too few or too many", value=found, rule=rule).below(self.key)

    def takers(self) -> Iterator[tuple[str, Taker, frozenset[str]]]:
        for tag in self._inner:
            yield tag, self, frozenset()

    def take(self, node: etree._Element, obj: JsonObject, strict: bool) -> None:
        taker, over = self._inner[node.tag]
        items: list[JsonObject] = obj.setdefault(self.key, [])
        if not items or not over.isdisjoint(items[-1]):
            items.append({})
        try:
            taker.take(node, items[-1], strict)
        except BadPayload as bad:
            raise bad.below(len(items) - 1).below(self.key) from None


@dataclass(slots=True)
class Wildcard:
    """xsd:any: each element as a string of XML that stands alone.

    `spaces` say of a namespace whether its elements may stand here; one of them has to.
    """

    least: int
    most: int | None
    spaces: list[Callable[[str], bool]]
    key: str = "$any"
    keys: frozenset[str] = frozenset(("$any",))

    def write(self, out: list[str], obj: JsonObject) -> None:
        value = obj.get(self.key, [])
        if not isinstance(value, list):
            raise wrong(value, "an array of XML elements, as strings").below(self.key)
        self._count(value)
        for place, one in enumerate(value):
            try:
                out.append(whole_xml(one, self._takes))
            except BadPayload as bad:
                raise bad.below(place).below(self.key) from None

    def check(self, obj: JsonObject) -> None:
        value = obj.get(self.key, [])
        if isinstance(value, list):
            self._count(value)

    def _count(self, value: list[object]) -> None:
        found = len(value)
        if found < self.least or (self.most is not None and found > self.most):
            rule = f"{self.least} to {self.most or 'any number of'} elements"
            raise BadPayload("too few or too many", value=found, rule=rule).below(self.key)

    def takers(self) -> Iterator[tuple[str, Taker, frozenset[str]]]:
        return iter(())

    def take(self, node: etree._Element, obj: JsonObject, strict: bool) -> None:
        if strict and not self._takes(namespace_of(node)):
            refuse_unknown({etree.QName(node).localname: None}, frozenset())
        obj.setdefault(self.key, []).append(told_as_xml(node))

    def _takes(self, namespace: str) -> bool:
        return any(allowed(namespace) for allowed in self.spaces)


def refuse_unknown(obj: JsonObject, known: frozenset[str]) -> None:
    for key in obj:
        if key not in known:
            told = ", ".join(sorted(known)[:40]) or "nothing"
            raise BadPayload(
                "the interface knows no such member", value=key, rule=f"one of: {told}"
            ).below(str(key)[:60])
