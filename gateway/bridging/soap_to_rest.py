"""A SOAP caller's envelope to a service that is called in REST, and the answer back in SOAP.

The service is a partner's, or one of the hub's own: then it is an application of this process.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.payload import BadAnswer
from bridge.soap_envelope import content_type
from gateway.bridging import content_maps
from gateway.bridging.aside import UNKNOWN, aside
from gateway.bridging.envelope import Envelope
from gateway.bridging.exchange import Written, ask, asked_otherwise, broken, write
from gateway.bridging.faults import fault_status
from gateway.bridging.ports import Face, SoapAnswer
from gateway.calls.flows import SIGNATURE, Door, straight_to
from gateway.calls.forwarded_headers import REQUEST_HEADERS
from gateway.calls.model import Call
from gateway.calls.paths import check_path
from gateway.calls.ports import Answer, Body, Carry
from roaming.header_names import may_be_passed_on


async def turn(call: Call, asked: Envelope, theirs: Body, door: Door, face: Face) -> Carry:
    """Raises BadEnvelope, BadPayload, BadPath, MapFailed."""
    service, operation = call.service, call.operation
    assert service is not None
    assert operation is not None
    maps = content_maps.of(call)
    straight = straight_to(service, door)
    request = await aside(len(asked.content), lambda: face.request(asked.content, asked.action))
    # What a caller puts into a path may lead nowhere else than what a REST caller puts there.
    check_path(request.path.encode("ascii"))
    content = request.content
    if maps.request is not None and content:
        content = await aside(UNKNOWN, lambda: maps.asked_json(content))
    headers, parameters = _headers(call, request.headers)

    async def carry(call: Call, body: Body, answer: Answer) -> None:
        inner = asked_otherwise(
            call, request.method, request.path, request.query, request.content_type, headers
        )
        inner.parameters = parameters
        told = await ask(inner, Written(content, theirs), straight)
        if maps.answer is not None:
            told = await aside(UNKNOWN, lambda: maps.told(told, call))

        def read() -> SoapAnswer:
            try:
                return face.answer(
                    operation, asked.version, told.status, told.content_type, told.content
                )
            except BadAnswer as bad:
                how = f"answered what its interface does not say: {bad.detail}"
                raise broken(call, how) from None

        found = await aside(len(told.content), read)
        if found.fault is not None:
            call.outcome = told.status if told.status >= 400 else 502
        status = 200 if found.fault is None else fault_status(asked.version, client=found.fault)
        await write(answer, status, content_type(asked.version, ""), found.content, told.units)

    return carry


def _headers(
    call: Call, told: Mapping[str, str]
) -> tuple[Mapping[str, str], tuple[tuple[str, str], ...]]:
    """What an operation's parameters say in headers; and those of them that are on no list.

    A signature of an envelope's own nobody has verified, and so nobody passes it on.
    """
    assert call.service is not None
    said = {name: value for name, value in told.items() if name.lower().encode() != SIGNATURE}
    listed = REQUEST_HEADERS.keys() | call.service.headers.keys()
    further = tuple(
        (name, value)
        for name, value in said.items()
        if name.lower().encode() not in listed and may_be_passed_on(name)
    )
    return {"Accept": "application/json", **said}, further
