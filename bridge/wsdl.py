"""A provider's WSDL, ready for messages: SOAP on one side, payloads of JSON on the other.

`SoapInterface.read` is slow (a tenth of a second and more: call it in a thread) and keeps nothing
of the files; all else is fast. The hub is the provider's client with `request` and `answer`, and
stands in the provider's place with `question`, `envelope` and `fault`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lxml import etree

from bridge import soap_envelope, wsdl_reading
from bridge.document import Document, checked
from bridge.openapi_of_wsdl import openapi_of
from bridge.payload import BadAnswer, BadPayload, UnknownOperation
from bridge.soap_envelope import (
    BadEnvelope,
    MustUnderstand,
    Parts,
    SoapFault,
)
from bridge.soap_messages import SoapOperation, compiled_message
from bridge.username_token import SECURITY
from bridge.wsdl_files import XmlFiles, bad
from bridge.wsdl_reading import BoundOperation
from bridge.xml_nodes import Element, escaped_attribute
from bridge.xsd_compiler import Compiler, Prefixes

__all__ = [
    "BadAnswer",
    "BadEnvelope",
    "BadPayload",
    "Envelope",
    "Question",
    "SoapFault",
    "SoapInterface",
    "SoapOperation",
    "UnknownOperation",
]


@dataclass(frozen=True, slots=True)
class Envelope:
    """A request as it goes out. For SOAP 1.1 `soap_action` belongs into the header SOAPAction, in
    quotes; in 1.2 it is in the content type."""

    content: bytes
    content_type: str
    soap_action: str

    @property
    def headers(self) -> dict[str, str]:
        told = {"Content-Type": self.content_type}
        if self.content_type.startswith("text/xml"):
            told["SOAPAction"] = f'"{self.soap_action}"'
        return told


@dataclass(frozen=True, slots=True)
class Question:
    """A SOAP request as it came in. `version` is "1.1" or "1.2"; `security` its wsse:Security."""

    operation: str
    payload: object
    version: str
    security: etree._Element | None


class SoapInterface:
    """Make it with `read`."""

    def __init__(
        self,
        name: str,
        documentation: str,
        target_namespace: str,
        operations: Mapping[str, SoapOperation],
        prefixes: Prefixes,
    ) -> None:
        self.name = name
        self.documentation = documentation
        self.target_namespace = target_namespace
        self.operations = operations
        self._prefixes = "".join(
            f' xmlns:{prefix}="{escaped_attribute(namespace)}"'
            for namespace, prefix in prefixes.items()
        )
        self._faults = {
            element.tag: element for one in operations.values() for element in one.faults
        }
        self._by_body: dict[str | None, list[SoapOperation]] = {}
        for operation in operations.values():
            self._by_body.setdefault(operation.request.tag, []).append(operation)

    @staticmethod
    def read(document: Document) -> SoapInterface:
        """Raises BadDocument, DocumentTooLarge."""
        files = XmlFiles(checked(document))
        try:
            return _read(files, document.root)
        except RecursionError:
            rule = "types and imports that are not nested without end"
            raise bad(document.root, None, rule) from None

    def operation(self, name: str) -> SoapOperation:
        """Raises UnknownOperation."""
        found = self.operations.get(name)
        if found is None:
            raise UnknownOperation(
                "the service has no such operation",
                field="operation",
                value=name[:100],
                rule="one of: " + ", ".join(sorted(self.operations)[:50]),
            )
        return found

    def openapi(self, *, title: str, version: str, server_url: str) -> dict[str, Any]:
        """What a REST caller reads: an OpenAPI 3.1 document, in which each operation is
        `POST /{Operation}`."""
        return openapi_of(
            self.operations,
            title=title,
            version=version,
            server_url=server_url,
            documentation=self.documentation,
        )

    # --- towards the provider ---

    def request(self, operation: str, payload: object, *, headers: str = "") -> Envelope:
        """`headers`: further elements of the SOAP header, as XML, such as wsse:Security.
        Raises BadPayload, UnknownOperation."""
        found = self.operation(operation)
        head, body = found.request.write(payload)
        content = soap_envelope.written(found.version, self._prefixes, headers + head, body)
        kind = soap_envelope.content_type(found.version, found.soap_action)
        return Envelope(content, kind, found.soap_action)

    def answer(self, operation: str, content: bytes) -> object | SoapFault:
        """What the provider says: a payload (None from an operation without answer), or a fault.
        Raises BadAnswer, UnknownOperation."""
        found = self.operation(operation)
        if found.answer is None and not content.strip():
            return None
        try:
            parts = soap_envelope.taken_apart(content)
            if parts.body and soap_envelope.is_fault(parts.body[0], parts.version):
                return self._fault_of(parts)
            if found.answer is None:
                return None
            return found.answer.read(parts, strict=False)
        except (BadEnvelope, BadPayload) as error:
            raise BadAnswer(
                f"the provider's answer is not what its WSDL says: {error.detail}",
                field=error.field,
                value=error.value,
                rule=error.rule,
            ) from None

    def _fault_of(self, parts: Parts) -> SoapFault:
        told, details = soap_envelope.read_fault(parts.body[0], parts.version)
        if not details:
            return told
        detail: dict[str, object] = {}
        for node in details:
            element = self._faults.get(node.tag)
            try:
                if element is not None:
                    soap_envelope.add_to(detail, element.key, element.read(node, False))
                    continue
            except BadPayload:
                pass  # A fault is told, however badly it is written.
            for key, value in soap_envelope.untyped_json((node,)).items():
                soap_envelope.add_to(detail, key, value)
        return replace(told, detail=detail)

    # --- in the provider's place ---

    def question(self, content: bytes, soap_action: str | None = None) -> Question:
        """A request of whichever SOAP version. Raises BadEnvelope, BadPayload, UnknownOperation."""
        parts = soap_envelope.taken_apart(content)
        found = self.asked(parts.body[0].tag if parts.body else None, soap_action)
        security = None
        known = found.request.header_tags
        for header in parts.headers:
            if header.tag == SECURITY:
                security = header
            elif header.tag not in known and soap_envelope.must_be_understood(
                header, parts.version
            ):
                raise MustUnderstand(
                    "a header that must be understood, and is not",
                    field="header",
                    value=str(header.tag)[:200],
                    rule="leave it out, or its mustUnderstand",
                )
        return Question(found.name, found.request.read(parts, strict=True), parts.version, security)

    def asked(self, tag: str | None, soap_action: str | None = None) -> SoapOperation:
        """The operation whose request has this element in its body. Raises UnknownOperation."""
        action = (soap_action or "").strip().strip('"')
        found = self._by_body.get(tag, [])
        if len(found) > 1 and action:
            found = [one for one in found if one.soap_action == action] or found
        if not found:
            raise UnknownOperation(
                "no operation of the service has this body",
                field="body",
                value=str(tag)[:200],
                rule="one of: " + ", ".join(sorted(map(str, self._by_body))[:50]),
            )
        return found[0]

    def envelope(self, operation: str, payload: object, version: str = "1.1") -> bytes:
        """An answer. Raises BadPayload, UnknownOperation."""
        found = self.operation(operation)
        if found.answer is None:
            return soap_envelope.written(version, "", "", "")
        head, body = found.answer.write(payload)
        return soap_envelope.written(version, self._prefixes, head, body)

    def fault(self, version: str, code: str, reason: str, detail: object = None) -> bytes:
        """A fault. `code`: Client or Server, with a point and a subcode if need be. Members of
        `detail` that the WSDL declares are written as it says, others as plain elements."""
        told, _, subcode = code.partition(".")
        written = ""
        if isinstance(detail, Mapping):
            declared = {element.key: element for element in self._faults.values()}
            for key, value in detail.items():
                written += _detail(declared.get(str(key)), str(key), value)
        fault = SoapFault(told, reason, subcode or None)
        return soap_envelope.fault(version, fault, written, self._prefixes)


def _detail(element: Element | None, key: str, value: object) -> str:
    if element is not None:
        out: list[str] = []
        try:
            element.write(out, value)
            return "".join(out)
        except BadPayload:
            pass  # Told all the same, in plain elements.
    return soap_envelope.untyped_xml({key: value})


def _read(files: XmlFiles, root: str) -> SoapInterface:
    wsdl = wsdl_reading.read(files, root)
    prefixes = Prefixes()
    compiler = Compiler(wsdl.schemas.build(), prefixes)
    operations = {one.name: _operation(one, compiler, prefixes) for one in wsdl.operations}
    return SoapInterface(
        wsdl.name or wsdl.operations[0].name,
        wsdl.documentation,
        wsdl.target_namespace,
        operations,
        prefixes,
    )


def _operation(bound: BoundOperation, compiler: Compiler, prefixes: Prefixes) -> SoapOperation:
    faults = [
        compiler.global_element(part.element, part.file)
        for part in bound.faults
        if part.element is not None
    ]
    return SoapOperation(
        bound.name,
        bound.style,
        bound.version,
        bound.action,
        bound.documentation,
        compiled_message(bound.request, compiler, prefixes),
        None if bound.answer is None else compiled_message(bound.answer, compiler, prefixes),
        tuple(faults),
    )
