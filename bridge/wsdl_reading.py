"""WSDL 1.1 as it stands in its files: messages, port types, SOAP bindings, services.

Which of it a caller can use, and by what names, is said here once; schemas are another file's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lxml import etree

from bridge.wsdl_files import XmlFiles, bad
from bridge.xsd_reading import XSD, Schemas

WSDL = "http://schemas.xmlsoap.org/wsdl/"
BINDINGS = {
    "1.1": "http://schemas.xmlsoap.org/wsdl/soap/",
    "1.2": "http://schemas.xmlsoap.org/wsdl/soap12/",
}
_HTTP = {
    "",
    "http://schemas.xmlsoap.org/soap/http",
    "http://www.w3.org/2003/05/soap/bindings/HTTP/",
}
_MOST_DEEP = 50


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message: by the name of an element, or of a type."""

    name: str
    element: str | None
    type: str | None
    file: str


@dataclass(frozen=True, slots=True)
class Message:
    """One direction of a bound operation: the body's parts, the headers', and for RPC the
    wrapper's tag."""

    body: tuple[Part, ...]
    headers: tuple[Part, ...]
    wrapper: str | None


@dataclass(frozen=True, slots=True)
class BoundOperation:
    name: str
    style: str
    version: str
    action: str
    documentation: str
    request: Message
    answer: Message | None
    faults: tuple[Part, ...]
    file: str


@dataclass(slots=True)
class Wsdl:
    """All that the files of one WSDL say, and its bound operations in the order of its ports."""

    target_namespace: str
    name: str
    documentation: str
    schemas: Schemas
    operations: list[BoundOperation] = field(default_factory=list)


_Found = dict[str, tuple[etree._Element, str, str]]


class _Reader:
    """Definitions by kind and qualified name: (element, file, target namespace)."""

    def __init__(self, files: XmlFiles) -> None:
        self._files = files
        self._seen: set[str] = set()
        self.schemas = Schemas(files)
        self.found: dict[str, _Found] = {
            kind: {} for kind in ("message", "portType", "binding", "service")
        }

    def read(self, name: str) -> etree._Element:
        root = self._files.root(name)
        if root.tag != f"{{{WSDL}}}definitions":
            raise bad(name, root.tag, f"WSDL 1.1 (definitions of {WSDL})")
        self._seen.add(name)
        target = root.get("targetNamespace") or ""
        for child in root.iterchildren(f"{{{WSDL}}}*"):
            kind = etree.QName(child).localname
            if kind == "import":
                self._import(name, child)
            elif kind == "types":
                for schema in child.iterchildren(f"{{{XSD}}}schema"):
                    self.schemas.add(name, schema)
            elif kind in self.found:
                tag = f"{{{target}}}{child.get('name') or ''}"
                self.found[kind].setdefault(tag, (child, name, target))
        return root

    def _import(self, importing: str, child: etree._Element) -> None:
        name = self._files.named(importing, child.get("location") or "")
        if name in self._seen:
            return
        if len(self._seen) >= _MOST_DEEP:
            raise bad(importing, name, f"at most {_MOST_DEEP} files that import each other")
        if self._files.root(name).tag == f"{{{XSD}}}schema":
            self._seen.add(name)
            self.schemas.add_file(name)
        else:
            self.read(name)

    def named(self, kind: str, at: etree._Element, told: str | None, file: str) -> str:
        tag = _qualified(at, told or "")
        if tag not in self.found[kind]:
            raise bad(file, told, f"the name of a {kind} that one of its files has")
        return tag

    # --- bindings ---

    def bindings(self, file: str) -> Iterator[tuple[str, str]]:
        """(name, SOAP version) of all that speak SOAP over HTTP, those of services first."""
        ordered: dict[str, None] = {}
        for service, where, _ in self.found["service"].values():
            for port in service.iterchildren(f"{{{WSDL}}}port"):
                ordered[self.named("binding", port, port.get("binding"), where)] = None
        ordered.update(dict.fromkeys(self.found["binding"]))
        spoken = 0
        for tag in ordered:
            binding = self.found["binding"][tag][0]
            for version, namespace in BINDINGS.items():
                soap = binding.find(f"{{{namespace}}}binding")
                if soap is not None and (soap.get("transport") or "") in _HTTP:
                    spoken += 1
                    yield tag, version
        if not spoken:
            rule = "a binding of SOAP 1.1 or 1.2 over HTTP: it has none"
            raise bad(file, ", ".join(ordered) or None, rule)

    def operations(self, binding_tag: str, version: str) -> Iterator[BoundOperation]:
        binding, file, _ = self.found["binding"][binding_tag]
        soap = binding.find(f"{{{BINDINGS[version]}}}binding")
        style = "document" if soap is None else soap.get("style") or "document"
        port_tag = self.named("portType", binding, binding.get("type"), file)
        abstract = {
            one.get("name"): one
            for one in self.found["portType"][port_tag][0].iterchildren(f"{{{WSDL}}}operation")
        }
        for bound in binding.iterchildren(f"{{{WSDL}}}operation"):
            operation = abstract.get(bound.get("name"))
            if operation is None:
                rule = f"an operation of the port type {port_tag}"
                raise bad(file, bound.get("name"), rule)
            yield self._operation(bound, operation, version, style, file)

    def _operation(
        self, bound: etree._Element, operation: etree._Element, version: str, style: str, file: str
    ) -> BoundOperation:
        name = bound.get("name") or ""
        soap = bound.find(f"{{{BINDINGS[version]}}}operation")
        style = style if soap is None else soap.get("style") or style
        told, answered = operation.find(f"{{{WSDL}}}input"), operation.find(f"{{{WSDL}}}output")
        if told is None or (answered is not None and _after(told, answered)):
            rule = "operations that begin with a request: one that notifies is not called"
            raise bad(file, name, rule)
        return BoundOperation(
            name,
            style,
            version,
            "" if soap is None else soap.get("soapAction") or "",
            _documentation(operation) or _documentation(bound),
            self._message(bound.find(f"{{{WSDL}}}input"), told, version, style, name, file),
            None
            if answered is None
            else self._message(
                bound.find(f"{{{WSDL}}}output"), answered, version, style, f"{name}Response", file
            ),
            tuple(
                part
                for fault in operation.iterchildren(f"{{{WSDL}}}fault")
                for part in self._parts(fault, file)
            ),
            file,
        )

    def _message(
        self,
        bound: etree._Element | None,
        abstract: etree._Element,
        version: str,
        style: str,
        wrapper: str,
        file: str,
    ) -> Message:
        soap = BINDINGS[version]
        parts = self._parts(abstract, file)
        headers: list[Part] = []
        own: set[str | None] = set()
        message_tag = self.named("message", abstract, abstract.get("message"), file)
        body = None
        if bound is not None:
            # Inside MIME parts, too: an attachment beside is one that JSON does not have.
            body = next(bound.iter(f"{{{soap}}}body"), None)
            for header in bound.iter(f"{{{soap}}}header"):
                tag = self.named("message", header, header.get("message"), file)
                for part in self._parts_of(tag):
                    if part.name == header.get("part"):
                        headers.append(part)
                        if tag == message_tag:
                            own.add(part.name)
        namespace = ""
        if body is not None:
            if (body.get("use") or "literal") != "literal":
                rule = 'messages whose use is "literal": "encoded" is of before WS-I Basic Profile'
                raise bad(file, wrapper, rule)
            namespace = body.get("namespace") or ""
            if body.get("parts") is not None:
                listed = (body.get("parts") or "").split()
                parts = [part for part in parts if part.name in listed]
        parts = [part for part in parts if part.name not in own]
        if style == "rpc":
            return Message(tuple(parts), tuple(headers), _tag(namespace, wrapper))
        if len(parts) > 1 or any(part.element is None for part in parts):
            rule = "in document style one part for the body, by an element"
            raise bad(file, wrapper, rule)
        return Message(tuple(parts), tuple(headers), None)

    def _parts(self, abstract: etree._Element, file: str) -> list[Part]:
        return self._parts_of(self.named("message", abstract, abstract.get("message"), file))

    def _parts_of(self, tag: str) -> list[Part]:
        message, file, _ = self.found["message"][tag]
        found = []
        for part in message.iterchildren(f"{{{WSDL}}}part"):
            element, kind = part.get("element"), part.get("type")
            if (element is None) == (kind is None):
                rule = "parts with an element or a type"
                raise bad(file, f"{tag} {part.get('name')}", rule)
            found.append(
                Part(
                    part.get("name") or "",
                    None if element is None else _qualified(part, element),
                    None if kind is None else _qualified(part, kind),
                    file,
                )
            )
        return found


def read(files: XmlFiles, root: str) -> Wsdl:
    """Raises BadDocument."""
    reader = _Reader(files)
    definitions = reader.read(root)
    wsdl = Wsdl(
        definitions.get("targetNamespace") or "",
        definitions.get("name") or "",
        _documentation(definitions),
        reader.schemas,
    )
    names: dict[str, BoundOperation] = {}
    for tag, version in reader.bindings(root):
        for operation in reader.operations(tag, version):
            known = names.setdefault(operation.name, operation)
            if (known.request.body, known.style) != (operation.request.body, operation.style):
                raise bad(root, operation.name, "one operation of a name: it has two")
    wsdl.operations = list(names.values())
    if not wsdl.operations:
        raise bad(root, None, "a SOAP binding with at least one operation")
    return wsdl


def _tag(namespace: str, local: str) -> str:
    return f"{{{namespace}}}{local}" if namespace else local


def _qualified(at: etree._Element, name: str) -> str:
    prefix, _, local = name.strip().rpartition(":")
    return _tag(at.nsmap.get(prefix or None) or "", local)


def _after(one: etree._Element, other: etree._Element) -> bool:
    """`one` stands after `other`: a solicit-response operation."""
    parent = one.getparent()
    return parent is not None and parent.index(one) > parent.index(other)


def _documentation(element: etree._Element) -> str:
    found = element.find(f"{{{WSDL}}}documentation")
    return "" if found is None else " ".join("".join(found.itertext()).split())  # type: ignore[arg-type]
