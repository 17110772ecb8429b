"""A REST interface as a SOAP service: the WSDL that is generated for it, questions in envelopes to
requests of HTTP, and answers of HTTP to envelopes.

Made once for a version of an interface, by `SoapFace.of`; slow, so in a thread. All else is fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from bridge import generated_wsdl, rest_messages, shaping
from bridge.document import Document, Kind
from bridge.openapi import RestInterface
from bridge.payload import BadAnswer, BadPayload, write_json
from bridge.rest_messages import Problem, RestRequest
from bridge.shaping import BODY, Shaped
from bridge.soap_envelope import content_type
from bridge.wsdl import Question, SoapInterface
from bridge.xml_names import clean, plain_name

_FILE = "generated.wsdl"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a SOAP caller, a fault or not."""

    status: int
    content_type: str
    content: bytes


class SoapFace:
    """Make it by `of`."""

    def __init__(self, wsdl: bytes, fault: str, operations: dict[str, Shaped]) -> None:
        self.wsdl = wsdl
        self.operations = operations
        self._fault = fault
        self._soap = SoapInterface.read(Document(Kind.WSDL, _FILE, {_FILE: wsdl}))

    @classmethod
    def of(cls, rest: RestInterface, address: str, *, target_namespace: str | None = None) -> Self:
        """`address` is where SOAP callers send to. Raises BadDocument for an interface with schemas
        that XML has no shape for, or without an operation that SOAP has a place for."""
        operations, types = shaping.shaped(rest)
        if not operations:
            raise rest.references.root.bad("an operation that SOAP has a place for")
        name = plain_name(clean(rest.title)) if rest.title else "Service"
        writing = generated_wsdl.Writing(
            name, target_namespace or f"urn:rest-interface:{name}", address
        )
        documentation = (
            f"{clean(rest.title)} {clean(rest.version)}, made from its OpenAPI document."
        )
        wsdl = writing.write(documentation, operations, types)
        return cls(wsdl, writing.fault, {one.operation.name: one for one in operations})

    def question(self, content: bytes, soap_action: str | None = None) -> Question:
        """What a caller asks; its payload is REST's (`rest_messages.py`).
        Raises BadEnvelope, BadPayload, UnknownOperation."""
        asked = self._soap.question(content, soap_action)
        return replace(
            asked, payload=self.operations[asked.operation].request.to_rest(asked.payload)
        )

    def request(self, operation: str, payload: object) -> RestRequest:
        """The request that carries a question, or what a content map made of it.
        Raises BadPayload."""
        return rest_messages.request(self.operations[operation].operation, payload)

    def answer(
        self,
        question: Question,
        status: int,
        type_of_content: str,
        content: bytes,
        *,
        change: Callable[[object], object] | None = None,
    ) -> Reply:
        """What the provider said, for the caller: of a 2xx the answer, changed by a content map if
        there is one, of all else a fault. Raises BadAnswer."""
        said = rest_messages.answer(status, type_of_content, content)
        if isinstance(said, Problem):
            return self.fault(question.version, said)
        shaped = self.operations[question.operation]
        member = shaped.body_of(status)
        payload: dict[str, object] = {}
        if member is not None and not said.empty:
            payload[member.name] = change(said.payload) if change else said.payload
        version = question.version
        try:
            told = shaped.answer.to_soap(payload)
            content = self._soap.envelope(question.operation, told, version)
        except BadPayload as bad:
            raise BadAnswer(
                f"the provider's answer is not what its document says: {bad.detail}",
                field=bad.field,
                value=bad.value,
                rule=bad.rule,
            ) from None
        return Reply(200, content_type(version, ""), content)

    def fault(self, version: str, problem: Problem) -> Reply:
        """A problem, the provider's or the hub's own (`rest_messages.problem`), as a fault."""
        detail = {key: _told(value) for key, value in problem.members.items() if value is not None}
        if problem.extension:
            detail["extension"] = clean(write_json(problem.extension).decode())
        reason = detail.get("detail") or detail.get("title") or "refused"
        code = "Client" if problem.client else "Server"
        content = self._soap.fault(version, code, str(reason), {self._fault: detail})
        # SOAP 1.1, section 6.2, knows one status for faults; SOAP 1.2 two (part 2, table 20).
        status = 400 if version == "1.2" and problem.client else 500
        return Reply(status, content_type(version, ""), content)


def _told(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return clean(write_json(value).decode())


__all__ = ["BODY", "Problem", "Reply", "RestRequest", "SoapFace"]
