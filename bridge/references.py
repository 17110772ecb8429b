"""References between and inside the files of an OpenAPI document; nothing outside is ever read."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from bridge.document import BadDocument, Document, checked
from bridge.parsing import bad, parse, token

# So many references may lead from one to the next before a value comes.
_LONGEST_CHAIN = 50


@dataclass(frozen=True, slots=True)
class Place:
    """A value of a document, and where it stands. The same file and pointer are the same place."""

    file: str
    pointer: str
    value: Any = field(compare=False, repr=False)

    def __getitem__(self, name: str | int) -> Place:
        return Place(self.file, f"{self.pointer}/{token(str(name))}", self.value[name])

    def get(self, name: str) -> Place | None:
        """The member of that name, if this is an object that has one."""
        return self[name] if isinstance(self.value, dict) and name in self.value else None

    def bad(self, rule: str, value: object = "") -> BadDocument:
        return bad(self.file, self.pointer, value, rule)

    @property
    def name(self) -> str:
        """The last part of the pointer."""
        return unescaped(self.pointer.rpartition("/")[2])

    def members(self) -> Iterator[tuple[str, Place]]:
        """The members of an object. Raises BadDocument."""
        for name in self.mapping():
            yield name, self[name]

    def items(self) -> Iterator[Place]:
        """The items of a list. Raises BadDocument."""
        if not isinstance(self.value, list):
            raise self.bad("a list", self.value)
        for index in range(len(self.value)):
            yield self[index]

    def mapping(self) -> Mapping[str, Any]:
        """The object that stands here. Raises BadDocument."""
        if not isinstance(self.value, dict):
            raise self.bad("an object", self.value)
        return self.value

    def text(self, name: str) -> str:
        """The text of that name; "" where there is none, or something else."""
        found = self.value.get(name) if isinstance(self.value, dict) else None
        return found if isinstance(found, str) else ""


def unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


class References:
    """Follows `$ref`. A file is parsed when it is first asked for."""

    def __init__(self, document: Document) -> None:
        self._document = checked(document)
        self._parsed: dict[str, Place] = {}

    @property
    def root(self) -> Place:
        return self._file(self._document.root)

    def _file(self, name: str) -> Place:
        if name not in self._parsed:
            content = self._document.files[name]
            self._parsed[name] = Place(name, "", parse(name, content))
        return self._parsed[name]

    def follow(self, place: Place) -> Place:
        """The place itself, or where its `$ref` leads in the end. Raises BadDocument."""
        seen = {place}
        while isinstance(place.value, dict) and isinstance(place.value.get("$ref"), str):
            place = self.target(place)
            if place in seen or len(seen) > _LONGEST_CHAIN:
                raise place.bad("a reference leads to a value in the end, not around")
            seen.add(place)
        return place

    def target(self, place: Place) -> Place:
        """Where the `$ref` of this place points to. Raises BadDocument."""
        reference = place.value["$ref"]
        here = place["$ref"]
        path, _, pointer = reference.partition("#")
        found = self._file(self._named(here, path)) if path else self._file(place.file)
        pointer = unquote(pointer)
        if pointer and not pointer.startswith("/"):
            raise here.bad("a reference by JSON pointer, as #/components/schemas/Site", reference)
        for part in pointer.split("/")[1:]:
            found = self._step(here, found, unescaped(part))
        return found

    def _named(self, here: Place, path: str) -> str:
        if urlsplit(path).scheme or path.startswith("/"):
            rule = "a reference within the uploaded files: nothing is fetched, so upload it as well"
            raise here.bad(rule, here.value)
        folder = posixpath.dirname(here.file)
        name = posixpath.normpath(posixpath.join(folder, unquote(path)))
        if name not in self._document.files:
            known = ", ".join(sorted(self._document.files)[:20])
            raise here.bad(f"a reference to one of the uploaded files: {known}", here.value)
        return name

    def _step(self, here: Place, found: Place, part: str) -> Place:
        if isinstance(found.value, dict) and part in found.value:
            return found[part]
        if isinstance(found.value, list) and part.isdecimal() and int(part) < len(found.value):
            return found[int(part)]
        raise here.bad("a reference to something that is there", here.value)
