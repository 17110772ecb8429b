"""Contract modules, and the clauses that offers make of them.

A module is published once and never changed: what comes after it is another version. A clause is
one version of a module with its parameters, and the text that came of them, kept as it was read
when the offer was made. So no later version reaches into an offer or a contract.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import rfc8785

from roaming.refusal import Clash, Malformed, NotYours, Unknown

LONGEST_NAME = 40
LONGEST_TITLE = 120
LONGEST_PURPOSE = 1_000
LONGEST_TEMPLATE = 20_000
MOST_MODULES = 500
MOST_PLACE = 999
MOST_BYTES = 32_000
_DEEPEST = 16
_GREATEST = 2**53 - 1


class Kind(StrEnum):
    """What a service is, as far as its contracts differ."""

    CALL = "call"
    TOPIC = "topic"
    ROAMING = "roaming"
    LOAD_MANAGEMENT = "load-management"


class Need(StrEnum):
    """Whether an offer of a kind must have the module. Where it says nothing, it may not."""

    REQUIRED = "required"
    OPTIONAL = "optional"


class BadModule(Malformed):
    """A module that breaks a rule; `field` is the path of what is wrong."""


class BadClause(Malformed):
    """A clause that its module does not allow; `field` is the path of what is wrong."""


class UnknownModule(Unknown):
    """The framework has no such module, or no such version of it."""


class NotYourFramework(NotYours):
    """The hub's operator alone publishes modules."""


class FrameworkFull(Clash):
    """There are as many modules as the framework takes."""


class OfferingIncomplete(Clash):
    """Modules are required that the offer does not mention and that have no standard form."""


@dataclass(frozen=True)
class Module:
    """One version of a module.

    `schema`: of its parameters. `template`: of its text. `kinds`: for which kinds of service it is
    required or optional. `standard`: the parameters of an offer that does not mention it; None: it
    has none. `from_terms`: its parameters are the terms themselves, and are not told again.
    `place`: where it stands in a contract, the lowest first.
    """

    name: str
    version: int
    title: str
    purpose: str
    place: int
    schema: Mapping[str, Any]
    template: str
    kinds: Mapping[Kind, Need]
    standard: Mapping[str, Any] | None = None
    from_terms: bool = False

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Module:
        """A module as it is told, its version still to be given. BadModule.

        Whether its schema is one and its template can be read, is for `parameters` and `wording`.
        """
        _only(raw)
        check_plain(raw, "", BadModule)
        name = raw.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _bad("name", name, f"a-z, 0-9 and -, at most {LONGEST_NAME}, as service-level")
        schema = raw.get("schema")
        if not isinstance(schema, Mapping):
            raise _bad("schema", schema, "a JSON Schema (2020-12) of an object")
        standard = raw.get("standard")
        if standard is not None and not isinstance(standard, Mapping):
            raise _bad("standard", standard, "null, or an object of parameters")
        from_terms = raw.get("from_terms", False)
        if not isinstance(from_terms, bool):
            raise _bad("from_terms", from_terms, "true or false")
        if from_terms and standard is not None:
            raise _bad("standard", standard, "null: the terms are its parameters")
        place = raw.get("place", MOST_PLACE)
        if type(place) is not int or not 1 <= place <= MOST_PLACE:
            raise _bad("place", place, f"a whole number from 1 to {MOST_PLACE}")
        return cls(
            name=name,
            version=0,
            title=_line(raw, "title", LONGEST_TITLE),
            purpose=_line(raw, "purpose", LONGEST_PURPOSE),
            place=place,
            schema=schema,
            template=_template(raw.get("template")),
            kinds=_kinds(raw.get("kinds")),
            standard=standard,
            from_terms=from_terms,
        )

    def to_json(self) -> dict[str, Any]:
        """What was told; not the version, which the framework gives."""
        return {
            "name": self.name,
            "title": self.title,
            "purpose": self.purpose,
            "place": self.place,
            "schema": dict(self.schema),
            "template": self.template,
            "kinds": {kind.value: need.value for kind, need in sorted(self.kinds.items())},
            "standard": None if self.standard is None else dict(self.standard),
            "from_terms": self.from_terms,
        }

    @cached_property
    def digest(self) -> bytes:
        """Of all that it says but its version: the same module is not published twice."""
        return hashlib.sha256(rfc8785.dumps(self.to_json())).digest()

    @cached_property
    def schema_json(self) -> bytes:
        """Its schema as one text, by which a validator of it is kept."""
        return rfc8785.dumps(dict(self.schema))

    @property
    def properties(self) -> tuple[str, ...]:
        """The names of its parameters."""
        return tuple(self.schema.get("properties", {}))

    def numbered(self, version: int) -> Module:
        return replace(self, version=version)


@dataclass(frozen=True, slots=True)
class Clause:
    """A version of a module, its parameters, and the text that they gave it."""

    name: str
    version: int
    title: str
    parameters: Mapping[str, Any]
    text: str


@dataclass(frozen=True)
class Clauses:
    """The clauses of one offer, in the order in which they are read."""

    chosen: tuple[Clause, ...]

    @classmethod
    def parse(cls, body: bytes) -> Clauses:
        """What `body` was kept as."""
        return cls(tuple(Clause(**one) for one in json.loads(body)))

    @cached_property
    def body(self) -> bytes:
        """The bytes that are kept (RFC 8785)."""
        return rfc8785.dumps(
            [
                {
                    "name": one.name,
                    "version": one.version,
                    "title": one.title,
                    "parameters": dict(one.parameters),
                    "text": one.text,
                }
                for one in self.chosen
            ]
        )

    @cached_property
    def digest(self) -> bytes:
        return hashlib.sha256(self.body).digest()


@dataclass(frozen=True)
class Library:
    """All versions of all modules."""

    modules: Sequence[Module]

    @cached_property
    def _by_name(self) -> Mapping[str, Sequence[Module]]:
        found: dict[str, list[Module]] = {}
        for module in sorted(self.modules, key=lambda one: one.version):
            found.setdefault(module.name, []).append(module)
        return found

    def current(self) -> Sequence[Module]:
        """The last version of each, in the order in which a contract has them."""
        last = [versions[-1] for versions in self._by_name.values()]
        return sorted(last, key=lambda one: (one.place, one.name))

    def versions(self, name: str) -> Sequence[Module]:
        """All of a module's versions, the first one first; UnknownModule."""
        found = self._by_name.get(name)
        if found is None:
            raise UnknownModule("no such module", field="name", value=name[:100])
        return found

    def find(self, name: str, version: int | None = None) -> Module:
        """One version, or the current one; UnknownModule."""
        versions = self.versions(name)
        if version is None:
            return versions[-1]
        for one in versions:
            if one.version == version:
                return one
        raise UnknownModule(
            f"{name} has no version {version}",
            field="version",
            value=version,
            rule=f"1 to {versions[-1].version}",
        )


def check_plain(value: object, path: str, refusal: type[Malformed], depth: int = 0) -> None:
    """`refusal` unless the value is JSON that every reader takes for the same (RFC 8785), and that
    PostgreSQL keeps: whole Unicode, no NUL, no number beyond 2^53, not too deep."""
    rule = None
    if depth > _DEEPEST:
        rule = f"at most {_DEEPEST} levels"
    elif isinstance(value, str):
        if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            rule = "whole Unicode characters without NUL"
    elif isinstance(value, bool | None):
        return
    elif isinstance(value, int | float):
        if not -_GREATEST <= value <= _GREATEST:
            rule = f"a number between -{_GREATEST} and {_GREATEST}"
    elif isinstance(value, Mapping):
        for key, member in value.items():
            check_plain(key, path, refusal, depth)
            check_plain(member, f"{path}.{key}".lstrip("."), refusal, depth + 1)
    elif isinstance(value, list):
        for n, member in enumerate(value):
            check_plain(member, f"{path}.{n}".lstrip("."), refusal, depth + 1)
    else:
        rule = "JSON"
    if rule is not None:
        raise refusal(f"{path[:200] or 'it'} cannot be kept: {rule}", field=path[:200], rule=rule)


_NAME = re.compile(rf"[a-z][a-z0-9-]{{0,{LONGEST_NAME - 1}}}")
_MEMBERS = (
    *("name", "title", "purpose", "place", "schema", "template", "kinds"),
    *("standard", "from_terms"),
)


def _only(raw: Mapping[str, Any]) -> None:
    for key in raw:
        if key not in _MEMBERS:
            raise _bad(str(key)[:100], None, f"one of: {', '.join(_MEMBERS)}")


def _line(raw: Mapping[str, Any], field: str, longest: int) -> str:
    told = raw.get(field)
    if not isinstance(told, str) or not 0 < len(told.strip()) <= longest:
        raise _bad(field, told, f"1 to {longest} characters")
    if not told.isprintable():
        raise _bad(field, told, "printable characters on one line")
    return told.strip()


def _template(told: object) -> str:
    if not isinstance(told, str) or not 0 < len(told.strip()) <= LONGEST_TEMPLATE:
        raise _bad("template", told, f"1 to {LONGEST_TEMPLATE} characters")
    return told.strip()


def _kinds(told: object) -> Mapping[Kind, Need]:
    if not isinstance(told, Mapping) or not told:
        raise _bad("kinds", told, f"required or optional for some of: {', '.join(Kind)}")
    found = {}
    for kind, need in told.items():
        if kind not in set(Kind):
            raise _bad(f"kinds.{str(kind)[:100]}", None, f"one of: {', '.join(Kind)}")
        if need not in set(Need):
            raise _bad(f"kinds.{kind}", need, ", ".join(Need))
        found[Kind(kind)] = Need(need)
    return found


def _bad(field: str, value: object, rule: str) -> BadModule:
    shown = None if value is None else str(value)[:100]
    return BadModule(f"{field}: {rule}", field=field, value=shown, rule=rule)
