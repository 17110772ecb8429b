"""What goes over the wire to an EVSP: JSON, lines of JSON, or SOAP; and what comes back of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import msgspec
from lxml import etree

from bridge import soap_envelope
from bridge.soap_envelope import BadEnvelope
from clearinghouse.cdrs import wire
from clearinghouse.cdrs.model import Cdr
from clearinghouse.forwarding.model import Delivery, Verdict
from kit.encoding import encode_json

NAMESPACE = "urn:gridroam:service-detail-record-forwarding:1"
OPERATION = "ForwardServiceDetailRecords"
SOAP_ACTION = f'"{NAMESPACE}#{OPERATION}"'
WSDL = (
    files("clearinghouse.forwarding").joinpath("service-detail-record-forwarding.wsdl").read_bytes()
)
MOST_RECEIPT_BYTES = 8 * 1024
_JWS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# Each element of a record in the order of the schema, and its name in JSON.
_FIELDS: Mapping[str, str] = {
    "operator": "operator",
    "cdrId": "cdr_id",
    "evsp": "evsp",
    "evseId": "evse_id",
    "authorisationId": "authorisation_id",
    "contractId": "contract_id",
    "tokenUid": "token_uid",
    "start": "start",
    "end": "end",
    "timeZone": "time_zone",
    "energyWh": "energy_wh",
    "period": "periods",
    "signedMeterValues": "signed_meter_values",
    "state": "state",
    "reason": "reasons",
    "notice": "notices",
    "agreementId": "agreement_id",
    "price": "price",
    "priceLines": "price_lines",
    "vat": "vat",
    "periodId": "period_id",
    "recordedAt": "recorded_at",
    "credit": "credit",
    "creditReferenceId": "credit_reference_id",
    "replaces": "replaces",
}
_NESTED: Mapping[str, Mapping[str, str]] = {
    "periods": {"start": "start", "energyWh": "energy_wh", "parking": "parking"},
    "reasons": {"reason": "reason", "says": "says"},
    "notices": {"reason": "reason", "says": "says"},
    "vat": {"rule": "rule", "category": "category", "percent": "percent"},
    "price": {"currency": "currency", "exclVat": "excl_vat", "vat": "vat", "inclVat": "incl_vat"},
}
_AS_JSON = frozenset({"signed_meter_values", "price_lines"})


def json_body(delivery: Delivery) -> bytes:
    return encode_json(
        {"delivery_id": delivery.delivery_id, "cdrs": [wire.shown(cdr) for cdr in delivery.cdrs]}
    )


def lines_body(delivery: Delivery) -> bytes:
    """A record a line (NDJSON); the file's name is the delivery's id."""
    return b"".join(encode_json(wire.shown(cdr)) + b"\n" for cdr in delivery.cdrs)


def soap_body(delivery: Delivery) -> bytes:
    """An envelope by our WSDL."""
    request = etree.Element(f"{{{NAMESPACE}}}{OPERATION}", nsmap={"sdr": NAMESPACE})
    _add(request, "deliveryId", delivery.delivery_id)
    for cdr in delivery.cdrs:
        _add_record(request, cdr)
    body = etree.tostring(request, encoding="unicode")
    return soap_envelope.written("1.1", "", "", str(body))


def _add_record(parent: etree._Element, cdr: Cdr) -> None:
    told: dict[str, Any] = msgspec.json.decode(encode_json(wire.shown(cdr)))
    element = _add(parent, "serviceDetailRecord")
    # What the schema has no place for goes along as it is in JSON: nothing is lost on this way.
    more = {name: told[name] for name in told if name not in _FIELDS.values()}
    for tag, name in _FIELDS.items():
        value = told.get(name)
        if value is None:
            continue
        if name in _AS_JSON:
            if value:
                _add(element, tag, _text(value))
        elif name in _NESTED:
            several: Sequence[Mapping[str, Any]] = value if isinstance(value, list) else [value]
            inner = _NESTED[name]
            for one in several:
                nested = _add(element, tag)
                for inner_tag, inner_name in inner.items():
                    if one.get(inner_name) is not None:
                        _add(nested, inner_tag, _text(one[inner_name]))
            if any(one.keys() - set(inner.values()) for one in several):
                more[name] = value
        else:
            _add(element, tag, _text(value))
    for name, value in more.items():
        if value is not None:
            _add(element, "extension", json.dumps(value)).set("name", name)


def _add(parent: etree._Element, tag: str, content: str | None = None) -> etree._Element:
    added = etree.SubElement(parent, f"{{{NAMESPACE}}}{tag}")
    if content is not None:
        added.text = _NOT_XML.sub("\ufffd", content)
    return added


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def receipt_in(said: bytes) -> Any:
    """What an EVSP's answer holds of a receipt: a count and a digest, or a signature; else None."""
    if len(said) > MOST_RECEIPT_BYTES:
        return None
    text = said.decode("utf-8", "replace").strip()
    if _JWS.fullmatch(text):
        return {"jws": text}
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    receipt = {}
    if isinstance(told.get("received"), int):
        receipt["received"] = told["received"]
    for name in ("digest", "jws"):
        if isinstance(told.get(name), str) and told[name].isprintable():
            receipt[name] = told[name]
    return receipt or None


def soap_answer(said: bytes, most_bytes: int) -> tuple[Verdict | None, str, Any]:
    """What an answer by our WSDL means, in words, and its receipt. None: it says nothing of it."""
    try:
        held, version = soap_envelope.only(said, most_bytes=most_bytes)
    except BadEnvelope as error:
        return None, error.detail, None
    if soap_envelope.is_fault(held, version):
        fault, _ = soap_envelope.read_fault(held, version)
        return Verdict.REFUSED if fault.client else Verdict.RETRY, fault.reason, None
    tag = f"{{{NAMESPACE}}}"
    given = held.find(f"{tag}acknowledgement")
    if held.tag != f"{tag}{OPERATION}Response" or given is None:
        return None, f"no acknowledgement in {etree.QName(held).localname}", None
    if (given.findtext(f"{tag}accepted") or "").strip() not in ("true", "1"):
        return (
            Verdict.RETRY,
            "the acknowledgement does not say that the records were accepted",
            None,
        )
    receipt: dict[str, Any] = {}
    received, digest = given.findtext(f"{tag}received"), given.findtext(f"{tag}digest")
    if received is not None and received.strip().isdecimal() and len(received) < 10:
        receipt["received"] = int(received)
    if digest is not None and len(digest) <= MOST_RECEIPT_BYTES and digest.isprintable():
        receipt["digest"] = digest
    return Verdict.DELIVERED, "accepted", receipt or None
