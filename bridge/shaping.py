"""The operations of a REST interface, and the shapes of all that they take and give."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from bridge.openapi import Content, Parameter, RestInterface, RestOperation, is_json
from bridge.references import Place
from bridge.schema_reading import Flat, Schemas, Spot
from bridge.shapes import Alternatives, Declared, Free, Listing, Member, Scalar, Shape, Structure
from bridge.xml_names import clean, distinct, plain_name, xml_name

MOST_TYPES = 5_000
BODY = "body"

# Not `time` and `duration`: what JSON calls so, XSD would refuse (08:30, P2W).
_STRINGS = {
    "date-time": "dateTime",
    "date": "date",
    "byte": "base64Binary",
    "uri": "anyURI",
}
_NUMBERS = {"float": "float", "double": "double"}
_INTEGERS = {"int32": "int", "int64": "long"}
_UUID = "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"


@dataclass(frozen=True, slots=True)
class Shaped:
    """`request` is an object of the operation's parameters, each by its `member`, and its body;
    `answer` one of its bodies, of which `bodies` tells the member by the status."""

    operation: RestOperation
    request: Structure
    answer: Structure
    bodies: dict[str, Member]

    def body_of(self, status: int) -> Member | None:
        """The member for an answer of this status; None for one without a body that was told of."""
        for said in (str(status), f"{status // 100}XX", "default"):
            if said in self.bodies:
                return self.bodies[said]
        return None


def shaped(interface: RestInterface) -> tuple[list[Shaped], list[Declared]]:
    """The operations, and the types that they need. Raises BadDocument."""
    shaping = _Shaping(interface)
    found = [shaping.operation(one) for one in interface.operations.values() if _speaks(one)]
    shaping.finish()
    return found, shaping.types


def _speaks(operation: RestOperation) -> bool:
    """What has no body to answer with, or a body that only a browser writes, is not for SOAP."""
    body = operation.body
    several = body is not None and body.media_type.startswith("multipart/")
    return operation.method not in ("HEAD", "OPTIONS", "TRACE") and not several


def _bare(operation: RestOperation) -> RestOperation:
    """The operation without its schemas, which hold on to the whole document."""
    body = operation.body
    return replace(
        operation,
        parameters=tuple(replace(one, schema=None) for one in operation.parameters),
        body=None if body is None else replace(body, schema=None),
        answers={},
    )


class _Shaping:
    """Types are made when they are first met and filled one after the other, so that neither a
    circle of them nor a long chain is a matter."""

    def __init__(self, interface: RestInterface) -> None:
        self._schemas = Schemas(interface.references)
        self._root = interface.references.root
        self._made: dict[Spot, Shape] = {}
        self._waiting: deque[Callable[[], None]] = deque()
        self._names: set[str] = set()
        self._elements = set(interface.operations)
        self.types: list[Declared] = []

    # --- operations ---

    def operation(self, operation: RestOperation) -> Shaped:
        request = Structure(operation.name)
        members = [self._parameter(operation, one) for one in operation.parameters]
        if operation.body is not None:
            hint = f"{operation.name}_body"
            members.append(self._content(BODY, hint, operation.body, operation.body.required))
        request.ready(self._told_apart(members), None, "")
        bodies = self._bodies(operation)
        answer = Structure(self._answer_name(operation))
        answer.ready(
            self._told_apart([*{one.name: one for one in bodies.values()}.values()]), None, ""
        )
        return Shaped(_bare(operation), request, answer, bodies)

    def _answer_name(self, operation: RestOperation) -> str:
        name = distinct(f"{operation.name}Response", self._elements)
        self._elements.add(name)
        return name

    def _parameter(self, operation: RestOperation, parameter: Parameter) -> Member:
        hint = f"{operation.name}_{parameter.member}"
        schema = parameter.schema
        member = self._member(parameter.member, () if schema is None else (schema,), hint)
        if schema is None or isinstance(member.shape, Free):
            member.shape = Scalar("string")
        member.required = parameter.required
        member.documentation = clean(parameter.description) or member.documentation
        return member

    def _bodies(self, operation: RestOperation) -> dict[str, Member]:
        """A member for each answer that is none of an error; one for all that look the same."""
        statuses = [one for one in operation.answers if one.startswith("2")]
        if not statuses and "default" in operation.answers:
            statuses = ["default"]
        found: dict[str, Member] = {}
        by_schema: dict[object, Member] = {}
        for status in sorted(statuses):
            content = operation.answers[status]
            if content is None:
                continue
            schema = self._schemas.spot((content.schema,) if content.schema else ())
            known = (is_json(content.media_type), schema)
            if known not in by_schema:
                name = BODY if not by_schema else f"{BODY}{status}"
                hint = f"{operation.name}Response_{name}"
                by_schema[known] = self._content(name, hint, content, len(statuses) == 1)
            found[status] = by_schema[known]
        return found

    def _content(self, name: str, hint: str, content: Content, required: bool) -> Member:
        kind = content.media_type
        if is_json(kind) or kind == "application/x-www-form-urlencoded":
            member = self._member(name, () if content.schema is None else (content.schema,), hint)
            member.required = required
            return member
        text = kind.startswith("text/") or kind.endswith("xml")
        shape = Scalar("string" if text else "base64Binary", documentation=f"Content of {kind}.")
        return Member(name, name, shape, required)

    # --- schemas ---

    def finish(self) -> None:
        """Fills what was met."""
        while self._waiting:
            self._waiting.popleft()()

    def _member(self, name: str, places: tuple[Place, ...], hint: str) -> Member:
        spot = self._schemas.spot(places)
        flat = self._schemas.flat(spot)
        member = Member(name, xml_name(name), Free(), documentation=clean(flat.description))
        if flat.type == "array" and flat.choice is None and not flat.nullable:
            member.repeated = True
            self._fill_item(member, flat, f"{hint}_item")
        else:
            member.shape = self._shape(spot, hint, self._called(places))
            member.nullable = flat.nullable
        return member

    def _fill_item(self, member: Member, flat: Flat, hint: str) -> None:
        spot = self._schemas.spot(flat.items)
        member.shape = self._shape(spot, hint, self._called(flat.items))
        member.nullable = self._schemas.flat(spot).nullable

    def _called(self, places: tuple[Place, ...]) -> str | None:
        return self._schemas.name(places[-1]) if places else None

    def _shape(self, spot: Spot, hint: str, called: str | None) -> Shape:
        if spot not in self._made:
            self._made[spot] = self._make(spot, hint, called)
        return self._made[spot]

    def _make(self, spot: Spot, hint: str, called: str | None) -> Shape:
        flat = self._schemas.flat(spot)
        if flat.choice is not None or len(flat.types) > 1:
            return self._alternatives(spot, flat, called or hint)
        match flat.type:
            case "object":
                if flat.properties or flat.additional or flat.closed:
                    return self._structure(flat, called or hint)
                return Free()
            case "array":
                return self._listing(flat, called or hint)
            case None:
                return Free()
            case kind:
                return self._scalar(flat, kind, called)

    def _declare(self, called: str, documentation: str) -> tuple[str, str]:
        if len(self.types) >= MOST_TYPES:
            raise self._root.bad(f"at most {MOST_TYPES} types of objects and arrays")
        name = distinct(plain_name(called), self._names)
        self._names.add(name)
        return name, clean(documentation)

    def _scalar(self, flat: Flat, kind: str, called: str | None) -> Scalar:
        enum = flat.enum
        kinds = {"string": str, "integer": int, "number": int | float, "boolean": bool}
        if enum is not None and not all(isinstance(one, kinds[kind]) for one in enum):
            enum = None
        if kind == "boolean":
            return Scalar("boolean", kind)
        if kind != "string":
            xsd = _INTEGERS.get(flat.format, "integer")
            if kind == "number":
                xsd = _NUMBERS.get(flat.format, "decimal")
            return Scalar(xsd, kind)
        if enum is not None and all(enum):
            if called is None:
                return Scalar("string", kind, enum)
            name, documentation = self._declare(called, flat.description)
            made = Scalar("string", kind, enum, name, documentation=documentation)
            self.types.append(made)
            return made
        if flat.encoding == "base64":
            return Scalar("base64Binary")
        if flat.format == "uuid":
            return Scalar("string", pattern=_UUID)
        return Scalar(_STRINGS.get(flat.format, "string"))

    def _structure(self, flat: Flat, called: str) -> Structure:
        made = Structure(*self._declare(called, flat.description))
        self.types.append(made)

        def fill() -> None:
            members = [
                self._property(name, places, flat, f"{made.name}_{name}")
                for name, places in flat.properties.items()
            ]
            entries = None
            if flat.additional is not None or not flat.closed:
                # JSON lets an object have what its schema does not tell of, and partners do.
                entries = self._member("value", flat.additional or (), f"{made.name}_value")
                entries.required = True
            kept = self._told_apart(members)
            made.ready(kept, entries, distinct("entry", {one.element for one in kept}))

        self._waiting.append(fill)
        return made

    def _property(self, name: str, places: tuple[Place, ...], flat: Flat, hint: str) -> Member:
        member = self._member(name, places, hint)
        read_only = self._schemas.flat(self._schemas.spot(places)).read_only
        member.required = name in flat.required and not read_only
        return member

    def _listing(self, flat: Flat, called: str) -> Listing:
        made = Listing(*self._declare(called, flat.description))
        self.types.append(made)

        self._waiting.append(lambda: self._fill_item(made.item, flat, f"{made.name}_item"))
        return made

    def _alternatives(self, spot: Spot, flat: Flat, called: str) -> Alternatives:
        made = Alternatives(*self._declare(called, flat.description))
        self.types.append(made)

        def fill() -> None:
            found = {place: member for place, member in self._branches(spot, flat, made.name)}
            made.members = self._told_apart(list(found.values()))
            if flat.choice is not None and flat.choice.by:
                made.by = flat.choice.by
                mapping = flat.choice.mapping
                made.mapping = {
                    told: found[place] for told, place in mapping.items() if place in found
                }

        self._waiting.append(fill)
        return made

    def _branches(self, spot: Spot, flat: Flat, name: str) -> Iterator[tuple[Place | str, Member]]:
        if flat.choice is None:
            for kind in sorted(flat.types):
                inner = Spot(spot.places, spot.decided, kind)
                shape = self._shape(inner, f"{name}_{kind}", None)
                yield kind, Member(kind, kind, shape, True)
            return
        for number, place in enumerate(flat.choice.alternatives, 1):
            inner = self._schemas.narrowed(spot, flat.choice, place)
            called = self._schemas.name(place)
            told = called or self._title(place) or self._schemas.flat(inner).type
            branch = told or f"option{number}"
            shape = self._shape(inner, f"{name}_{branch}", called)
            yield place, Member(branch, xml_name(branch), shape, True)

    def _title(self, place: Place) -> str | None:
        title = place.text("title")
        return plain_name(title) if title else None

    def _told_apart(self, members: list[Member]) -> tuple[Member, ...]:
        """Elements of one type have names of their own."""
        taken: set[str] = set()
        for one in members:
            one.element = distinct(one.element, taken)
            taken.add(one.element)
        return tuple(members)
