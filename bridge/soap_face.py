"""A REST interface as a SOAP service: the WSDL that is generated for it, questions in envelopes to
requests of HTTP, and answers of HTTP to envelopes.

Made once for a version of an interface, by `SoapFace.of`; slow, so in a thread. All else is fast.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from xml.sax.saxutils import escape

from bridge import generated_wsdl, rest_messages, shaping
from bridge.document import Document, Kind
from bridge.openapi import RestInterface
from bridge.payload import BadAnswer, BadPayload, UnknownOperation, write_json
from bridge.rest_messages import Problem, RestRequest
from bridge.shaping import Shaped
from bridge.wsdl import SoapInterface
from bridge.xml_names import clean, plain_name

_FILE = "generated.wsdl"
_SHALLOW = "a value that is not nested without end"
_ADDRESS = re.compile(r'(<soap(?:12)?:address location=")[^"]*(")')


@dataclass(frozen=True, slots=True)
class Told:
    """An envelope for the caller. `fault` None: it is no fault; else whether the caller is to
    blame."""

    fault: bool | None
    content: bytes


class SoapFace:
    """Make it by `of`."""

    def __init__(self, wsdl: bytes, fault: str, operations: dict[str, Shaped]) -> None:
        self.operations = operations
        self._wsdl = wsdl.decode()
        self._fault = fault
        self._soap = SoapInterface.read(Document(Kind.WSDL, _FILE, {_FILE: wsdl}))
        self._by_tag = {one.request.tag: name for name, one in self._soap.operations.items()}

    @classmethod
    def of(cls, rest: RestInterface, *, target_namespace: str | None = None) -> Self:
        """Raises BadDocument: schemas that have no shape in XML, or no operation that SOAP has a
        place for."""
        operations, types = shaping.shaped(rest)
        if not operations:
            raise rest.references.root.bad("an operation that SOAP has a place for")
        name = plain_name(rest.title) if rest.title else "Service"
        namespace = target_namespace or f"urn:gridroam:rest:{name}"
        writing = generated_wsdl.Writing(name, namespace)
        documentation = f"{rest.title} {rest.version}, made from its OpenAPI document."
        wsdl = writing.write(clean(documentation), operations, types)
        return cls(wsdl, writing.fault, {one.operation.name: one for one in operations})

    def wsdl(self, address: str) -> bytes:
        """The interface, to be called at this address: document/literal wrapped, by SOAP 1.1 and
        1.2."""
        told = escape(address, {'"': "&quot;"})
        return _ADDRESS.sub(lambda found: f"{found[1]}{told}{found[2]}", self._wsdl).encode()

    def operation(self, tag: str | None, action: str | None = None) -> tuple[str, str]:
        """Which operation an envelope with this element in its body asks for: by name, and as
        `METHOD /path`. Raises UnknownOperation."""
        name = self._by_tag.get(tag)
        if name is None:
            raise UnknownOperation(
                "the service has no operation of this element",
                field="body",
                value=str(tag)[:200],
                rule="one of: " + ", ".join(sorted(map(str, self._by_tag))[:50]),
            )
        asked = self.operations[name].operation
        return name, f"{asked.method} {asked.path}"

    def request(self, content: bytes, action: str | None = None) -> RestRequest:
        """What an envelope asks, in REST. Raises BadEnvelope, BadPayload, UnknownOperation."""
        asked = self._soap.question(content, action)
        shaped = self.operations[asked.operation]
        try:
            return rest_messages.request(shaped.operation, shaped.request.to_rest(asked.payload))
        except RecursionError:
            raise BadPayload("nested without end", value="…", rule=_SHALLOW) from None

    def answer(
        self, operation: str, version: str, status: int, content_type: str, content: bytes
    ) -> Told:
        """What the provider answered, in SOAP: of a 2xx the answer, of all else a fault.
        Raises BadAnswer."""
        said = rest_messages.answer(status, content_type, content)
        if isinstance(said, Problem):
            return self.fault(version, said)
        shaped = self.operations[operation]
        member = shaped.body_of(status)
        payload = {} if member is None or said.empty else {member.name: said.payload}
        try:
            told = shaped.answer.to_soap(payload)
            return Told(None, self._soap.envelope(operation, told, version))
        except BadPayload as bad:
            raise BadAnswer(
                f"the provider's answer is not what its document says: {bad.detail}",
                field=bad.field,
                value=bad.value,
                rule=bad.rule,
            ) from None
        except RecursionError:
            raise BadAnswer("the provider's answer is nested without end", rule=_SHALLOW) from None

    def fault(self, version: str, problem: Problem) -> Told:
        """A problem as a fault, with the detail that the WSDL declares."""
        detail = {key: _told(value) for key, value in problem.members.items() if value is not None}
        if problem.extension:
            detail["extension"] = clean(write_json(problem.extension).decode())
        reason = detail.get("detail") or detail.get("title")
        code = "Client" if problem.client else "Server"
        content = self._soap.fault(version, code, str(reason), {self._fault: detail})
        return Told(problem.client, content)


def _told(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return clean(write_json(value).decode())
