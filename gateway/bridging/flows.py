"""How a call goes through the one door when its two sides do not speak alike.

The steps are those of every call (`gateway/calls/flows.py`), in the same order: who, which service,
which contract. Then what is asked is put into the provider's words, before anything is counted: a
question that cannot be put so costs nobody. Quota, the way there, and metering are the same again.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge import soap_envelope
from gateway.bridging import content_maps, envelope, faults, json_to_soap, passed_on, soap_to_rest
from gateway.bridging.aside import aside
from gateway.bridging.descriptions import OpenApiEntrance, tell_wsdl
from gateway.bridging.envelope import Envelope
from gateway.bridging.exchange import whole
from gateway.bridging.logins import log_in
from gateway.bridging.sides import Desk, SoapSide, face_of
from gateway.calls.flows import (
    Door,
    Entrance,
    admit,
    find,
    identify,
    operations_here,
    pass_through,
    permit,
)
from gateway.calls.model import Call, Speaks
from gateway.calls.ports import Answer, Body, Carry, Words

# Of a caller who has shown no token, this much is read until its envelope tells who it is.
UNKNOWN_CALLERS_BYTES = 1024 * 1024


class Bridge:
    """Whatever has to be put into other words on its way, for all services."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.entrances: Mapping[str, Entrance] = {
            "/soap": SoapEntrance(desk),
            "/openapi.json": OpenApiEntrance(desk),
        }

    async def turn(self, call: Call, body: Body, door: Door) -> Carry:
        """A REST caller's question, to a SOAP provider or through the operation's content map."""
        service = call.service
        assert service is not None
        assert call.client_id is not None
        call.holding = door.pot.of_client(call.client_id)
        if service.speaks is Speaks.SOAP:
            return await json_to_soap.turn(call, body, door, self._desk)
        return await content_maps.turn(call, body, door)


class SoapEntrance:
    """`/services/{service}/soap`: envelopes are posted here, and `GET ?wsdl` tells how."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def words(self, call: Call, door: Door) -> Words | None:
        if call.method != "POST" or not self._is_here(call, door):
            return None
        announced = call.headers.get(b"content-type", b"").decode("latin-1").strip().lower()
        return faults.words(soap_envelope.version_of(announced))

    async def enter(self, call: Call, body: Body, answer: Answer, door: Door) -> None:
        if not self._is_here(call, door):
            await pass_through(call, body, answer, door)
        elif call.method == "POST":
            await pass_through(call, body, answer, door, self._open)
        else:
            await tell_wsdl(call, answer, door, self._desk)

    def _is_here(self, call: Call, door: Door) -> bool:
        """Where nothing tells how to put SOAP into other words, the path is the provider's own."""
        service = door.catalogue.find_service(call.service_name, call.major)
        return (
            service is None
            or service.interface is not None
            or (service.name, service.major) in self._desk.faces
        )

    async def _open(self, call: Call, body: Body, answer: Answer, door: Door) -> Carry:
        if b"authorization" in call.headers:
            identify(call, door)
            admit(call, door)
            assert call.client_id is not None
            call.holding = door.pot.of_client(call.client_id)
            asked = await _read(call, body, answer, door.limits.body_bytes)
        else:
            call.holding = door.pot.of_stranger(call.address)
            asked = await _read(call, body, answer, UNKNOWN_CALLERS_BYTES)
            await log_in(call, asked, self._desk)
            admit(call, door)
        service = find(call, door)
        face = self._desk.faces.get((service.name, service.major))
        if face is None:
            side = await self._desk.sides.of(service)
            if isinstance(side, SoapSide):
                found = passed_on.operation(asked, side.interface)
                call.operation = found.name
                call.alias = f"POST /{call.operation}"
                permit(call, door)
                return await passed_on.way(call, asked, body, door, self._desk, found)
            face = face_of(side)
        if not service.remote:
            operations_here(service, door)
        call.operation, call.alias = face.operation(asked.tag, asked.action)
        permit(call, door)
        return await soap_to_rest.turn(call, asked, body, door, face)


async def _read(call: Call, body: Body, answer: Answer, most_bytes: int) -> Envelope:
    """The caller's envelope; from here on a no is told in its version. Raises BadEnvelope."""
    content = await whole(body, most_bytes, call.holding)
    asked = await aside(len(content), lambda: envelope.read(content, call.headers))
    answer.words = faults.words(asked.version)
    return asked
