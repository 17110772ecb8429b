"""Messages in the provider's place and towards it: headers, faults, versions, and broken ones."""

from __future__ import annotations

import pytest

from bridge.payload import BadAnswer, BadPayload, UnknownOperation
from bridge.soap_envelope import SOAP_11, BadEnvelope, MustUnderstand, SoapFault
from bridge.username_token import SECURITY
from bridge.wsdl import SoapInterface
from tests.bridge.wsdls import asking, ochp, read, wsdl

NUMBER = '<x:sequence><x:element name="n" type="x:int"/></x:sequence>'
NUMBERS = f"""
  <x:element name="Ask"><x:complexType>{NUMBER}</x:complexType></x:element>
  <x:element name="Told"><x:complexType>{NUMBER}</x:complexType></x:element>
  <x:element name="Trace" type="x:string"/>
  <x:element name="Sorry"><x:complexType><x:sequence><x:element name="why" type="x:int"/>
  </x:sequence></x:complexType></x:element>
"""


def with_headers(schema: str = NUMBERS) -> SoapInterface:
    return read(
        wsdl(
            schema,
            request='<part name="p" element="t:Ask"/><part name="h" element="t:Trace"/>',
            header='<s:header message="t:AskIn" part="h" use="literal"/>',
            faults='<fault name="Sorry" message="t:Sorry"/>',
        )
    )


def around(body: str, header: str = "", more: str = "") -> bytes:
    return (
        f'<s:Envelope xmlns:s="{SOAP_11}" xmlns="urn:t" {more}><s:Header>{header}</s:Header>'
        f"<s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


# --- headers ---


def test_bound_headers_are_a_member_of_the_payload() -> None:
    interface = with_headers()
    payload = {"n": 1, "$headers": {"Trace": "abc"}}
    content = interface.request("Ask", payload).content
    assert b"<s:Header><n1:Trace>abc</n1:Trace></s:Header>".replace(b"n1", b"n0") in content
    assert interface.question(content).payload == payload
    answered = interface.envelope("Ask", payload)
    assert interface.answer("Ask", answered) == payload


def test_headers_may_be_left_out() -> None:
    interface = with_headers()
    assert interface.question(interface.request("Ask", {"n": 1}).content).payload == {"n": 1}


def test_a_payload_that_is_no_object_stands_beside_its_headers() -> None:
    interface = with_headers(
        '<x:element name="Ask" type="x:int"/><x:element name="Told" type="x:int"/>'
        '<x:element name="Trace" type="x:string"/><x:element name="Sorry" type="x:string"/>'
    )
    for payload in (7, {"value": 7, "$headers": {"Trace": "abc"}}):
        content = interface.request("Ask", payload).content
        assert interface.question(content).payload == payload


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"Other": "x"}, "$.$headers.Other"),
        ({"Trace": 1}, "$.$headers.Trace"),
        ("x", "$.$headers"),
    ],
)
def test_a_wrong_header_is_told_where(headers: object, field: str) -> None:
    with pytest.raises(BadPayload) as refused:
        with_headers().request("Ask", {"n": 1, "$headers": headers})
    assert refused.value.field == field


def test_headers_are_in_the_openapi_document() -> None:
    document = with_headers().openapi(title="t", version="1", server_url="https://hub.example")
    content = document["paths"]["/Ask"]["post"]["requestBody"]["content"]
    told = content["application/json"]["schema"]["properties"]["$headers"]
    assert told["properties"] == {"Trace": {"type": "string"}}


def test_the_security_header_is_handed_over() -> None:
    namespace = SECURITY[1:].partition("}")[0]
    security = (
        f'<w:Security xmlns:w="{namespace}" s:mustUnderstand="1"><w:UsernameToken/></w:Security>'
    )
    question = with_headers().question(around("<Ask><n>1</n></Ask>", security))
    assert question.security is not None
    assert question.security.tag == SECURITY
    assert question.payload == {"n": 1}


def test_a_header_that_must_be_understood_and_is_not_is_refused() -> None:
    with pytest.raises(MustUnderstand) as refused:
        with_headers().question(around("<Ask><n>1</n></Ask>", '<o s:mustUnderstand="1"/>'))
    assert refused.value.code == "MustUnderstand"
    question = with_headers().question(
        around("<Ask><n>1</n></Ask>", '<o/><Trace s:mustUnderstand="1">x</Trace>')
    )
    assert question.payload == {"n": 1, "$headers": {"Trace": "x"}}


def test_headers_of_ours_stand_before_those_of_the_message() -> None:
    sent = with_headers().request(
        "Ask", {"n": 1, "$headers": {"Trace": "x"}}, headers='<o xmlns="urn:o"/>'
    )
    assert b'<s:Header><o xmlns="urn:o"/><n0:Trace>x</n0:Trace></s:Header>' in sent.content


# --- faults ---


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_declared_detail_is_typed_both_ways(version: str) -> None:
    interface = with_headers()
    content = interface.fault(version, "Server", "sorry", {"Sorry": {"why": 7}})
    assert b":Sorry><" in content
    fault = interface.answer("Ask", content)
    assert fault == SoapFault("Server", "sorry", None, None, {"Sorry": {"why": 7}})
    assert isinstance(fault, SoapFault)
    assert fault.as_json() == {
        "code": "Server",
        "reason": "sorry",
        "detail": {"Sorry": {"why": 7}},
    }


@pytest.mark.parametrize(
    "detail", [{"Sorry": {"why": "never"}}, {"Sorry": {}}, {"Else": ["a", None]}, "text", None]
)
def test_a_fault_is_told_whatever_its_detail(detail: object) -> None:
    content = with_headers().fault("1.1", "Client", "no", detail)
    fault = with_headers().answer("Ask", content)
    assert isinstance(fault, SoapFault)
    assert (fault.code, fault.reason) == ("Client", "no")


def test_a_fault_of_the_provider_is_told_however_badly_it_is_written() -> None:
    detail = "<Sorry><why>never</why></Sorry><Other>x</Other>"
    content = around(
        f"<s:Fault><faultcode>s:Odd.Thing</faultcode><detail>{detail}</detail></s:Fault>"
    )
    fault = with_headers().answer("Ask", content)
    assert fault == SoapFault("Odd", "", "Thing", None, {"Sorry": {"why": "never"}, "Other": "x"})


def test_the_detail_is_in_the_openapi_document() -> None:
    document = with_headers().openapi(title="t", version="1", server_url="https://hub.example")
    problem = document["paths"]["/Ask"]["post"]["responses"]["default"]["content"]
    fault = problem["application/problem+json"]["schema"]["properties"]["fault"]
    assert fault["properties"]["detail"]["properties"] == {
        "Sorry": {"$ref": "#/components/schemas/Sorry"}
    }


# --- what a provider answers ---


def test_what_a_provider_adds_is_left_out() -> None:
    added = '<Told new="1"><before>x</before><n>1</n><after><n>2</n></after></Told>'
    assert with_headers().answer("Ask", around(added, "<Other/>")) == {"n": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>Welcome</html>",
        around(""),
        around("<Other/>"),
        around("<Ask><n>1</n></Ask>"),
        around("<Told/>"),
        around("<Told><n>x</n></Told>"),
        around("<Told><n>1</n><n>2</n></Told>"),
        around("<Told><n><n>1</n></n></Told>"),
        b"<!DOCTYPE x>" + around("<Told><n>1</n></Told>"),
        around("<Told>" + "<n>" * 300 + "</n>" * 300 + "</Told>"),
    ],
    ids=range(11),
)
def test_an_answer_that_the_wsdl_does_not_know_is_the_providers_fault(content: bytes) -> None:
    with pytest.raises(BadAnswer) as broken:
        with_headers().answer("Ask", content)
    assert "provider" in broken.value.detail
    assert broken.value.rule


def test_a_restriction_binds_the_caller_and_an_enumeration_the_provider_too() -> None:
    narrow = (
        '<x:sequence><x:element name="{}" minOccurs="0"><x:simpleType><x:restriction '
        'base="x:string">{}</x:restriction></x:simpleType></x:element></x:sequence>'
    )
    short = asking(narrow.format("n", '<x:maxLength value="2"/>'))
    told = around("<Told><n>longer</n></Told>")
    assert short.answer("Ask", told) == {"n": "longer"}
    with pytest.raises(BadPayload):
        short.question(told.replace(b"Told", b"Ask"))
    one = asking(narrow.format("n", '<x:enumeration value="a"/>'))
    with pytest.raises(BadAnswer):
        one.answer("Ask", told)


# --- what a caller asks ---


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", BadEnvelope),
        (b"not xml", BadEnvelope),
        (around("<Ask><n>1</n></Ask>").replace(b"</s:Body>", b""), BadEnvelope),
        (b'<?xml version="1.0" encoding="utf-16"?>' + around("<Ask/>"), BadEnvelope),
        (around("<Ask><n>\xe4</n></Ask>").decode().encode("latin-1"), BadEnvelope),
        (b'<!DOCTYPE x [<!ENTITY e "1">]>' + around("<Ask><n>&e;</n></Ask>"), BadEnvelope),
        (around("<Ask>" + "<n>" * 300 + "</n>" * 300 + "</Ask>"), BadEnvelope),
        (around("<Asks/>"), UnknownOperation),
        (around(""), UnknownOperation),
        (around("<Ask/>"), BadPayload),
        (around("<Ask><n>1</n><m/></Ask>"), BadPayload),
        (around("<Ask><n>1</n></Ask><Ask><n>1</n></Ask>"), BadPayload),
        (around("<Ask><n>one</n></Ask>"), BadPayload),
        (around('<Ask><n xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="1"/></Ask>'),
         BadPayload),
    ],
    ids=range(14),
)  # fmt: skip
def test_a_question_that_the_wsdl_does_not_know_is_the_callers_fault(
    content: bytes, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        with_headers().question(content)


def test_of_operations_with_the_same_body_the_action_tells() -> None:
    whole = wsdl(NUMBERS).decode()
    for tag in ('<operation name="Ask"><doc', '<operation name="Ask"><s:'):
        start = whole.index(tag)
        end = whole.index("</operation>", start) + len("</operation>")
        again = whole[start:end].replace('"Ask"', '"Again"').replace("urn:t/Ask", "urn:t/Again")
        whole = whole[:end] + again + whole[end:]
    interface = read(whole.encode())
    body = around("<Ask><n>1</n></Ask>")
    assert interface.question(body, '"urn:t/Again"').operation == "Again"
    assert interface.question(body, "urn:t/Ask").operation == "Ask"
    assert interface.question(body).operation == "Ask"


def test_a_payload_without_end_is_refused() -> None:
    tree = (
        '<x:complexType name="Tree"><x:sequence><x:element name="b" type="t:Tree" minOccurs="0"/>'
        "</x:sequence></x:complexType>"
    )
    interface = asking('<x:sequence><x:element name="b" type="t:Tree"/></x:sequence>', types=tree)
    payload: dict[str, object] = {}
    for _ in range(5_000):
        payload = {"b": payload}
    with pytest.raises(BadPayload) as refused:
        interface.request("Ask", payload)
    assert "without end" in (refused.value.rule or "")


def test_characters_that_xml_cannot_carry_are_refused() -> None:
    for text in ("\x00", "\x1b", "\ud800", "\uffff"):
        token = {"emtId": {"instance": text, "tokenType": "rfid"}}
        with pytest.raises(BadPayload) as refused:
            ochp().request("GetSingleRoamingAuthorisation", token)
        assert refused.value.field == "$.emtId.instance"
