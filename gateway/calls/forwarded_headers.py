"""What a partner is told of a call, and what of its answer the caller is told: two allow-lists.

No cookies, nothing that belongs to one hop, and none of the caller's credentials but an
assertion of the hub's in their place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gateway.calls.connections import Address
from gateway.calls.model import Call
from gateway.calls.refusals import BadHeader

REQUEST_HEADERS = {
    name.lower().encode(): name
    for name in (
        "Accept",
        "Accept-Encoding",
        "Accept-Language",
        "Content-Encoding",
        "Content-Language",
        "Content-Type",
        "Idempotency-Key",
        "Last-Event-ID",
        "If-Match",
        "If-Modified-Since",
        "If-None-Match",
        "If-Range",
        "If-Unmodified-Since",
        "Prefer",
        "Range",
        "SOAPAction",
        "Tracestate",
        "X-JWS-Signature",
    )
}
RESPONSE_HEADERS = frozenset(
    name.encode()
    for name in (
        "accept-ranges",
        "age",
        "allow",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-range",
        "content-type",
        "etag",
        "expires",
        "gridroam-units",
        "last-modified",
        "link",
        "location",
        "preference-applied",
        "retry-after",
        "vary",
    )
)
# What an answer took, where its price goes by that.
UNITS = b"gridroam-units"
MOST_UNITS = 10**9
_BIT_BY_BIT = frozenset(
    (
        b"text/event-stream",
        *(b"application/x-ndjson", b"application/ndjson", b"application/jsonl"),
        *(b"application/json-seq", b"multipart/x-mixed-replace"),
    )
)
# Addresses in answers that point into the partner's own house are told in ours.
_POINTING = frozenset((b"location", b"link", b"content-location"))
# The caller's browser must not guess that a partner's answer is a page of the hub.
_NOSNIFF = (b"x-content-type-options", b"nosniff")
# What these mean lies in the body, so where there is none its length is told as 0 (RFC 9110, 8.6).
_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
_NONE: Mapping[bytes, str] = {}
# What a header's value may not hold (RFC 9110, section 5.5): it could end the line.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def request_head(call: Call, address: Address, length: int) -> bytes:
    """A request up to where its body begins (RFC 9112, section 3)."""
    lines = [f"{call.method} {address.target(call)} HTTP/1.1\r\nHost: {address.host}"]
    lines += [f"{name}: {value}" for name, value in request_headers(call)]
    if length or call.method in _WITH_BODY:
        lines.append(f"Content-Length: {length}")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("latin-1")


def request_headers(call: Call) -> list[tuple[str, str]]:
    """What the partner is told: the allow-list, who calls, under which contract, which trace."""
    headers = [
        ("X-Request-Id", call.request_id),
        ("traceparent", call.traceparent),
        ("X-Caller-Party", str(call.party)),
        *call.parameters,
    ]
    further = _NONE if call.service is None else call.service.headers
    if call.credentials is not None:
        headers.append(("Authorization", call.credentials))
    if call.grant is not None:
        headers.append(("X-Contract-Id", call.grant.contract_id))
    for name, value in call.headers.items():
        known = REQUEST_HEADERS.get(name) or further.get(name)
        if known is not None:
            text = value.decode("latin-1")
            if _CONTROL.search(text):
                raise BadHeader(
                    "a header's value holds a control character",
                    field=known,
                    rule="RFC 9110, section 5.5",
                )
            headers.append((known, text))
    return headers


def response_headers(
    raw: Iterable[tuple[bytes, bytes]], address: Address, call: Call
) -> list[tuple[bytes, bytes]]:
    """What of a partner's headers the caller is told."""
    further = _NONE if call.service is None else call.service.headers
    kept = [_NOSNIFF]
    for given, value in raw:
        name = given.lower()
        if name in RESPONSE_HEADERS or name in further:
            if name in _POINTING:
                ours = _in_our_house(name, value, address.beginning, call.root.encode())
                if ours is None:
                    continue
                value = ours
            kept.append((name, value))
    return kept


def comes_bit_by_bit(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether an answer is made to be read before it is over."""
    for name, value in headers:
        if name == b"content-type":
            return value.partition(b";")[0].strip().lower() in _BIT_BY_BIT
    return False


def units_of(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """The units that a provider tells with its answer; one where it tells nothing that holds."""
    told = [value for name, value in headers if name == UNITS]
    if len(told) != 1 or not told[0].isdigit() or len(told[0]) > 10:
        return 1
    units = int(told[0])
    return units if units <= MOST_UNITS else 1


def _in_our_house(
    name: bytes, value: bytes, beginning: re.Pattern[bytes], root: bytes
) -> bytes | None:
    """An address below the endpoint becomes one below the service; any other stays untold.

    A redirect elsewhere would carry the caller, and its access token, past the door.
    """
    if name != b"link":
        found = beginning.match(value)
        return None if found is None else root + value[found.end() :]
    told = re.sub(b"<" + beginning.pattern, lambda _: b"<" + root, value)
    return None if b"://" in told or b"<//" in told else told
