"""A provider's WSDL at work: OCHP's operations there and back, and what is refused on the way."""

from __future__ import annotations

import pytest

from bridge.payload import read_json, write_json
from bridge.wsdl import BadPayload, SoapFault, UnknownOperation
from tests.bridge.wsdls import asking, ochp, read, there_and_back, wsdl

TOKEN = {"emtId": {"@representation": "plain", "instance": "04AB", "tokenType": "rfid"}}


def test_ochp_has_all_its_operations() -> None:
    assert len(ochp().operations) == 17
    assert {one.style for one in ochp().operations.values()} == {"document"}
    assert not any(one.one_way for one in ochp().operations.values())


def test_a_request_is_read_as_what_was_asked() -> None:
    sent = ochp().request("GetSingleRoamingAuthorisation", TOKEN)
    assert sent.soap_action == "http://ochp.eu/1.4/GetSingleRoamingAuthorisation"
    assert sent.headers["SOAPAction"] == f'"{sent.soap_action}"'
    question = ochp().question(sent.content, sent.soap_action)
    assert (question.operation, question.payload) == ("GetSingleRoamingAuthorisation", TOKEN)
    assert (question.version, question.security) == ("1.1", None)


def test_an_answer_is_read_as_what_was_answered() -> None:
    payload = {
        "result": {"resultCode": {"resultCode": "ok"}, "resultDescription": None},
        "implausibleCdrsArray": ["AB1", "AB2"],
    }
    for version in ("1.1", "1.2"):
        content = ochp().envelope("AddCDRs", payload, version)
        assert ochp().answer("AddCDRs", content) == payload


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_fault_is_read_as_what_was_refused(version: str) -> None:
    content = ochp().fault(version, "Client.NotYours", "no <such> token", {"field": "emtId"})
    assert ochp().answer("GetStatus", content) == SoapFault(
        "Client", "no <such> token", "NotYours", None, {"field": "emtId"}
    )


@pytest.mark.parametrize(
    ("payload", "field", "value", "rule"),
    [
        ({}, "$.emtId", None, "emtId is required"),
        ([], "$", "an array", "an object"),
        ({**TOKEN, "more": 1}, "$.more", "more", "one of: emtId"),
        ({"emtId": None}, "$.emtId", None, "not null"),
        (
            {"emtId": {**TOKEN["emtId"], "tokenType": "key"}},
            "$.emtId.tokenType",
            "key",
            "one of: rfid, remote, 15118",
        ),
        ({"emtId": {**TOKEN["emtId"], "instance": 7}}, "$.emtId.instance", 7, "a string"),
        ({"emtId": {**TOKEN["emtId"], "instance": ""}}, "$.emtId.instance", "", "at least 1 long"),
    ],
)
def test_a_wrong_payload_is_told_where_and_why(
    payload: object, field: str, value: object, rule: str
) -> None:
    with pytest.raises(BadPayload) as refused:
        ochp().request("GetSingleRoamingAuthorisation", payload)
    assert (refused.value.field, refused.value.value) == (field, value)
    assert (refused.value.rule or "").startswith(rule)


def test_an_operation_that_there_is_not_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UnknownOperation) as refused:
        ochp().request("GetCdrs", {})
    assert "GetCDRs" in (refused.value.rule or "")


def test_a_decimal_keeps_its_digits() -> None:
    interface = asking('<x:sequence><x:element name="price" type="x:decimal"/></x:sequence>')
    payload = read_json(b'{"price": 19.90}')
    assert b">19.90<" in interface.request("Ask", payload).content
    assert write_json(there_and_back(interface, payload)) == b'{"price":19.90}'


def test_rpc_literal_is_wrapped_by_the_operation() -> None:
    interface = read(
        wsdl(
            "",
            style="rpc",
            use='use="literal" namespace="urn:r"',
            request='<part name="a" type="x:int"/><part name="b" type="x:string"/>',
            answer='<part name="c" type="x:boolean"/>',
        )
    )
    content = interface.request("Ask", {"a": 1, "b": "x"}).content
    assert b"<n0:Ask><a>1</a><b>x</b></n0:Ask>" in content
    assert interface.question(content).payload == {"a": 1, "b": "x"}
    answered = interface.envelope("Ask", {"c": True}, "1.2")
    assert b":AskResponse><c>true</c>" in answered
    assert interface.answer("Ask", answered) == {"c": True}
