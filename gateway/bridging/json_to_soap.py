"""A REST caller's JSON to a SOAP provider, and its envelope back as JSON."""

from __future__ import annotations

from typing import Any

from bridge.payload import BadAnswer, read_json, write_json
from bridge.wsdl import Envelope, SoapFault, SoapInterface
from gateway.bridging import content_maps
from gateway.bridging.aside import UNKNOWN, aside
from gateway.bridging.exchange import Written, ask, asked_otherwise, broken, json_of, write
from gateway.bridging.logins import security_for
from gateway.bridging.model import JSON, Told
from gateway.bridging.sides import Desk, SoapSide
from gateway.calls.flows import Door
from gateway.calls.model import Call
from gateway.calls.ports import Answer, Body, Carry
from gateway.calls.refusals import OperationUnknown
from kit.problem import MEDIA_TYPE, body_of


async def turn(call: Call, body: Body, door: Door, desk: Desk) -> Carry:
    """Raises OperationUnknown, NotJson, BadPayload, MapFailed, InterfaceUnreadable."""
    service = call.service
    assert service is not None
    side = await desk.sides.of(service)
    assert isinstance(side, SoapSide)
    interface, operation = side.interface, call.operation or ""
    if call.method != "POST" or operation not in interface.operations:
        raise OperationUnknown(
            f"{service.name} has no {call.method} {call.rest[:200]}",
            field="path",
            value=call.rest[:200],
            rule=f"POST /{{Operation}} with JSON: see {call.root}/openapi.json",
        )
    content = await json_of(call, body, door.limits.body_bytes)
    maps = content_maps.of(call)
    login = desk.logins.open(service)

    def written() -> Envelope:
        payload = maps.asked(read_json(content) if content else {})
        version = interface.operations[operation].version
        headers = ""
        if login is not None:
            headers = security_for(login, version, desk.clock())
        return interface.request(operation, payload, headers=headers)

    asked = await aside(len(content) if maps.request is None else UNKNOWN, written)

    async def carry(call: Call, body: Body, answer: Answer) -> None:
        inner = asked_otherwise(call, "POST", "", "", asked.content_type, asked.headers)
        told = await ask(inner, Written(asked.content, body), door.remote)

        def read() -> bytes | SoapFault:
            found = _read(inner, interface, operation, told)
            if isinstance(found, SoapFault):
                return found
            one_way = interface.operations[operation].one_way
            return b"" if one_way else write_json(maps.answered(found, call))

        found = await aside(len(told.content) if maps.answer is None else UNKNOWN, read)
        if isinstance(found, SoapFault):
            await _tell_fault(call, found, answer)
        else:
            await write(answer, 200 if found else 202, JSON, found, told.units)

    return carry


def _read(call: Call, interface: SoapInterface, operation: str, told: Told) -> object | SoapFault:
    """Raises ProviderBroken."""
    if told.content and told.media_type not in ("text/xml", "application/soap+xml"):
        raise broken(call, f"answered {told.status} with {told.media_type or 'nothing'}, no SOAP")
    try:
        found = interface.answer(operation, told.xml)
    except BadAnswer as bad:
        raise broken(call, f"answered what its WSDL does not say: {bad.detail}") from None
    if not told.good and not isinstance(found, SoapFault):
        raise broken(call, f"answered {told.status} without a fault")
    return found


async def _tell_fault(call: Call, fault: SoapFault, answer: Answer) -> None:
    """The provider said no, in its own words. It did answer: that is no failure of the call."""
    status = 422 if fault.client else 502
    told: dict[str, Any] = {
        "code": fault.code,
        "subcode": fault.subcode,
        "reason": fault.reason,
        "actor": fault.actor,
        "detail": fault.detail,
    }
    members = body_of(
        status,
        "ProviderFault",
        fault.reason or f"{call.service_name} answered with a fault",
        request_id=call.request_id,
        fault={name: value for name, value in told.items() if value is not None},
    )
    await write(answer, status, MEDIA_TYPE, write_json(members))
