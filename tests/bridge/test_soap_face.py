"""A SOAP caller and a REST provider understand each other, and nothing is lost between them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some

from bridge.payload import write_json
from bridge.soap_face import SoapFace
from bridge.wsdl import Question
from tests.bridge.interfaces import with_schema
from tests.bridge.schemas import SCHEMAS, Drawn

ADDRESS = "https://hub.example/services/one/soap"


@settings(max_examples=40, deadline=None)
@given(drawn=SCHEMAS, data=some.data())
def test_a_value_goes_into_an_envelope_and_comes_out_the_same(
    drawn: Drawn, data: some.DataObject
) -> None:
    schema, values = drawn
    face = SoapFace.of(with_schema(schema), ADDRESS)
    for _ in range(3):
        value = data.draw(values)
        sent = face.operations["Send"].request.to_soap({"body": value})
        content = face._soap.request("Send", sent).content
        assert face.question(content).payload == {"body": value}


@settings(max_examples=40, deadline=None)
@given(drawn=SCHEMAS, data=some.data(), version=some.sampled_from(["1.1", "1.2"]))
def test_an_answer_in_json_goes_into_an_envelope_and_comes_out_the_same(
    drawn: Drawn, data: some.DataObject, version: str
) -> None:
    schema, values = drawn
    face = SoapFace.of(with_schema(schema), ADDRESS)
    value = data.draw(values)
    question = Question("Send", {}, version, None)
    reply = face.answer(question, 200, "application/json", write_json(value))
    assert reply.status == 200
    read = face._soap.answer("Send", reply.content)
    assert face.operations["Send"].answer.to_rest(read) == {"body": value}
