"""How a value of JSON looks in XML: shapes, which turn REST's values into the payloads of the
generated WSDL, and back.

A payload is what `wsdl.py` reads and writes: an object with a member for each element. It differs
from REST's value where XML has no words for it.

| JSON | XML |
|---|---|
| object | a complex type: an element for each property, by its name (`xml_names.py`) |
| array | its element, repeated; one in an array, or that may be null: a wrapper with `item`s |
| oneOf, anyOf | a choice of one element for each alternative, which its name tells |
| all other properties | elements `entry`, each with `key` and `value`; unless there may be none |
| null | xsi:nil, where the schema lets it be null |
| anything at all | a string that holds JSON |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from bridge.payload import BadPayload, read_json, write_json

# So deep into a value an alternative is looked for; what differs only below is not told apart.
_DEEPEST_LOOK = 4
_MOST_DIGITS = 400


class Shape(Protocol):
    def to_rest(self, payload: object) -> object:
        """Of a payload that was read by the WSDL, and so has its form. Raises BadPayload."""

    def to_soap(self, value: object) -> object:
        """Of a value that somebody sent. What may not be there is left out. Raises BadPayload."""

    def fit(self, value: object, depth: int = 0) -> int | None:
        """How well a value fits among others that it may be; None: not at all."""


def _wrong(value: object, rule: str) -> BadPayload:
    return BadPayload("a value is not what its schema says", value=value, rule=rule)


@dataclass(frozen=True, slots=True)
class Scalar:
    """`xsd` is one of XSD's own types. With a `name`, it is declared as a type of that name."""

    xsd: str
    kind: str = "string"
    enum: tuple[object, ...] | None = None
    name: str | None = None
    pattern: str | None = None
    documentation: str = ""

    def to_rest(self, payload: object) -> object:
        return payload

    def to_soap(self, value: object) -> object:
        if self.kind == "integer" and isinstance(value, Decimal) and _is_whole(value):
            # 5.0 is an integer to JSON, and none to XML.
            return int(value)
        return value

    def fit(self, value: object, depth: int = 0) -> int | None:
        if not _KINDS[self.kind](value):
            return None
        if self.enum is None:
            return 0
        return 1 if value in self.enum else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    if isinstance(value, Decimal):
        return _is_whole(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _is_whole(value: Decimal) -> bool:
    return (
        value.is_finite() and value.adjusted() < _MOST_DIGITS and value == value.to_integral_value()
    )


_KINDS: dict[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": _is_integer,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
}


@dataclass(frozen=True, slots=True)
class Free:
    """Any value at all, as a string of JSON."""

    documentation: str = "Any JSON value, written as JSON."

    def to_rest(self, payload: object) -> object:
        assert isinstance(payload, str)
        return read_json(payload.encode())

    def to_soap(self, value: object) -> object:
        return write_json(value).decode()

    def fit(self, value: object, depth: int = 0) -> int | None:
        return 0


@dataclass(slots=True)
class Member:
    """A value that has a name: `name` in JSON, `element` in XML. `repeated`: an array of values of
    the shape, which is always there if it is `required`, and else not when it is empty."""

    name: str
    element: str
    shape: Shape
    required: bool = False
    nullable: bool = False
    repeated: bool = False
    documentation: str = ""

    def to_rest(self, payload: object) -> object:
        return self._turned(payload, self.shape.to_rest, null=False)

    def to_soap(self, value: object) -> object:
        if self.repeated and not isinstance(value, list):
            raise _wrong(value, "an array").below(self.name)
        return self._turned(value, self.shape.to_soap, null=isinstance(self.shape, Free))

    def _turned(self, value: object, turn: _Turn, *, null: bool) -> object:
        """`null`: it is a value like any other, and is turned."""
        try:
            if not self.repeated:
                return turn(value) if null or value is not None else None
            assert isinstance(value, list)
            return _each(value, turn, null=null)
        except BadPayload as bad:
            raise bad.below(self.name) from None

    @property
    def takes_null(self) -> bool:
        return self.nullable or isinstance(self.shape, Free)

    def fit(self, value: object, depth: int) -> int | None:
        if value is None:
            return 0 if self.takes_null else None
        if not self.repeated:
            return self.shape.fit(value, depth)
        return _fit_of_array(self.shape, value, depth)


class _Turn(Protocol):
    def __call__(self, value: object, /) -> object: ...


def _each(values: list[object], turn: _Turn, *, null: bool) -> list[object]:
    made = []
    for place, one in enumerate(values):
        try:
            made.append(turn(one) if null or one is not None else None)
        except BadPayload as bad:
            raise bad.below(place) from None
    return made


def _fit_of_array(item: Shape, value: object, depth: int) -> int | None:
    if not isinstance(value, list):
        return None
    # One speaks for all.
    return item.fit(value[0], depth + 1) if value and value[0] is not None else 0


@dataclass(eq=False, slots=True)
class Structure:
    """An object. `entries` is a member for each property that has no name of its own. Filled after
    it is made, since it may contain itself: then `ready` it."""

    name: str
    documentation: str = ""
    members: tuple[Member, ...] = ()
    entries: Member | None = None
    entry_element: str = "entry"
    _by_name: dict[str, Member] = field(default_factory=dict)
    _by_element: dict[str, Member] = field(default_factory=dict)
    _arrays: tuple[str, ...] = ()

    def ready(self, members: tuple[Member, ...], entries: Member | None, entry: str) -> None:
        self.members, self.entries, self.entry_element = members, entries, entry
        self._by_name = {one.name: one for one in members}
        self._by_element = {one.element: one for one in members}
        self._arrays = tuple(one.name for one in members if one.repeated and one.required)

    def to_rest(self, payload: object) -> object:
        assert isinstance(payload, dict)
        made: dict[str, object] = {}
        for element, value in payload.items():
            member = self._by_element.get(element)
            if member is not None:
                made[member.name] = member.to_rest(value)
        for name in self._arrays:
            made.setdefault(name, [])
        if self.entries is not None:
            for entry in payload.get(self.entry_element, ()):
                self._add_entry(made, entry, self.entries)
        return made

    def _add_entry(
        self, made: dict[str, object], entry: Mapping[str, object], entries: Member
    ) -> None:
        key = str(entry["key"])
        if key in made or key in self._by_name:
            rule = "each property once, by its own element if it has one"
            raise _wrong(key, rule).below(self.entry_element)
        try:
            value = entry.get(entries.element, [] if entries.repeated else None)
            made[key] = entries.to_rest(value)
        except BadPayload as bad:
            raise bad.below(self.entry_element) from None

    def to_soap(self, value: object) -> object:
        if not isinstance(value, dict):
            raise _wrong(value, "an object")
        made: dict[str, object] = {}
        entries: list[object] = []
        for name, one in value.items():
            member = self._by_name.get(name)
            if member is None:
                if self.entries is not None:
                    entries.append(self._entry(name, one, self.entries))
            elif one is not None or member.takes_null:
                made[member.element] = member.to_soap(one)
        for name in self._arrays:
            made.setdefault(self._by_name[name].element, [])
        if entries:
            made[self.entry_element] = entries
        return made

    def _entry(self, name: str, value: object, entries: Member) -> dict[str, object]:
        try:
            return {"key": name, entries.element: entries.to_soap(value)}
        except BadPayload as bad:
            raise bad.below(name) from None

    def _tells_of_entries(self) -> bool:
        return self.entries is not None and not isinstance(self.entries.shape, Free)

    def fit(self, value: object, depth: int = 0) -> int | None:
        if not isinstance(value, dict):
            return None
        if any(one.required and one.name not in value for one in self.members):
            return None
        fits = 0
        for name, one in value.items():
            member = self._by_name.get(name)
            if member is None:
                # An object may have more than its schema tells of; but another schema may tell.
                fits -= 0 if self._tells_of_entries() else 1
                continue
            fit = member.fit(one, depth + 1) if depth < _DEEPEST_LOOK else 0
            if fit is None:
                return None
            fits += 2 + fit
        return fits


@dataclass(eq=False, slots=True)
class Listing:
    """An array in a place where elements cannot simply be repeated: a wrapper with `item`s."""

    name: str
    documentation: str = ""
    item: Member = field(default_factory=lambda: Member("item", "item", Free(), repeated=True))

    def to_rest(self, payload: object) -> object:
        assert isinstance(payload, dict)
        return self.item.to_rest(payload.get(self.item.element, []))

    def to_soap(self, value: object) -> object:
        return {self.item.element: self.item.to_soap(value)}

    def fit(self, value: object, depth: int = 0) -> int | None:
        return _fit_of_array(self.item.shape, value, depth)


@dataclass(eq=False, slots=True)
class Alternatives:
    """One of several shapes, told by the name of its element. What comes from REST is looked at:
    what a discriminator says, or else what fits best."""

    name: str
    documentation: str = ""
    members: tuple[Member, ...] = ()
    by: str | None = None
    mapping: Mapping[str, Member] = field(default_factory=dict)

    def to_rest(self, payload: object) -> object:
        assert isinstance(payload, dict)
        for member in self.members:
            if member.element in payload:
                return member.shape.to_rest(payload[member.element])
        raise _wrong(payload, "one of: " + ", ".join(one.element for one in self.members))

    def to_soap(self, value: object) -> object:
        member = self._chosen(value)
        return {member.element: member.shape.to_soap(value)}

    def _chosen(self, value: object) -> Member:
        if self.by is not None and isinstance(value, dict):
            told = value.get(self.by)
            if isinstance(told, str) and told in self.mapping:
                return self.mapping[told]
        fits = [(one.shape.fit(value), one) for one in self.members]
        fitting = [(fit, one) for fit, one in fits if fit is not None]
        if not fitting:
            names = ", ".join(one.name for one in self.members)
            raise _wrong(value, f"what one of these describes: {names}")
        return max(fitting, key=lambda one: one[0])[1]

    def fit(self, value: object, depth: int = 0) -> int | None:
        if depth > _DEEPEST_LOOK:
            return 0
        fits = [one.shape.fit(value, depth + 1) for one in self.members]
        return max((one for one in fits if one is not None), default=None)


Declared = Structure | Listing | Alternatives | Scalar
