"""A SOAP caller and a REST provider understand each other, and nothing is lost between them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some

from bridge.payload import read_json, write_json
from bridge.soap_face import SoapFace
from tests.bridge.interfaces import with_schema
from tests.bridge.schemas import SCHEMAS, Drawn


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
