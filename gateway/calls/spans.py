"""A call as a span for OpenTelemetry: what it was, under which contract, and how it ended."""

from __future__ import annotations

from gateway.calls.model import Call
from kit.tracing import Told


def span_of(call: Call, duration_ns: int) -> Told:
    """The span of a call that is over. Names after OpenTelemetry's conventions for HTTP servers."""
    attributes: dict[str, str | int | bool] = {
        "http.request.method": call.method,
        "http.response.status_code": call.status,
        "http.request.body.size": call.bytes_in,
        "http.response.body.size": call.bytes_out,
        "gridroam.request_id": call.request_id,
    }
    if call.service is not None:
        attributes["gridroam.service"] = call.service.name
        attributes["gridroam.major"] = call.service.major
        attributes["gridroam.provider"] = str(call.service.provider)
    if call.operation is not None:
        attributes["gridroam.operation"] = call.operation
    if call.party is not None:
        attributes["gridroam.requester"] = str(call.party)
    if call.contract_id is not None:
        attributes["gridroam.contract_id"] = call.contract_id
    began_ns = int(call.at.timestamp() * 1e6) * 1000
    # Callers choose names of services, so what the catalogue does not know names no span.
    name = "unknown service" if call.service is None else f"{call.method} {call.service.name}"
    return Told(
        name,
        call.traceparent,
        _parent(call),
        began_ns,
        began_ns + duration_ns,
        attributes,
        call.meant >= 500,
    )


def _parent(call: Call) -> str | None:
    """The caller's own span, where the call came with one that counts."""
    came = call.headers.get(b"traceparent")
    same_trace = came is not None and came[3:35] == call.traceparent[3:35].encode()
    return came.decode() if came is not None and same_trace else None
