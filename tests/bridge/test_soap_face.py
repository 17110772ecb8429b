"""A SOAP caller and a REST provider understand each other, and nothing is lost between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zeep
from hypothesis import given, settings
from hypothesis import strategies as some
from lxml import etree
from requests import Response
from zeep.exceptions import Fault
from zeep.transports import Transport

from bridge.document import BadDocument, Document, Kind
from bridge.openapi import Content, RestInterface
from bridge.payload import BadAnswer, BadPayload, UnknownOperation, read_json, write_json
from bridge.rest_messages import RestRequest
from bridge.soap_envelope import SOAP_11, BadEnvelope, content_type
from bridge.soap_face import SoapFace
from bridge.wsdl import SoapInterface
from tests.bridge.drawn_schemas import SCHEMAS, Drawn
from tests.bridge.interfaces import LARGE, OURS, read, read_file, with_schema

ADDRESS = "https://hub.example/services/one/soap"
JSON = "application/json"
ZEEP: Any = zeep.Client
Said = tuple[int, str, bytes]
Provider = Callable[[RestRequest], Said]


@settings(max_examples=40, deadline=None)
@given(drawn=SCHEMAS, data=some.data())
def test_a_value_goes_into_an_envelope_and_comes_out_the_same(
    drawn: Drawn, data: some.DataObject
) -> None:
    schema, values = drawn
    face = SoapFace.of(with_schema(schema))
    for _ in range(3):
        value = data.draw(values)
        sent = face.operations["Send"].request.to_soap({"body": value})
        content = face._soap.request("Send", sent).content
        assert read_json(face.request(content).content) == value


@settings(max_examples=40, deadline=None)
@given(drawn=SCHEMAS, data=some.data(), version=some.sampled_from(["1.1", "1.2"]))
def test_an_answer_in_json_goes_into_an_envelope_and_comes_out_the_same(
    drawn: Drawn, data: some.DataObject, version: str
) -> None:
    schema, values = drawn
    face = SoapFace.of(with_schema(schema))
    value = data.draw(values)
    told = face.answer("Send", version, 200, "application/json", write_json(value))
    assert told.fault is None
    read = face._soap.answer("Send", told.content)
    assert face.operations["Send"].answer.to_rest(read) == {"body": value}


# --- with zeep, a stranger's client made from the WSDL alone ---


class ToFace(Transport):
    """Carries zeep's envelopes to a face and, behind it, to a provider that is a function."""

    def __init__(self, face: SoapFace, provider: Provider) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.face = face
        self.provider = provider
        self.asked: list[RestRequest] = []

    def load(self, url: str) -> bytes:
        return self.face.wsdl(ADDRESS)

    def post_xml(self, address: str, envelope: etree._Element, headers: Any) -> Response:
        assert address == ADDRESS
        content = etree.tostring(envelope)
        name, _ = self.face.operation(body_tag(envelope), headers.get("SOAPAction"))
        request = self.face.request(content)
        self.asked.append(request)
        version = "1.2" if "soap+xml" in headers["Content-Type"] else "1.1"
        told = self.face.answer(name, version, *self.provider(request))
        response = Response()
        response.status_code = 200 if told.fault is None else 500
        response.headers["Content-Type"] = content_type(version, "")
        response._content = told.content
        return response


def body_tag(envelope: etree._Element) -> str:
    return str(envelope[-1][0].tag)


def zeep_client(path: Path, provider: Provider, port: str) -> tuple[Any, ToFace]:
    face = SoapFace.of(read_file(path))
    transport = ToFace(face, provider)
    client = ZEEP("face.wsdl", transport=transport)
    [service] = client.wsdl.services.values()
    name = next(one for one in service.ports if one.endswith(port))
    return client.bind(service.name, name), transport


PORTS = ["Soap11", "Soap12"]
IDENTIFICATION = {"RFIDIdentification": {"UID": "0123ABCD", "RFID": "nfc"}}


@pytest.mark.parametrize("port", PORTS)
def test_a_client_made_from_the_wsdl_asks_the_provider_and_is_answered(port: str) -> None:
    def provider(request: RestRequest) -> Said:
        said = {
            "AuthorisationStatus": "Authorised",
            "StatusCode": {"Code": "000"},
            "StopIdentifications": [IDENTIFICATION, {"MifareIdentification": {"UID": "AA"}}],
            "Unknown": ["to the document"],
        }
        return 200, "application/json; charset=utf-8", json.dumps(said).encode()

    service, transport = zeep_client(OURS, provider, port)
    answer = service["AuthoriseStart_V1.3"](
        operatorID="DE*ABC",
        body={"OperatorID": "DE*ABC", "Identification": IDENTIFICATION, "ProductID": "a & b"},
        **{"X-Request-Trace": "3f2504e0-4f89-41d3-9a0c-0305e82c3301"},
    )
    [request] = transport.asked
    assert request == RestRequest(
        method="POST",
        path="/charging/v13/operators/DE%2AABC/authorise/start",
        query="",
        headers={"X-Request-Trace": "3f2504e0-4f89-41d3-9a0c-0305e82c3301"},
        content_type="application/json",
        content=request.content,
    )
    assert json.loads(request.content) == {
        "OperatorID": "DE*ABC",
        "Identification": IDENTIFICATION,
        "ProductID": "a & b",
    }
    assert answer.AuthorisationStatus == "Authorised"
    assert [(one.key, one.value) for one in answer.entry] == [("Unknown", '["to the document"]')]
    assert [
        one.RFIDIdentification and one.RFIDIdentification.UID for one in answer.StopIdentifications
    ] == ["0123ABCD", None]


# Without null and arrays that are empty, which zeep does not write where they may be left out.
POINT = {
    "PointID": "DE*ABC*E1",
    "Names": [{"lang": "de", "value": "Straße"}, {"lang": "en", "value": "<street>"}],
    "Address": {
        "Country": "DEU", "City": "Köln", "Street": "Ring", "PostalCode": "50667",
        "HouseNum": "1",
    },
    "GeoCoordinates": {"Longitude": 6.9583, "Latitude": 50.9413},
    "Pool": {
        "PoolID": "P1",
        "Outline": [[[6.9, 50.9], [7.0, 50.9]], [[1, -1.25]]],
        "Parts": [{"PoolID": "P2", "Parts": [{"PoolID": "P3"}]}],
    },
    "Plugs": ["CHAdeMO"],
    "Facilities": [{"PowerType": "DC", "Power": 150.5, "3PhaseBalanced": False}],
    "AccessibilityTexts": {"de": "immer", "en": "always"},
    "VendorData": {"a": [1, None, {"b": 2}]},
    "@context": "x",
    "InServiceSince": "2024-02-29",
}  # fmt: skip


@pytest.mark.parametrize("port", PORTS)
def test_deep_data_comes_out_of_an_answer_and_goes_into_a_question_as_it_was(port: str) -> None:
    page = {"content": [POINT], "number": 0, "last": True}
    service, transport = zeep_client(OURS, lambda _: (200, JSON, json.dumps(page).encode()), port)
    found = service["PullPointData_V1.2"](
        providerID="DE-XYZ", page=2, sort=["PointID", "a&b"], body={"ProviderID": "DE-XYZ"}
    )
    [asked] = transport.asked
    assert asked.path == "/pointpull/v12/providers/DE-XYZ/data-records"
    assert asked.query == "page=2&sort=PointID&sort=a%26b"
    acknowledged = json.dumps({"Result": True, "StatusCode": {"Code": "000"}}).encode()
    transport.provider = lambda _: (200, JSON, acknowledged)
    service["PushPointData_V1.2"](
        operatorID="DE*ABC",
        body={
            "ActionType": "fullLoad",
            "OperatorPointData": {
                "OperatorID": "DE*ABC",
                "OperatorName": "A",
                "PointDataRecord": found.content,
            },
        },
    )
    pushed = json.loads(transport.asked[1].content)
    assert pushed["OperatorPointData"]["PointDataRecord"] == [POINT]


@pytest.mark.parametrize("port", PORTS)
def test_an_alternative_is_chosen_by_its_name_and_told_by_it(port: str) -> None:
    record = {"PointID": "DE*ABC*E1", "Status": "Occupied", "Since": None}
    said = {"PointStatusRecords": {"PointStatusRecord": [record]}}
    service, transport = zeep_client(OURS, lambda _: (200, JSON, json.dumps(said).encode()), port)
    asked = {"ProviderID": "DE-XYZ", "PointID": ["DE*ABC*E1"]}
    found = service["PullPointStatus_V1.1"](
        providerID="DE-XYZ", body={"PullPointStatusByID": asked}
    )
    assert json.loads(transport.asked[0].content) == asked
    assert found.PointStatuses is None
    [told] = found.PointStatusesByID.PointStatusRecords.PointStatusRecord
    assert (told.Status, told.Since) == ("Occupied", None)


@pytest.mark.parametrize("port", PORTS)
def test_text_bytes_and_nothing_are_answers_too(port: str) -> None:
    answers = {
        "/health": (200, "text/plain", b"f\xc3\xbcnf"),
        "/charging/v13/providers/a/sessions/s/transparency-data": (200, "x/y", b"\x00\xff"),
        "/charging/v13/providers/a/sessions/s": (204, "", b""),
    }
    session = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"

    def provider(request: RestRequest) -> Said:
        return answers[request.path.replace(session, "s")]

    service, transport = zeep_client(OURS, provider, port)
    assert service.getHealth() == "fünf"
    name = "getChargingV13ProvidersByProviderIDSessionsBySessionIDTransparencyData"
    assert service[name](providerID="a", sessionID=session) == b"\x00\xff"
    assert service.ForgetSession(providerID="a", sessionID=session) is None
    assert transport.asked[-1].method == "DELETE"


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize(("status", "client"), [(404, True), (503, False), (302, False)])
def test_what_the_provider_refuses_is_a_fault_with_its_reason(
    port: str, status: int, client: bool
) -> None:
    said = {"type": "urn:x", "detail": "no such <session>", "field": "s", "extra": {"a": [1]}}
    content = json.dumps(said).encode()
    answer = (status, "application/problem+json", content)
    service, _ = zeep_client(OURS, lambda _: answer, port)
    with pytest.raises(Fault) as fault:
        service.GetSession(providerID="a", sessionID="3f2504e0-4f89-41d3-9a0c-0305e82c3301")
    assert fault.value.message == "no such <session>"
    code = fault.value.code.rpartition(":")[2]
    assert code in (("Client", "Sender") if client else ("Server", "Receiver"))
    [detail] = fault.value.detail
    told = {etree.QName(one).localname: one.text for one in detail}
    assert etree.QName(detail).localname == "ProblemFault"
    assert (told["status"], told["field"], told["type"]) == (str(status), "s", "urn:x")
    assert json.loads(told["extension"]) == {"extra": {"a": [1]}}


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.name)
def test_large_documents_have_faces_for_zeep_and_for_ourselves(path: Path) -> None:
    interface = read_file(path)
    face = SoapFace.of(interface)
    assert face.operations.keys() == interface.operations.keys()
    client = ZEEP("face.wsdl", transport=ToFace(face, lambda _: (204, "", b"")))
    [service] = client.wsdl.services.values()
    for port in service.ports.values():
        assert port.binding._operations.keys() == face.operations.keys()
    soap = SoapInterface.read(Document(Kind.WSDL, "a", {"a": face.wsdl(ADDRESS)}))
    assert soap.operations.keys() == face.operations.keys()


def examples(interface: RestInterface, content: Content | None) -> list[Any]:
    """Those of a body's schema, or of its alternatives."""
    if content is None or content.schema is None:
        return []
    branches = content.schema.get("oneOf")
    places = list(branches.items()) if branches else [content.schema]
    found = [interface.references.follow(one).get("example") for one in places]
    return [read_json(json.dumps(one.value).encode()) for one in found if one is not None]


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.name)
def test_the_examples_of_large_documents_go_through_and_lose_nothing(path: Path) -> None:
    interface = read_file(path)
    face = SoapFace.of(interface)
    gone_through = 0
    for name, operation in interface.operations.items():
        shaped = face.operations[name]
        known = {one.member: "DE*ABC" for one in operation.parameters if one.required}
        for example in examples(interface, operation.body):
            told = shaped.request.to_soap({**known, "body": example})
            content = face._soap.request(name, told).content
            assert read_json(face.request(content).content) == example
            gone_through += 1
        for example in examples(interface, operation.answers.get("200")):
            answer = face.answer(name, "1.1", 200, JSON, write_json(example)).content
            read = shaped.answer.to_rest(face._soap.answer(name, answer))
            assert read == {"body": example}
            gone_through += 1
    assert gone_through >= 9


def test_an_address_is_told_as_it_is() -> None:
    face = SoapFace.of(with_schema({"type": "string"}))
    told = etree.fromstring(face.wsdl('https://hub.example/a?b="c"&\\1'))
    places = {one.get("location") for one in told.iter("{*}address")}
    assert places == {'https://hub.example/a?b="c"&\\1'}


def test_an_operation_is_told_by_the_element_of_the_body() -> None:
    face = SoapFace.of(with_schema({"type": "string"}))
    assert face.operation("{urn:gridroam:rest:One}Send") == ("Send", "POST /send")
    with pytest.raises(UnknownOperation) as refused:
        face.operation("{urn:x}Send", None)
    assert "Send" in str(refused.value.rule)


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        (JSON, b"{"),
        (JSON, b"5"),
        (JSON, b'{"a": {}}'),
        (JSON, b"[]"),
        (JSON, b"null"),
        ("text/html", b"<html>"),
        ("", b"\x00"),
        (JSON, b'{"a": "\\u0000"}'),
        (JSON, b"\xff"),
    ],
)
def test_an_answer_that_is_not_what_the_document_says_is_the_providers_fault(
    content_type: str, content: bytes
) -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
    face = SoapFace.of(with_schema(schema))
    with pytest.raises(BadAnswer) as refused:
        face.answer("Send", "1.1", 200, content_type, content)
    assert refused.value.rule


@pytest.mark.parametrize("depth", [10, 240, 2_000, 100_000])
def test_what_is_nested_too_deep_takes_nothing_down(depth: int) -> None:
    node = {"type": "object", "properties": {"n": {"$ref": "#/components/schemas/Node"}}}
    face = SoapFace.of(with_schema({"$ref": "#/components/schemas/Node"}, Node=node))
    asked = envelope_of(face, "<n>" * depth + "</n>" * depth)
    said = b'{"n":' * depth + b"{}" + b"}" * depth
    if depth > 10:
        with pytest.raises((BadPayload, BadEnvelope)):
            face.request(asked)
        with pytest.raises(BadAnswer):
            face.answer("Send", "1.1", 200, JSON, said)
    else:
        assert face.request(asked).content == said
        assert face.answer("Send", "1.1", 200, JSON, said).fault is None


def envelope_of(face: SoapFace, body: str) -> bytes:
    [tag] = [one.request.tag for one in face._soap.operations.values()]
    namespace = etree.QName(str(tag)).namespace
    return (
        f'<s:Envelope xmlns:s="{SOAP_11}"><s:Body>'
        f'<Send xmlns="{namespace}"><body>{body}</body></Send></s:Body></s:Envelope>'
    ).encode()


def test_a_page_for_people_is_not_passed_on() -> None:
    face = SoapFace.of(with_schema({"type": "string"}))
    told = face.answer("Send", "1.1", 502, "text/html", b"<html>secret stack</html>")
    assert told.fault is False
    assert b"secret" not in told.content
    assert b"Bad Gateway" in told.content


def test_a_document_without_an_operation_for_soap_has_no_face() -> None:
    text = "openapi: 3.1.0\npaths: {/x: {head: {}}}"
    with pytest.raises(BadDocument):
        SoapFace.of(read(text))
