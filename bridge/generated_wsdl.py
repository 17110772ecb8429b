"""A WSDL 1.1 for a REST interface: document/literal wrapped, by SOAP 1.1 and 1.2.

An operation's request element has its name and holds its parameters and its `body`; the answer's
ends in Response. Every operation has one fault, `ProblemFault`, with the members of RFC 9457.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lxml import etree

from bridge.shapes import (
    Alternatives,
    Declared,
    Free,
    Listing,
    Member,
    Scalar,
    Shape,
    Structure,
)
from bridge.shaping import Shaped
from bridge.xml_names import clean, distinct

WSDL = "http://schemas.xmlsoap.org/wsdl/"
XSD = "http://www.w3.org/2001/XMLSchema"
SOAP_11 = "http://schemas.xmlsoap.org/wsdl/soap/"
SOAP_12 = "http://schemas.xmlsoap.org/wsdl/soap12/"
_HTTP = "http://schemas.xmlsoap.org/soap/http"
_LONGEST_DOCUMENTATION = 2_000

PROBLEM = (
    Member("type", "type", Scalar("string"), documentation="A URI that names the kind of problem."),
    Member("title", "title", Scalar("string")),
    Member("status", "status", Scalar("int", "integer"), documentation="The status in HTTP."),
    Member("detail", "detail", Scalar("string"), documentation="What was wrong."),
    Member("field", "field", Scalar("string"), documentation="Where it was wrong."),
    Member("value", "value", Scalar("string"), documentation="What was there."),
    Member("rule", "rule", Scalar("string"), documentation="What would be right."),
    Member("request_id", "request_id", Scalar("string")),
    Member("extension", "extension", Free("All else that was said, as a JSON object.")),
)


_KEY = Member("key", "key", Scalar("string"), True)


class Writing:
    """`fault` is the name of the fault's element: ProblemFault, if no operation is called so. The
    addresses are left open."""

    def __init__(self, name: str, namespace: str) -> None:
        self._name = name
        self._namespace = namespace
        self.fault = "ProblemFault"
        self._entry = "Entry"

    def write(
        self,
        documentation: str,
        operations: Sequence[Shaped],
        types: Iterable[Declared],
    ) -> bytes:
        names = {one.request.name for one in operations} | {one.answer.name for one in operations}
        self.fault = distinct(self.fault, names)
        root = etree.Element(
            _in(WSDL, "definitions"),
            {"name": self._name, "targetNamespace": self._namespace},
            nsmap={
                "wsdl": WSDL,
                "xsd": XSD,
                "soap": SOAP_11,
                "soap12": SOAP_12,
                "tns": self._namespace,
            },
        )
        _document(root, WSDL, documentation)
        self._types(root, operations, types)
        self._messages(root, operations)
        self._port_type(root, operations)
        for version, namespace in (("11", SOAP_11), ("12", SOAP_12)):
            self._binding(root, version, namespace, operations)
        self._service(root)
        return bytes(
            etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
        )

    # --- types ---

    def _types(
        self, root: etree._Element, operations: Sequence[Shaped], types: Iterable[Declared]
    ) -> None:
        schema = etree.SubElement(
            _add(root, WSDL, "types"),
            _in(XSD, "schema"),
            {"targetNamespace": self._namespace, "elementFormDefault": "qualified"},
        )
        for operation in operations:
            for one in (operation.request, operation.answer):
                element = _add(schema, XSD, "element", name=one.name)
                self._members(_add(element, XSD, "complexType"), "sequence", one.members)
        fault = _add(schema, XSD, "element", name=self.fault)
        self._members(_add(fault, XSD, "complexType"), "sequence", PROBLEM)
        known = list(types)
        self._entry = distinct("Entry", [str(one.name) for one in known])
        self._entry_type(schema)
        for declared in known:
            self._declared(schema, declared)

    def _declared(self, schema: etree._Element, declared: Declared) -> None:
        if isinstance(declared, Scalar):
            simple = _add(schema, XSD, "simpleType", name=str(declared.name))
            _document_type(simple, declared.documentation)
            _restriction(simple, declared)
            return
        made = _add(schema, XSD, "complexType", name=declared.name)
        _document_type(made, declared.documentation)
        if isinstance(declared, Alternatives):
            self._members(made, "choice", declared.members)
        elif isinstance(declared, Listing):
            self._members(made, "sequence", (declared.item,))
        else:
            sequence = self._members(made, "sequence", declared.members)
            if declared.entries is not None:
                self._entries(sequence, declared, declared.entries)

    def _members(
        self, parent: etree._Element, model: str, members: Iterable[Member]
    ) -> etree._Element:
        made = _add(parent, XSD, model)
        for one in members:
            self._member(made, one)
        return made

    def _member(self, parent: etree._Element, member: Member) -> None:
        element = _add(parent, XSD, "element", name=member.element)
        if member.repeated:
            element.set("minOccurs", "0")
            element.set("maxOccurs", "unbounded")
        elif not member.required:
            element.set("minOccurs", "0")
        if member.nullable:
            element.set("nillable", "true")
        shape = member.shape
        told = shape.documentation if isinstance(shape, Free) else ""
        _document_type(element, " ".join(filter(None, (member.documentation, told))))
        if isinstance(shape, Scalar) and shape.name is None and (shape.enum or shape.pattern):
            _restriction(_add(element, XSD, "simpleType"), shape)
        else:
            element.set("type", _type_name(shape))

    def _entries(self, sequence: etree._Element, structure: Structure, entries: Member) -> None:
        element = _add(sequence, XSD, "element", name=structure.entry_element)
        element.set("minOccurs", "0")
        element.set("maxOccurs", "unbounded")
        if isinstance(entries.shape, Free):
            element.set("type", f"tns:{self._entry}")
        else:
            self._members(_add(element, XSD, "complexType"), "sequence", (_KEY, entries))

    def _entry_type(self, schema: etree._Element) -> None:
        made = _add(schema, XSD, "complexType", name=self._entry)
        _document_type(made, "A property that the document does not tell of.")
        value = Member("value", "value", Free(), True)
        self._members(made, "sequence", (_KEY, value))

    # --- operations ---

    def _messages(self, root: etree._Element, operations: Sequence[Shaped]) -> None:
        elements = [one.name for each in operations for one in (each.request, each.answer)]
        for name in (*elements, self.fault):
            message = _add(root, WSDL, "message", name=name)
            _add(message, WSDL, "part", name="parameters", element=f"tns:{name}")

    def _port_type(self, root: etree._Element, operations: Sequence[Shaped]) -> None:
        port_type = _add(root, WSDL, "portType", name=f"{self._name}PortType")
        for one in operations:
            operation = _add(port_type, WSDL, "operation", name=one.request.name)
            _document(operation, WSDL, clean(one.operation.summary))
            _add(operation, WSDL, "input", message=f"tns:{one.request.name}")
            _add(operation, WSDL, "output", message=f"tns:{one.answer.name}")
            _add(operation, WSDL, "fault", name=self.fault, message=f"tns:{self.fault}")

    def _binding(
        self, root: etree._Element, version: str, soap: str, operations: Sequence[Shaped]
    ) -> None:
        binding = _add(
            root,
            WSDL,
            "binding",
            name=f"{self._name}Soap{version}",
            type=f"tns:{self._name}PortType",
        )
        _add(binding, soap, "binding", style="document", transport=_HTTP)
        for one in operations:
            operation = _add(binding, WSDL, "operation", name=one.request.name)
            action = f"{self._namespace}/{one.request.name}"
            _add(operation, soap, "operation", soapAction=action, style="document")
            for way in ("input", "output"):
                _add(_add(operation, WSDL, way), soap, "body", use="literal")
            fault = _add(operation, WSDL, "fault", name=self.fault)
            _add(fault, soap, "fault", name=self.fault, use="literal")

    def _service(self, root: etree._Element) -> None:
        service = _add(root, WSDL, "service", name=self._name)
        for version, soap in (("11", SOAP_11), ("12", SOAP_12)):
            named = f"{self._name}Soap{version}"
            port = _add(service, WSDL, "port", name=named, binding=f"tns:{named}")
            _add(port, soap, "address", location="")


def _in(namespace: str, name: str) -> str:
    return f"{{{namespace}}}{name}"


def _add(parent: etree._Element, space: str, tag: str, /, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, _in(space, tag), attributes)


def _document(parent: etree._Element, space: str, text: str) -> None:
    if text:
        _add(parent, space, "documentation").text = text[:_LONGEST_DOCUMENTATION]


def _document_type(parent: etree._Element, text: str) -> None:
    if text:
        _document(_add(parent, XSD, "annotation"), XSD, text)


def _type_name(shape: Shape) -> str:
    if isinstance(shape, Scalar):
        return f"xsd:{shape.xsd}" if shape.name is None else f"tns:{shape.name}"
    if isinstance(shape, Structure | Listing | Alternatives):
        return f"tns:{shape.name}"
    return "xsd:string"


def _restriction(parent: etree._Element, shape: Scalar) -> None:
    restriction = _add(parent, XSD, "restriction", base=f"xsd:{shape.xsd}")
    for one in shape.enum or ():
        _add(restriction, XSD, "enumeration", value=clean(str(one)))
    if shape.pattern:
        _add(restriction, XSD, "pattern", value=shape.pattern)
