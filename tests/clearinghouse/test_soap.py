"""What a SOAP caller asks the clearing house is what a REST caller would; zeep is the caller."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from zeep.exceptions import Fault

from bridge.payload import BadPayload
from bridge.written_face import WrittenFace
from clearinghouse import soap
from tests.bridge.zeep_client import ZeepClient

AT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
AUTHORISATION, RECORDS = "Authorisation", "ServiceDetailRecord"


@pytest.fixture(scope="module")
def face() -> WrittenFace:
    return soap.face()


@pytest.fixture(scope="module")
def zeep(face: WrittenFace) -> Iterator[ZeepClient]:
    client = ZeepClient(face.wsdl("http://hub.test/services/clearing-house/soap"))
    yield client
    client.close()


@pytest.mark.parametrize("port", ["Soap", "Soap12"])
def test_an_authorisation_is_asked_for_as_in_rest(
    face: WrittenFace, zeep: ZeepClient, port: str
) -> None:
    envelope = zeep.asks(
        *(AUTHORISATION, AUTHORISATION + port, "Authorise"),
        evseId="FR*PD1*E1",
        identification={"type": "rfid", "value": "04A1"},
        service=["charging"],
        chargeId="c-1",
    )
    asked = face.request(envelope, None)
    assert (asked.method, asked.path, asked.query) == ("POST", "/authorisations", "")
    assert json.loads(asked.content) == {
        "evse_id": "FR*PD1*E1",
        "identification": {"type": "rfid", "value": "04A1"},
        "services": ["charging"],
        "charge_id": "c-1",
    }


def test_an_answer_is_told_as_in_rest(face: WrittenFace, zeep: ZeepClient) -> None:
    price = {"currency": "EUR", "components": [{"type": "ENERGY", "price": "0.50"}]}
    told = {
        "authorisation_id": "a-1",
        "decision": "accepted",
        "reason": None,
        "contract_id": "FR-XYZ-1",
        "evsp": "FR*XYZ",
        "services": ["charging"],
        "valid_until": AT.isoformat(),
        "price": price,
        "max_amount": {"currency": "EUR", "amount": "19.90"},
    }
    said = face.answer("authorise", "1.1", 200, "application/json", json.dumps(told).encode())
    assert said.fault is None
    found = zeep.reads(AUTHORISATION, "AuthorisationSoap", "Authorise", said.content)
    assert json.loads(found.pop("price")) == price
    assert found == {
        "authorisationId": "a-1",
        "decision": "accepted",
        "reason": None,
        "contractId": "FR-XYZ-1",
        "evsp": "FR*XYZ",
        "service": ["charging"],
        "validUntil": AT,
        "maxAmount": {"currency": "EUR", "amount": Decimal("19.90")},
    }


def record(**more: Any) -> dict[str, Any]:
    return {
        "cdrId": "C1",
        "evseId": "FR*PD1*E1",
        "tokenUid": "04A1",
        "start": AT,
        "end": AT,
        "energyWh": 12_345,
        "period": [{"start": AT, "energyWh": 12_345, "parking": False}],
        **more,
    }


def test_records_are_handed_in_as_in_rest(face: WrittenFace, zeep: ZeepClient) -> None:
    envelope = zeep.asks(
        *(RECORDS, "ServiceDetailRecordSoap", "ForwardServiceDetailRecords"),
        serviceDetailRecord=[
            record(),
            record(
                signedMeterValues='[{"format":"OCMF"}]',
                totalCost={"currency": "EUR", "exclVat": Decimal("6.10")},
                credit=True,
                creditReferenceId="C0",
            ),
        ],
    )
    asked = face.request(envelope, None)
    assert (asked.method, asked.path) == ("POST", "/cdrs")
    plain, more = json.loads(asked.content)
    assert datetime.fromisoformat(plain.pop("start")) == AT
    assert datetime.fromisoformat(plain.pop("end")) == AT
    assert plain["periods"][0]["energy_wh"] == 12_345
    assert (plain["cdr_id"], plain["token_uid"], plain["energy_wh"]) == ("C1", "04A1", 12_345)
    assert more["signed_meter_values"] == [{"format": "OCMF"}]
    assert more["total_cost"] == {"currency": "EUR", "excl_vat": "6.10"}
    assert (more["credit"], more["credit_reference_id"]) == (True, "C0")


@pytest.mark.parametrize("signed", ["{}", "no JSON"])
def test_signed_meter_values_are_a_list_in_json(
    face: WrittenFace, zeep: ZeepClient, signed: str
) -> None:
    envelope = zeep.asks(
        *(RECORDS, "ServiceDetailRecordSoap", "ForwardServiceDetailRecords"),
        serviceDetailRecord=[record(signedMeterValues=signed)],
    )
    with pytest.raises(BadPayload):
        face.request(envelope, None)


def test_each_record_has_its_answer(face: WrittenFace, zeep: ZeepClient) -> None:
    price = {"currency": "EUR", "excl_vat": "6.17", "vat": "1.23", "incl_vat": "7.40"}
    why = [{"reason": "evse-unknown", "says": "nobody told of it"}]
    told = [
        {"cdr_id": "C1", "state": "accepted", "reasons": [], "price": price, "details": []},
        {
            "cdr_id": "C2",
            "state": "rejected",
            "reasons": ["evse-unknown"],
            "price": None,
            "details": why,
            "notices": why,
        },
    ]
    said = face.answer("receive-cdrs", "1.2", 200, "application/json", json.dumps(told).encode())
    accepted, rejected = zeep.reads(
        *(RECORDS, "ServiceDetailRecordSoap12", "ForwardServiceDetailRecords"), said.content
    )
    assert accepted["price"] == {
        "currency": "EUR",
        "exclVat": Decimal("6.17"),
        "vat": Decimal("1.23"),
        "inclVat": Decimal("7.40"),
    }
    assert (rejected["state"], rejected["reason"], rejected["price"]) == (
        *("rejected", ["evse-unknown"], None),
    )
    assert rejected["detail"] == rejected["notice"] == why


def test_a_no_is_a_fault_with_the_problem_in_its_detail(
    face: WrittenFace, zeep: ZeepClient
) -> None:
    problem = {
        "type": "https://gridroam.org/problems/bad-identifier",
        "title": "Bad identifier",
        "status": 422,
        "detail": "this is no EVSE id",
        "field": "evse_id",
        "value": "<x>",
        "rule": "as FR*PD1*E1",
        "request_id": "r-1",
    }
    said = face.answer(
        *("authorise", "1.1", 422, "application/problem+json"), json.dumps(problem).encode()
    )
    assert said.fault is True
    with pytest.raises(Fault) as refused:
        zeep.reads(AUTHORISATION, "AuthorisationSoap", "Authorise", said.content)
    assert refused.value.message == "this is no EVSE id"
    [detail] = refused.value.detail
    assert {one.tag.rpartition("}")[2]: one.text for one in detail} == {
        key: str(value) for key, value in problem.items()
    }
