"""JSON schemas as they stand in OpenAPI documents, each made flat: what a value looks like, with
`$ref` followed and `allOf` put together.

What only forbids (patterns, bounds, `not`, `if`) says nothing about how a value looks and is left
to who owns the document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from bridge.references import Place, References

_TYPES = ("string", "integer", "number", "boolean", "object", "array")
_CHOICES = ("oneOf", "anyOf")


class Spot(NamedTuple):
    """A schema: all that stands at some places at once, with some choices made already, and of
    several types one alone."""

    places: tuple[Place, ...]
    decided: frozenset[Place] = frozenset()
    only: str | None = None


@dataclass(slots=True)
class Choice:
    """One of several schemas. `place` is where that is said; `by` tells a property and which of its
    values stands for which alternative."""

    place: Place
    alternatives: tuple[Place, ...]
    by: str | None = None
    mapping: dict[str, Place] = field(default_factory=dict)


@dataclass(slots=True)
class Flat:
    """`types` is empty where nothing is said. `additional` is None where nothing is said, and ()
    where anything goes."""

    types: frozenset[str] = frozenset()
    nullable: bool = False
    read_only: bool = False
    properties: dict[str, tuple[Place, ...]] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    items: tuple[Place, ...] = ()
    additional: tuple[Place, ...] | None = None
    closed: bool = False
    enum: tuple[object, ...] | None = None
    format: str = ""
    encoding: str = ""
    description: str = ""
    choice: Choice | None = None

    @property
    def type(self) -> str | None:
        """The one type that values have, as far as it is said or can be seen."""
        if self.types:
            return next(iter(self.types)) if len(self.types) == 1 else None
        if self.properties or self.additional is not None:
            return "object"
        if self.items:
            return "array"
        if self.enum:
            return _type_of_all(self.enum)
        return "string" if self.format in STRING_FORMATS or self.encoding else None


# A schema with none of these says nothing of how a value looks.
_SAYING = frozenset(
    ("type", "properties", "items", "additionalProperties", "enum", "const", "allOf", "format")
) | {*_CHOICES, "contentEncoding"}
STRING_FORMATS = frozenset(
    ("date-time", "date", "time", "duration", "uuid", "byte", "uri", "email", "binary")
)


def _type_of_all(values: Iterable[object]) -> str | None:
    found = {type(one) for one in values if one is not None}
    names = {str: "string", int: "integer", bool: "boolean", float: "number"}
    return names.get(found.pop()) if len(found) == 1 else None


class Schemas:
    """Makes schemas flat. Raises BadDocument for what is no schema."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._made: dict[Spot, Flat] = {}

    def flat(self, spot: Spot) -> Flat:
        if spot not in self._made:
            self._made[spot] = self._flatten(spot)
        return self._made[spot]

    def spot(self, places: tuple[Place, ...]) -> Spot:
        """The places themselves, where some of them only refer to others."""
        return Spot(tuple(map(self._meant, places)))

    def narrowed(self, spot: Spot, choice: Choice, alternative: Place) -> Spot:
        """What stands at the spot if this alternative is chosen."""
        said = [one for one in spot.places if _says_more(one)]
        places = (*said, self._meant(alternative))
        return Spot(places, spot.decided | {choice.place} if said else frozenset())

    def _meant(self, place: Place) -> Place:
        while isinstance(place.value, dict) and isinstance(place.value.get("$ref"), str):
            if _SAYING.isdisjoint(place.value) and "nullable" not in place.value:
                place = self._references.target(place)
            else:
                break
        return place

    def name(self, place: Place) -> str | None:
        """What a schema is called where it is referred to; None: it stands in its place."""
        if isinstance(place.value, dict) and isinstance(place.value.get("$ref"), str):
            found = self._references.follow(place)
            return found.name or found.file.rpartition("/")[2].partition(".")[0]
        return (
            place.name
            if place.pointer.startswith("/components/schemas/") and (place.pointer.count("/") == 3)
            else None
        )

    def _flatten(self, spot: Spot) -> Flat:
        flat = Flat()
        choices: list[Choice] = []
        seen: set[Place] = set()
        waiting = [(place, False) for place in reversed(spot.places)]
        while waiting or choices:
            if not waiting:
                self._choose(flat, choices.pop(0), seen, waiting)
                continue
            place, loose = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            waiting.extend((one, loose) for one in reversed([*self._merged(place)]))
            if isinstance(place.value, dict):
                self._add_members(flat, place)
                if not loose:
                    self._add(flat, place)
                choices.extend(self._choices(place, spot))
        if spot.only is not None:
            flat.types, flat.choice = frozenset((spot.only,)), None
        return flat

    def _merged(self, place: Place) -> Iterator[Place]:
        value = place.value
        if isinstance(value, bool):
            return
        if isinstance(place.mapping().get("$ref"), str):
            yield self._references.target(place)
        all_of = place.get("allOf")
        if all_of is not None:
            yield from all_of.items()

    def _choose(
        self, flat: Flat, choice: Choice, seen: set[Place], waiting: list[tuple[Place, bool]]
    ) -> None:
        """Keeps the first choice that says something. A further one would multiply with it: all
        that its alternatives have is let in, and none of it is required."""
        kept = []
        for one in choice.alternatives:
            followed = self._references.follow(one)
            if followed in seen:
                # Looked at from one of its alternatives, a choice is made.
                return
            flat.nullable = flat.nullable or _is_null(followed)
            if _says_something(followed):
                kept.append(one)
        choice.alternatives = tuple(kept)
        if kept and len(kept) > 1 and flat.choice is None:
            flat.choice = choice
        else:
            waiting.extend((one, len(kept) > 1) for one in reversed(kept))

    def _choices(self, place: Place, spot: Spot) -> Iterator[Choice]:
        discriminator = place.get("discriminator")
        by = discriminator.text("propertyName") if discriminator else ""
        mapping = dict(self._mapping(discriminator)) if discriminator else {}
        said = False
        for keyword in _CHOICES:
            listed = place.get(keyword)
            if listed is not None:
                said = True
                if listed not in spot.decided:
                    alternatives = tuple(listed.items())
                    yield Choice(
                        listed, alternatives, by or None, self._told(alternatives, mapping)
                    )
        if discriminator and mapping and not said and discriminator not in spot.decided:
            # Polymorphism by inheritance: who inherits is told by the mapping alone.
            yield Choice(discriminator, tuple(dict.fromkeys(mapping.values())), by, mapping)

    def _mapping(self, discriminator: Place) -> Iterator[tuple[str, Place]]:
        mapping = discriminator.get("mapping")
        for said, place in mapping.members() if mapping else ():
            target = str(place.value)
            if "/" not in target and "#" not in target and "." not in target:
                target = f"#/components/schemas/{target}"
            referring = Place(place.file, place.pointer, {"$ref": target})
            yield said, self._references.follow(referring)

    def _told(self, alternatives: tuple[Place, ...], mapping: dict[str, Place]) -> dict[str, Place]:
        """Which alternative a value of the discriminator means: by the mapping, or by its name."""
        followed = {self._references.follow(one): one for one in alternatives}
        told = {said: followed[place] for said, place in mapping.items() if place in followed}
        for place, one in followed.items():
            told.setdefault(place.name, one)
        return told

    def _add(self, flat: Flat, place: Place) -> None:
        value = place.value
        said = _types(place)
        flat.nullable = flat.nullable or "null" in said or value.get("nullable") is True
        said.discard("null")
        if {"integer", "number"} == said | flat.types and len(said) == 1:
            flat.types, said = frozenset(), {"integer"}
        flat.types = frozenset(said & flat.types or flat.types or said)
        flat.read_only = (
            flat.read_only or value.get("readOnly") is True or value.get("writeOnly") is True
        )
        flat.format = flat.format or place.text("format")
        flat.encoding = flat.encoding or place.text("contentEncoding")
        flat.description = flat.description or place.text("description") or place.text("title")
        self._add_enum(flat, value)
        if isinstance(value.get("required"), list):
            flat.required.update(one for one in value["required"] if isinstance(one, str))

    def _add_members(self, flat: Flat, place: Place) -> None:
        properties = place.get("properties")
        for name, one in properties.members() if properties else ():
            before = flat.properties.get(name, ())
            flat.properties[name] = before if one in before else (*before, one)
        items = place.get("items")
        # A list of them, as in older schemas, tells of a tuple, whose items have no one form.
        if items is not None and isinstance(items.value, dict) and items.value:
            flat.items += (items,)
        self._add_additional(flat, place)

    def _add_enum(self, flat: Flat, value: dict[str, object]) -> None:
        enum = value.get("enum", [value["const"]] if "const" in value else None)
        if not isinstance(enum, list):
            return
        if None in enum:
            flat.nullable = True
        told = tuple(one for one in enum if one is not None)
        flat.enum = told if flat.enum is None else tuple(one for one in flat.enum if one in told)

    def _add_additional(self, flat: Flat, place: Place) -> None:
        additional = place.get("additionalProperties")
        if additional is not None and additional.value is False:
            flat.closed = True
        elif additional is not None:
            said = () if additional.value in (True, {}) else (additional,)
            flat.additional = (flat.additional or ()) + said
        if place.get("patternProperties") is not None:
            flat.additional = flat.additional or ()


def _types(place: Place) -> set[str]:
    said = place.value.get("type", [])
    listed = [said] if isinstance(said, str) else said
    known = (*_TYPES, "null")
    if not isinstance(listed, list) or any(one not in known for one in listed):
        raise place.bad("`type` is one of: " + ", ".join(known), said)
    return set(listed)


def _is_null(place: Place) -> bool:
    """A value may be null."""
    value = place.value
    if not isinstance(value, dict):
        return False
    types = value.get("type")
    return (
        value.get("nullable") is True
        or types == "null"
        or (isinstance(types, list) and "null" in types)
    )


def _says_more(place: Place) -> bool:
    """It says more than which choice there is."""
    value = place.value
    return (
        not isinstance(value, dict)
        or bool((_SAYING - {*_CHOICES}) & value.keys())
        or ("$ref" in value)
    )


def _says_something(place: Place) -> bool:
    value = place.value
    if not isinstance(value, dict) or value.get("type") in ("null", ["null"]):
        return False
    return not _SAYING.isdisjoint(value)
