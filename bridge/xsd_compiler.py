"""XSD's model, as xmlschema has built it, compiled into the nodes that write and read messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import xmlschema.names as nm
from xmlschema.validators import XsdAnyElement, XsdElement, XsdGlobals

from bridge.complex_node import Attribute, Complex, Variant
from bridge.content_model import Either, Group, Items, Member, Step, Wildcard
from bridge.simple_types import SimpleTypes
from bridge.simple_values import Simple, fixed_to
from bridge.wsdl_files import bad
from bridge.xml_nodes import Codec, Element, Name, Text, Untyped
from bridge.xsd_reading import XSD, documentation_of


class Prefixes:
    """One for each namespace of an interface, declared once at the top of every envelope."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def written(self, tag: str) -> str:
        """`{urn:x}name` as `n0:name`."""
        namespace, _, local = tag.rpartition("}")
        if not namespace:
            return local
        prefix = self._known.setdefault(namespace[1:], f"n{len(self._known)}")
        return f"{prefix}:{local}"

    def items(self) -> Iterator[tuple[str, str]]:
        """(namespace, prefix)"""
        return iter(self._known.items())


class Compiler:
    """Types are compiled when something first needs them, each once."""

    def __init__(self, maps: XsdGlobals, prefixes: Prefixes) -> None:
        self._maps = maps
        self._prefixes = prefixes
        self._simple = SimpleTypes()
        self._made: dict[int, Codec] = {}
        self._derived = self._derived_types()

    def _derived_types(self) -> dict[int, list[Any]]:
        derived: dict[int, list[Any]] = {}
        for xsd_type in self._maps.types.values():
            if xsd_type.is_complex() and not str(xsd_type.name).startswith(f"{{{XSD}}}"):
                base = xsd_type.base_type
                while base is not None and base.name != nm.XSD_ANY_TYPE and base.is_complex():
                    derived.setdefault(id(base), []).append(xsd_type)
                    base = base.base_type
        return derived

    def global_element(self, tag: str, file: str) -> Element:
        """Raises BadDocument."""
        try:
            declared = self._maps.elements[tag]
        except KeyError:
            raise bad(file, tag, "an element that one of its schemas declares") from None
        return self.element(declared, declared.local_name)

    def part(self, name: str, type_tag: str, file: str) -> Element:
        """A part of an RPC message: an element without namespace, of a type. Raises BadDocument."""
        try:
            xsd_type = self._maps.types[type_tag]
        except KeyError:
            raise bad(file, type_tag, "a type that one of its schemas defines") from None
        return Element(name, name, f"<{name}", f"</{name}>", self.type(xsd_type))

    def element(self, declared: XsdElement, key: str) -> Element:
        written = self._prefixes.written(str(declared.name))
        return Element(
            key,
            str(declared.name),
            f"<{written}",
            f"</{written}>",
            self._of_element(declared),
            bool(declared.nillable),
            documentation_of(declared),
        )

    def _of_element(self, declared: XsdElement) -> Codec:
        codec = self.type(declared.type)
        if declared.fixed is None or not isinstance(codec, Text):
            return codec
        return Text(fixed_to(codec.simple, declared.fixed))

    def type(self, xsd_type: Any) -> Codec:
        made = self._made.get(id(xsd_type))
        if made is not None:
            return made
        if xsd_type.name == nm.XSD_ANY_TYPE:
            return self._made.setdefault(id(xsd_type), Untyped())
        if xsd_type.is_simple():
            simple = self._simple.of(xsd_type)
            node: Codec = Name(simple) if simple.kind == "QName" else Text(simple)
            return self._made.setdefault(id(xsd_type), node)
        if xsd_type.has_simple_content() and not xsd_type.attributes and not xsd_type.name:
            return self.type(xsd_type.content)
        return self._complex(xsd_type)

    def _complex(self, xsd_type: Any) -> Complex:
        made = Complex(
            _name_of(xsd_type),
            bool(xsd_type.abstract),
            documentation_of(xsd_type),
        )
        self._made[id(xsd_type)] = made
        made.attributes = tuple(self._attributes(xsd_type))
        made.any_attribute = None in xsd_type.attributes
        if xsd_type.has_simple_content():
            made.text = self._simple.of(xsd_type.content)
        elif xsd_type.mixed:
            made.mixed = True
        else:
            content = _Content(self)
            made.content = Group(content.steps(xsd_type.content), False)
            made.anything = content.wildcard
        made.ready()
        self._add_variants(xsd_type, made)
        return made

    def _add_variants(self, xsd_type: Any, made: Complex) -> None:
        derived = self._derived.get(id(xsd_type), ())
        variants: list[Variant] = []
        names: set[str] = set()
        for one in (xsd_type, *derived) if derived else ():
            if one.abstract:
                continue
            codec = self.type(one)
            assert isinstance(codec, Complex)
            name = one.local_name if one.local_name not in names else one.name
            names.add(name)
            variants.append(Variant(name, one.name, self._prefixes.written(one.name), codec))
        if variants:
            made.has_variants(variants)

    def _attributes(self, xsd_type: Any) -> Iterator[Attribute]:
        names: set[str] = set()
        for tag, declared in xsd_type.attributes.items():
            if tag is None or declared.use == "prohibited":
                continue
            local = tag.rpartition("}")[2]
            key = f"@{local if local not in names else tag}"
            names.add(local)
            simple: Simple = self._simple.of(declared.type)
            if declared.fixed is not None:
                simple = fixed_to(simple, declared.fixed)
            written = "xml:" + local if tag.startswith(_XML) else self._prefixes.written(tag)
            required = declared.use == "required"
            yield Attribute(key, tag, written, simple, required, declared.default)


_XML = "{http://www.w3.org/XML/1998/namespace}"


class _Content:
    """The content model of one type: its names are told apart within it."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._keys: dict[str, str] = {}
        self._groups = 0
        self.wildcard: Wildcard | None = None

    def steps(self, particle: Any) -> tuple[Step, ...]:
        least, most = particle.min_occurs, particle.max_occurs
        if most == 0:
            return ()
        if isinstance(particle, XsdElement):
            return (self._member(particle),)
        if isinstance(particle, XsdAnyElement):
            return self._any(particle, least, most)
        if particle.model == "choice":
            steps = self._choice([Group(self.steps(one), False) for one in particle])
        else:
            steps = tuple(step for one in particle for step in self.steps(one))
            _refuse_twins(steps, particle)
        return self._repeated(steps, least, most)

    def _member(self, particle: XsdElement) -> Step:
        least, most = particle.min_occurs, particle.max_occurs
        others = sorted(particle.iter_substitutes(), key=lambda one: str(one.name))
        if not others:
            return Member(self._element(particle), least, most)
        declared = particle.ref or particle
        choice = [one for one in (declared, *others) if not one.abstract]
        steps = self._choice([Group((Member(self._element(one), 1, 1),), False) for one in choice])
        repeated = self._repeated(steps, least, most)
        return repeated[0] if len(repeated) == 1 else Group(repeated, False)

    def _element(self, declared: XsdElement) -> Element:
        tag, local = str(declared.name), str(declared.local_name)
        key = local if self._keys.setdefault(local, tag) == tag else tag
        return self._compiler.element(declared, key)

    def _any(self, declared: XsdAnyElement, least: int, most: int | None) -> tuple[Step, ...]:
        allowed = declared.is_namespace_allowed
        if self.wildcard is not None:
            # Elements of two wildcards cannot be told apart: the first takes them all.
            self.wildcard.least += least
            self.wildcard.most = None
            self.wildcard.spaces.append(allowed)
            return ()
        self.wildcard = Wildcard(least, most, [allowed])
        return (self.wildcard,)

    def _choice(self, branches: list[Group]) -> tuple[Step, ...]:
        if not branches:
            return ()
        optional = any(_may_be_empty(branch) for branch in branches)
        return (Either(tuple(branches), optional),)

    def _repeated(self, steps: tuple[Step, ...], least: int, most: int | None) -> tuple[Step, ...]:
        if not steps or (least, most) == (1, 1):
            return steps
        alone = _alone(steps)
        if alone is not None:
            alone.least *= least
            alone.most = None if most is None or alone.most is None else alone.most * most
            return (_again(alone),)
        if most == 1:
            if len(steps) == 1 and isinstance(steps[0], Either):
                steps[0].optional = True
                return steps
            return (Group(steps, True),)
        self._groups += 1
        key = "$items" if self._groups == 1 else f"$items{self._groups}"
        return (Items(key, Group(steps, False), least, most),)


def _alone(steps: tuple[Step, ...]) -> Member | Wildcard | None:
    """The one element that a group consists of, if it does: no need to group it then."""
    if len(steps) != 1:
        return None
    step = steps[0]
    if isinstance(step, Either) and len(step.branches) == 1:
        return _alone(step.branches[0].steps)
    return step if isinstance(step, Member | Wildcard) else None


def _again(step: Member | Wildcard) -> Step:
    return step if isinstance(step, Wildcard) else Member(step.element, step.least, step.most)


def _may_be_empty(group: Group) -> bool:
    return group.optional or all(
        _may_be_empty(step)
        if isinstance(step, Group)
        else step.optional
        if isinstance(step, Either)
        else step.least == 0  # type: ignore[attr-defined]
        for step in group.steps
    )


def _refuse_twins(steps: tuple[Step, ...], particle: Any) -> None:
    seen: set[str] = set()
    for step in steps:
        twins = seen & step.keys
        if twins:
            rule = "each element once in a sequence: a JSON object cannot tell two of a name apart"
            raise bad("the schema", ", ".join(sorted(twins)), rule)
        seen |= step.keys


def _name_of(xsd_type: Any) -> str:
    """Of a type, or of the global element that alone has it; others have none."""
    if xsd_type.name:
        return str(xsd_type.local_name)
    parent = xsd_type.parent
    if isinstance(parent, XsdElement) and parent.parent is None:
        return str(parent.local_name)
    return ""
