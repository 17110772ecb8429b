"""All schemas of a WSDL as one: gathered from its files, built and checked by xmlschema.

Imports and includes are followed here, within the uploaded files, so that the library opens
nothing. Two things are taken out of a stranger's schemas first: identity constraints, which no
message is checked for, and patterns, since Python's `re` can be made to run for ever; those are
kept beside (`PATTERNS`) for an engine that cannot.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import xmlschema
from lxml import etree
from xmlschema.loaders import SchemaLoader
from xmlschema.validators import XsdGlobals

from bridge.document import BadDocument
from bridge.wsdl_files import XmlFiles, bad

XSD = "http://www.w3.org/2001/XMLSchema"
PATTERNS = "{urn:gridroam:bridge}patterns"
# Known to the library, or naming nothing that a literal message could hold.
_BUILT_IN = {
    XSD,
    "http://www.w3.org/XML/1998/namespace",
    "http://schemas.xmlsoap.org/soap/encoding/",
    "http://schemas.xmlsoap.org/wsdl/",
    "http://www.w3.org/2003/05/soap-encoding",
}
_IDENTITIES = tuple(f"{{{XSD}}}{name}" for name in ("unique", "key", "keyref"))


class _FollowsNothing(SchemaLoader):
    """Every schema sees every namespace that was gathered: what is imported where is no matter."""

    def load_declared_schemas(self, schema: object, other_sources: object = None) -> None:
        pass


class Schemas:
    """Gathers with `add` and `add_file`, then builds once."""

    def __init__(self, files: XmlFiles) -> None:
        self._files = files
        self._found: dict[tuple[str, str], str] = {}
        self._sources: list[tuple[str, str, etree._Element]] = []

    def add_file(self, name: str, namespace: str | None = None) -> None:
        """A schema of its own file. Raises BadDocument."""
        root = self._files.root(name)
        if root.tag != f"{{{XSD}}}schema":
            raise bad(name, root.tag, "a schema of XML Schema 1.0 (xsd:schema)")
        if (name, namespace or "") in self._found:
            return
        self._found[name, namespace or ""] = name
        self.add(name, root, namespace)

    def add(self, name: str, schema: etree._Element, namespace: str | None = None) -> None:
        """A schema element that stands in the file `name`. Raises BadDocument."""
        own = schema.get("targetNamespace") or ""
        if namespace is not None and own not in ("", namespace):
            raise bad(name, own, f"the target namespace {namespace}, by which it is imported")
        target = own or namespace or ""
        self._sources.append((name, target, schema))
        for child in schema.iterchildren(f"{{{XSD}}}*"):
            self._follow(name, target, child)

    def _follow(self, name: str, target: str, child: etree._Element) -> None:
        kind = etree.QName(child).localname
        location = child.get("schemaLocation")
        if kind in ("redefine", "override"):
            raise bad(name, location, f"no xsd:{kind}: write the types as they are meant to be")
        if kind == "include":
            self.add_file(self._files.named(name, location or ""), target)
        elif kind == "import" and location:
            namespace = child.get("namespace") or ""
            if namespace not in _BUILT_IN:
                found = self._files.named(name, location)
                theirs = self._files.root(found).get("targetNamespace") or ""
                if theirs != namespace:
                    raise bad(name, namespace, f"{found} has the target namespace {theirs!r}")
                self.add_file(found, namespace)

    def build(self) -> XsdGlobals:
        """Raises BadDocument."""
        empty = f'<xs:schema xmlns:xs="{XSD}"/>'
        first = xmlschema.XMLSchema10(
            empty, loader_class=_FollowsNothing, build=False, allow="none", defuse="always"
        )
        namespaces = sorted({target for _, target, _ in self._sources} | _BUILT_IN)
        files = {}
        for name, target, schema in self._sources:
            try:
                built = xmlschema.XMLSchema10(
                    _source(schema), namespace=target or None, global_maps=first.maps, build=False
                )
            except (xmlschema.XMLSchemaException, ValueError, TypeError, RecursionError) as error:
                raise _not_built(name, error) from None
            built.imported_namespaces.extend(namespaces)
            files[id(built.source)] = name
        try:
            first.maps.build()
        except (
            xmlschema.XMLSchemaException,
            ValueError,
            TypeError,
            KeyError,
            RecursionError,
        ) as error:
            told = files.get(id(getattr(error, "source", None)), "")
            raise _not_built(told or ", ".join(sorted(set(files.values()))), error) from None
        return first.maps


def _not_built(name: str, error: Exception) -> BadDocument:
    said = getattr(error, "message", None) or str(error) or type(error).__name__
    where = getattr(error, "path", None)
    return bad(name, where, "XML Schema 1.0: " + " ".join(str(said).split())[:300])


def _source(schema: etree._Element) -> str:
    """The schema as text, with every prefix that its file declares."""
    alone = etree.fromstring(etree.tostring(schema, with_tail=False))
    for identity in list(alone.iter(*_IDENTITIES)):
        _remove(identity)
    for restriction in alone.iter(f"{{{XSD}}}restriction"):
        patterns = restriction.findall(f"{{{XSD}}}pattern")
        if patterns:
            restriction.set(PATTERNS, json.dumps([one.get("value", "") for one in patterns]))
            for pattern in patterns:
                _remove(pattern)
    return str(etree.tostring(alone, encoding="unicode"))


def _remove(element: etree._Element) -> None:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)


def patterns_of(elements: Iterable[object]) -> list[str]:
    """What `_source` put aside, of a restriction or of the simple type around one."""
    for element in elements:
        kept = element.get(PATTERNS)  # type: ignore[attr-defined]
        if kept is not None:
            return list(json.loads(kept))
    return []


def documentation_of(component: Any) -> str:
    """What its xsd:annotation says, in one line."""
    annotation = component.annotation
    if annotation is None:
        return ""
    texts = ("".join(one.itertext()) for one in annotation.documentation)
    return " ".join(" ".join(texts).split())
