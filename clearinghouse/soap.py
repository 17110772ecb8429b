"""The clearing house for callers that speak SOAP: Authorisation and ServiceDetailRecord, after
Green eMotion's names. What an EVSP is called by itself stands in clearinghouse/forwarding.
"""

from __future__ import annotations

from decimal import Decimal
from importlib.resources import files
from typing import Any

from bridge.payload import BadPayload, read_json, write_json
from bridge.written_face import Asked, Spoken, WrittenFace, camel, inverse, snake

# Elements that may come again and again have their name in the singular.
_LISTS = {
    "service": "services",
    "period": "periods",
    "reason": "reasons",
    "detail": "details",
    "notice": "notices",
}
_SINGULAR = inverse(_LISTS)


def face() -> WrittenFace:
    """Reads the WSDL, which takes a while."""
    wsdl = files("clearinghouse").joinpath("clearing-house.wsdl").read_bytes()
    return WrittenFace(
        wsdl,
        {
            "Authorise": Spoken("authorise", _ask_authorise, _tell_authorise),
            "ForwardServiceDetailRecords": Spoken("receive-cdrs", _ask_cdrs, _tell_cdrs),
        },
    )


def _ask_authorise(payload: dict[str, Any]) -> Asked:
    return Asked("POST", "/authorisations", body=snake(payload, {"service": "services"}))


def _tell_authorise(told: dict[str, Any]) -> object:
    price, amount = told.pop("price"), told["max_amount"]
    shown = camel(told, {"services": "service"})
    if price is not None:
        shown["price"] = write_json(price).decode()
    if amount is not None:
        shown["maxAmount"]["amount"] = Decimal(amount["amount"])
    return {"authorisation": shown}


def _ask_cdrs(payload: dict[str, Any]) -> Asked:
    return Asked("POST", "/cdrs", body=[_cdr(one) for one in payload["serviceDetailRecord"]])


def _cdr(told: dict[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = snake(told, _LISTS)
    signed = record.get("signed_meter_values")
    if signed is not None:
        values = read_json(signed.encode())
        if not isinstance(values, list):
            raise BadPayload("no list", value=signed, rule="a JSON array").below(
                "signedMeterValues"
            )
        record["signed_meter_values"] = values
    if "total_cost" in record:
        record["total_cost"]["excl_vat"] = f"{record['total_cost']['excl_vat']:f}"
    return record


def _tell_cdrs(told: list[dict[str, Any]]) -> object:
    return {"result": [_result(one) for one in told]}


def _result(told: dict[str, Any]) -> dict[str, Any]:
    # The details' own members are named in the singular already.
    shown: dict[str, Any] = camel(told, _SINGULAR)
    if told["price"] is not None:
        for name in ("exclVat", "vat", "inclVat"):
            shown["price"][name] = Decimal(shown["price"][name])
    return shown
