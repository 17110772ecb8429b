"""An OpenAPI document (3.0 or 3.1) read: which operations there are, and what they take and give.

Read with patience: what a document leaves out or says twice is refused only where nobody could know
what is meant. Descriptions of errors, security and links are not looked at: what a provider answers
beyond its 2xx is passed on as a problem, whatever it is.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self, TypedDict

from bridge.document import Document
from bridge.references import Place, References
from bridge.xml_names import distinct, is_name, plain_name

MOST_OPERATIONS = 2_000
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
PLACES = ("path", "query", "header")
# OpenAPI leaves the first three to other parts of the document (4.8.12.1); the others belong to a
# connection, and no caller says them.
_NOT_PARAMETERS = frozenset(
    ("accept", "content-type", "authorization", "connection", "content-length", "cookie", "expect")
) | {"host", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
_HEADER_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+\Z")
_IN_TEMPLATE = re.compile(r"\{([^{}]*)\}")
# Values of these are data, in which a $ref refers to nothing.
_DATA = frozenset(("example", "examples", "default", "enum", "const"))


@dataclass(frozen=True, slots=True)
class Parameter:
    """`member` is its name among all that the operation takes: `id`, or `id_query` beside it."""

    member: str
    name: str
    place: str
    required: bool
    style: str
    explode: bool
    in_json: bool
    schema: Place | None
    description: str


@dataclass(frozen=True, slots=True)
class Content:
    """A body: the media type that is used of those offered, and its schema."""

    required: bool
    media_type: str
    schema: Place | None


@dataclass(frozen=True, slots=True)
class RestOperation:
    """`answers` are by status as the document spells it: 200, 2XX, default. None has no body."""

    name: str
    method: str
    path: str
    summary: str
    parameters: tuple[Parameter, ...]
    body: Content | None
    answers: Mapping[str, Content | None]


_Templates = dict[tuple[str, int], list[tuple[re.Pattern[str], RestOperation]]]


class RestInterface:
    """What a REST provider offers. Make it by `read`."""

    def __init__(
        self,
        title: str,
        version: str,
        operations: Mapping[str, RestOperation],
        references: References,
    ) -> None:
        self.title = title
        self.version = version
        self.operations = MappingProxyType(dict(operations))
        self.references = references
        self._plain = {
            (one.method, one.path): one for one in operations.values() if "{" not in one.path
        }
        self._templates = _by_length(operations.values())

    @classmethod
    def read(cls, document: Document) -> Self:
        """Slow for a large document: in a thread. Raises BadDocument, DocumentTooLarge."""
        references = References(document)
        root = references.root
        said = str(root.mapping().get("openapi", root.mapping().get("swagger", "")))
        if not re.match(r"3\.[01](\.|\Z)", said):
            raise root.bad(
                "`openapi` is 3.0.x or 3.1.x; convert a Swagger 2.0 document first", said
            )
        _check_references(references)
        info = root.get("info") or root
        operations = _Reading(references).operations()
        return cls(info.text("title"), info.text("version"), operations, references)

    def find(self, method: str, path: str) -> RestOperation | None:
        """The operation of a call; `path` begins with a slash and has no query."""
        method = method.upper()
        found = self._plain.get((method, path))
        if found is not None:
            return found
        for pattern, operation in self._templates.get((method, path.count("/")), ()):
            if pattern.match(path):
                return operation
        return None


def _pattern(path: str) -> re.Pattern[str]:
    """Matches what a template stands for. Several values in one segment are told apart where the
    text between them comes first, so that no path takes more than one walk along it."""
    return re.compile("/".join(map(_segment, path.split("/"))) + r"\Z")


def _segment(segment: str) -> str:
    texts = [re.escape(text) for text in _IN_TEMPLATE.split(segment)[::2]]
    if len(texts) == 1:
        return texts[0]
    between = "".join(f"(?>[^/]+?{text})" if text else "[^/]" for text in texts[1:-1])
    return f"{texts[0]}{between}[^/]+{texts[-1]}"


def _generality(path: str) -> tuple[tuple[bool, int], ...]:
    """Sorts the more particular template first, segment by segment."""
    return tuple(
        ("{" in segment, -len(_IN_TEMPLATE.sub("", segment))) for segment in path.split("/")
    )


def _by_length(operations: Iterable[RestOperation]) -> _Templates:
    found: _Templates = {}
    for one in sorted(operations, key=lambda one: _generality(one.path)):
        if "{" in one.path:
            found.setdefault((one.method, one.path.count("/")), []).append(
                (_pattern(one.path), one)
            )
    return found


def _check_references(references: References) -> None:
    """Follows every `$ref` that can be reached, so that what is missing is told of at once."""
    waiting, seen = [references.root], {references.root}
    while waiting:
        place = waiting.pop()
        value = place.value
        found: Iterable[Place] = ()
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                found = [references.target(place)]
                references.follow(place)
            else:
                found = [
                    place[name]
                    for name, inner in value.items()
                    if isinstance(inner, dict | list)
                    and name not in _DATA
                    and not name.startswith("x-")
                ]
        elif isinstance(value, list):
            found = place.items()
        for one in found:
            if one not in seen:
                seen.add(one)
                waiting.append(one)


class _Reading:
    def __init__(self, references: References) -> None:
        self._follow = references.follow
        self._root = references.root

    def operations(self) -> dict[str, RestOperation]:
        found: dict[str, RestOperation] = {}
        for path, method, item, place in self._declared():
            if len(found) >= MOST_OPERATIONS:
                raise place.bad(f"at most {MOST_OPERATIONS} operations")
            one = self._operation(_name(path, method, place, found), path, method, item, place)
            found[one.name] = one
        if not found:
            raise self._root.bad("`paths` has at least one operation")
        return found

    def _declared(self) -> Iterator[tuple[str, str, Place, Place]]:
        paths = self._root.get("paths")
        for path, item in paths.members() if paths else ():
            if path.startswith("x-"):
                continue
            if not path.startswith("/"):
                raise item.bad("a path begins with a slash", path)
            item = self._follow(item)
            item.mapping()
            for method in METHODS:
                place = item.get(method)
                if place is not None:
                    place.mapping()
                    yield path, method, item, place

    def _operation(
        self, name: str, path: str, method: str, item: Place, place: Place
    ) -> RestOperation:
        body = place.get("requestBody")
        answers = place.get("responses")
        return RestOperation(
            name=name,
            method=method.upper(),
            path=path,
            summary=place.text("summary") or place.text("description"),
            parameters=self._parameters(path, item, place),
            body=self._content(self._follow(body)) if body is not None else None,
            answers=MappingProxyType(
                {
                    status.upper() if status != "default" else status: self._content(
                        self._follow(one)
                    )
                    for status, one in (answers.members() if answers else ())
                    if not status.startswith("x-")
                }
            ),
        )

    def _parameters(self, path: str, item: Place, place: Place) -> tuple[Parameter, ...]:
        declared: dict[tuple[str, str], Place] = {}
        for level in (item, place):
            listed = level.get("parameters")
            for one in listed.items() if listed else ():
                one = self._follow(one)
                where, called = one.text("in"), one.text("name")
                if not called or where not in (*PLACES, "cookie"):
                    raise one.bad(
                        "a parameter has a name, and is `in` path, query, header or cookie"
                    )
                if where == "header" and not _HEADER_NAME.match(called):
                    raise one.bad("a header has a name that HTTP can carry", called)
                declared[where, called] = one
        in_path = _IN_TEMPLATE.findall(path)
        if len(set(in_path)) < len(in_path) or "" in in_path:
            raise item.bad("each value of a path template has a name of its own", path)
        made: dict[str, Parameter] = {}
        for called in in_path:
            self._add(made, "path", called, declared.pop(("path", called), None))
        for (where, called), one in declared.items():
            # A value for a path that has no place for it goes nowhere; cookies are the hub's own.
            if where in ("query", "header") and called.lower() not in _NOT_PARAMETERS:
                self._add(made, where, called, one)
        return tuple(made.values())

    def _add(self, made: dict[str, Parameter], where: str, called: str, one: Place | None) -> None:
        member = called if called not in made and called != "body" else f"{called}_{where}"
        member = distinct(member, made)
        made[member] = Parameter(
            member=member,
            name=called,
            place=where,
            required=where == "path" or (one is not None and one.value.get("required") is True),
            **self._spelling(where, one),
            description=one.text("description") if one is not None else "",
        )

    def _spelling(self, where: str, one: Place | None) -> _Spelling:
        usual = "form" if where == "query" else "simple"
        if one is None:
            return _Spelling(style=usual, explode=False, in_json=False, schema=None)
        style = one.text("style") or usual
        content = one.get("content")
        schema = one.get("schema")
        if content is not None and content.mapping():
            schema = content[next(iter(content.mapping()))].get("schema")
        return _Spelling(
            style=style,
            explode=one.value.get("explode", style == "form") is True,
            in_json=content is not None,
            schema=schema,
        )

    def _content(self, place: Place) -> Content | None:
        offered = place.get("content")
        if offered is None or not offered.mapping():
            return None
        best = min(offered.mapping(), key=_preference)
        media_type = best.partition(";")[0].strip().lower()
        return Content(
            required=place.value.get("required") is True,
            media_type="application/json" if media_type in ("*/*", "application/*") else media_type,
            schema=offered[best].get("schema") if offered[best].mapping() else None,
        )


class _Spelling(TypedDict):
    style: str
    explode: bool
    in_json: bool
    schema: Place | None


def is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")


def _preference(media_type: str) -> int:
    """JSON before all else, and what can be said member by member before what cannot."""
    kind = media_type.partition(";")[0].strip().lower()
    if is_json(kind):
        return 0 if kind == "application/json" else 1
    order = ("*/*", "application/*", "application/x-www-form-urlencoded", "text/plain")
    return order.index(kind) + 2 if kind in order else 9


def _name(path: str, method: str, place: Place, taken: Container[str]) -> str:
    """The operationId; where there is none, or one that XML or another operation has no room for,
    a name that stays the same while path and method do."""
    said = place.text("operationId").strip()
    if said and is_name(said) and said not in taken:
        return said
    if said and plain_name(said) not in taken:
        return plain_name(said)
    parts = [
        "By" + _capital(part) if part.startswith("{") else _capital(part)
        for part in path.split("/")
        if part
    ]
    return distinct(plain_name(method + "".join(parts)), taken)


def _capital(text: str) -> str:
    words = re.split(r"[^0-9A-Za-z]+", text)
    return "".join(word[:1].upper() + word[1:] for word in words)
