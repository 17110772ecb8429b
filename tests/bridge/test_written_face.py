"""A face whose WSDL was written by hand: names, addresses, and what it does not know."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bridge.document import Document, Kind
from bridge.payload import BadAnswer, BadPayload, UnknownOperation
from bridge.written_face import camel, inverse, snake
from bridge.wsdl import SoapInterface
from marketplace.validation import soap
from search_evse import soap as search_soap

NAMES = {"service": "services"}
KEYS = some.from_regex(r"[a-z]{1,5}(?:_[a-z]{1,5}){0,3}", fullmatch=True).filter(
    lambda key: key not in {"service", "services"}
)
VALUES: Any = some.recursive(
    some.integers() | some.text(max_size=5) | some.booleans(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


@given(some.dictionaries(KEYS, VALUES, max_size=4), some.lists(some.text(max_size=3)))
def test_names_come_back_as_they_were(told: dict[str, Any], services: list[str]) -> None:
    told["services"] = services
    assert snake(camel(told, inverse(NAMES)), NAMES) == told


def test_names_are_those_of_xml() -> None:
    told = {"evse_id": 1, "services": ["a"], "nothing": None, "max_amount": {"excl_vat": 2}}
    assert camel(told, inverse(NAMES)) == {
        "evseId": 1,
        "service": ["a"],
        "maxAmount": {"exclVat": 2},
    }


def test_the_wsdl_is_to_be_called_where_it_is_asked_for() -> None:
    address = "https://hub.test/services/contract-validation/soap"
    told = soap.face().wsdl(address).decode()
    assert re.findall(r'location="([^"]*)"', told) == [address, address]


def test_an_operation_has_the_name_that_contracts_know() -> None:
    face = soap.face()
    tag = "{urn:gridroam:contract-validation:1}ValidateContract"
    assert face.operation(tag, None) == ("validate", None)
    for unknown in ("ValidateContract", "{urn:other}ValidateContract", None):
        with pytest.raises(UnknownOperation):
            face.operation(unknown, None)


def test_what_is_no_json_is_no_answer() -> None:
    with pytest.raises(BadAnswer):
        soap.face().answer("validate", "1.1", 200, "text/html", b"<html>")


def test_an_empty_name_in_a_path_leads_to_no_other_place() -> None:
    face = search_soap.face()
    wsdl = SoapInterface.read(Document(Kind.WSDL, "a", {"a": face.wsdl("http://hub.test/")}))
    asked = wsdl.request("GetEVSE", {"evseId": "FR*PD1*E1"}).content
    assert face.request(asked, None).path == "/evses/FR*PD1*E1"
    with pytest.raises(BadPayload):
        face.request(asked.replace(b"FR*PD1*E1", b""), None)
