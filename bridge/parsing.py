"""One file of an OpenAPI document, JSON or YAML, as plain values.

What partners upload is a stranger's: keys that come twice, aliases that multiply, and depths that
no interface has are refused, each with its place. YAML is read by its version 1.2, in which `on` is
a text, `2024-01-01` is a text, and a key is what is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from bridge.document import BadDocument

MOST_NODES = 500_000
DEEPEST = 200
_LONGEST_NUMBER = 100

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_FLAGS = {
    spelled: word == "true"
    for word in ("true", "false")
    for spelled in (word, word.title(), word.upper())
}
_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_OTHER_INTEGER = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_TAG = "tag:yaml.org,2002:"


def bad(file: str, pointer: str, value: object, rule: str) -> BadDocument:
    """A document that breaks a rule, with the place where it does."""
    place = f"{file}#{pointer}" if pointer else file
    return BadDocument(
        f"the interface document breaks a rule at {place}: {rule}",
        field=place,
        value=str(value)[:200],
        rule=rule,
    )


def token(name: str) -> str:
    """A name as a part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def parse(file: str, content: bytes) -> object:
    """What a file says. Raises BadDocument."""
    text = _text(file, content)
    if file.lower().endswith(".json"):
        return _json(file, text)
    if text.lstrip()[:1] in ("{", "["):
        try:
            return _json(file, text)
        except BadDocument as refused:
            # Flow-style YAML begins like JSON. What is neither is told of as the JSON that it
            # means to be.
            try:
                return _yaml(file, text)
            except BadDocument:
                raise refused from None
    return _yaml(file, text)


def _text(file: str, content: bytes) -> str:
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise bad(file, "", f"byte {error.start}", "text in UTF-8") from None


def _json(file: str, text: str) -> object:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        kept = dict(pairs)
        if len(kept) < len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise bad(file, "", twice, "a member comes once in its object")
        return kept

    def number(text: str) -> int:
        if len(text) > _LONGEST_NUMBER:
            raise bad(file, "", text, f"a number of at most {_LONGEST_NUMBER} digits")
        return int(text)

    def constant(text: str) -> object:
        raise bad(file, "", text, "JSON, which has no such number")

    try:
        value = json.loads(text, object_pairs_hook=once, parse_int=number, parse_constant=constant)
    except RecursionError:
        raise bad(file, "", "…", f"at most {DEEPEST} levels") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise bad(file, "", place, f"JSON: {error.msg}") from None
    _hold_to_bounds(file, value)
    return value


def _hold_to_bounds(file: str, value: object) -> None:
    nodes = 0
    levels = [value]
    for _ in range(DEEPEST):
        nodes += len(levels)
        if nodes > MOST_NODES:
            raise bad(file, "", nodes, f"at most {MOST_NODES} values")
        levels = [inner for one in levels for inner in _inside(one)]
        if not levels:
            return
    raise bad(file, "", "…", f"at most {DEEPEST} levels")


def _inside(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


@dataclass(slots=True)
class _Frame:
    """An object or a list of which the end has not come. `key` waits for its value, which is to be
    merged if that key is YAML's own `<<`."""

    value: dict[str, Any] | list[Any]
    anchor: str | None = None
    key: str | None = None
    merges: bool = False
    size: int = 1
    merged: list[dict[str, Any]] = field(default_factory=list)


def _yaml(file: str, text: str) -> object:
    building = _Building(file)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            building.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise bad(file, "", place, f"YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise bad(file, "", "", f"YAML: {str(error).splitlines()[0]}") from None
    return building.whole


class _Building:
    """Values out of YAML's events: the library's own way there would follow every alias first."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.whole: object = None
        self._documents = 0
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._open(_Frame({}, event.anchor))
        elif isinstance(event, yaml.SequenceStartEvent):
            self._open(_Frame([], event.anchor))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._bad(event.anchor, "an alias names an anchor that stands before it")
            self._put(*self._anchors[event.anchor])
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise bad(self.file, "", "---", "one YAML document in a file")

    def _bad(self, value: object, rule: str) -> BadDocument:
        return bad(self.file, "".join(self._path()), value, rule)

    def _path(self) -> Iterator[str]:
        for frame in self._frames:
            if isinstance(frame.value, list):
                yield f"/{len(frame.value)}"
            elif frame.key is not None:
                yield "/" + token(frame.key)

    def _open(self, frame: _Frame) -> None:
        if len(self._frames) >= DEEPEST:
            raise self._bad("…", f"at most {DEEPEST} levels")
        if self._waits_for_key():
            raise self._bad("…", "a text as the name of a member")
        self._frames.append(frame)

    def _waits_for_key(self) -> bool:
        return (
            bool(self._frames)
            and self._frames[-1].key is None
            and (isinstance(self._frames[-1].value, dict))
        )

    def _close(self) -> None:
        done = self._frames.pop()
        if isinstance(done.value, dict):
            for more in done.merged:
                for key, value in more.items():
                    done.value.setdefault(key, value)
        if done.anchor is not None:
            self._anchors[done.anchor] = (done.value, done.size)
        self._put(done.value, done.size)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if self._waits_for_key():
            self._key(event)
            return
        value = self._meaning(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._put(value, 1)

    def _key(self, event: yaml.ScalarEvent) -> None:
        frame = self._frames[-1]
        assert isinstance(frame.value, dict)
        if event.value in frame.value:
            raise self._bad(event.value, "a member comes once in its object")
        if event.anchor is not None:
            self._anchors[event.anchor] = (event.value, 1)
        frame.key = event.value
        frame.merges = event.value == "<<" and event.implicit[0]

    def _put(self, value: Any, size: int) -> None:
        if not self._frames:
            self.whole = value
            return
        frame = self._frames[-1]
        frame.size += size
        if frame.size > MOST_NODES:
            raise self._bad(frame.size, f"at most {MOST_NODES} values, aliases followed")
        if isinstance(frame.value, list):
            frame.value.append(value)
        elif frame.key is None:
            if not isinstance(value, str):
                raise self._bad(value, "a text as the name of a member")
            frame.key = value
        elif frame.merges:
            self._merge(frame, value)
        else:
            frame.value[frame.key] = value
            frame.key = None

    def _merge(self, frame: _Frame, value: object) -> None:
        several = value if isinstance(value, list) else [value]
        for one in several:
            if not isinstance(one, dict):
                raise self._bad(one, "what is merged by << is an object, or a list of them")
            frame.merged.append(one)
        frame.key, frame.merges = None, False

    def _meaning(self, event: yaml.ScalarEvent) -> object:
        text: str = event.value
        plain = event.implicit[0]
        if event.tag is not None and not plain:
            return self._tagged(event.tag.removeprefix(_TAG), text)
        if not plain:
            return text
        if text in _NULL:
            return None
        if text in _FLAGS:
            return _FLAGS[text]
        if len(text) > _LONGEST_NUMBER:
            return text
        if _INTEGER.match(text):
            return int(text)
        if _OTHER_INTEGER.match(text):
            return int(text, 0)
        return float(text) if _FLOAT.match(text) else text

    def _tagged(self, tag: str, text: str) -> object:
        try:
            match tag:
                case "str" | "timestamp" | "binary" | "!":
                    return text
                case "int":
                    return int(text, 0)
                case "float":
                    return float(text)
                case "bool":
                    return _FLAGS[text]
                case "null":
                    return None
        except (ValueError, KeyError):
            pass
        raise self._bad(f"!!{tag} {text}", "a value that JSON has, too")
