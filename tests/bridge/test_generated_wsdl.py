"""The WSDL that is generated says what the OpenAPI document says, in words that XSD knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xmlschema
from lxml import etree

from bridge import generated_wsdl, shaping
from tests.bridge.interfaces import LARGE, OURS, read, read_file, with_schema

NAMES = {"w": generated_wsdl.WSDL, "x": generated_wsdl.XSD, "s": generated_wsdl.SOAP_11}


def written(interface: Any) -> etree._Element:
    operations, types = shaping.shaped(interface)
    writing = generated_wsdl.Writing("Face", "urn:face")
    return etree.fromstring(writing.write("Made.", operations, types))


def schema_of(wsdl: etree._Element) -> xmlschema.XMLSchema:
    [found] = wsdl.iterfind(".//x:schema", NAMES)
    return xmlschema.XMLSchema(etree.tostring(found).decode())


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.name)
def test_its_schema_is_one_for_a_strict_reader_of_xsd(path: Path) -> None:
    wsdl = written(read_file(path))
    operations = wsdl.findall("w:portType/w:operation", NAMES)
    schema = schema_of(wsdl)
    assert {one.get("name") for one in operations} <= set(schema.elements)
    assert "ProblemFault" in schema.elements


def test_an_operation_says_what_it_is_for_and_how_it_fails() -> None:
    wsdl = written(read_file(OURS))
    operations = wsdl.findall("w:portType/w:operation", NAMES)
    [operation] = [one for one in operations if one.get("name") == "GetSession"]
    assert operation.findtext("w:documentation", namespaces=NAMES) == "The record of a session"
    [fault] = operation.findall("w:fault", NAMES)
    assert fault.get("message") == "tns:ProblemFault"
    actions = [one.get("soapAction") for one in wsdl.iterfind(".//s:operation", NAMES)]
    assert "urn:face/GetSession" in actions


@pytest.mark.parametrize(
    ("content", "valid"),
    [
        ("<body><a>x</a></body>", True),
        ("<body/>", False),
        ("<body><a>x</a><b>1</b><b>2</b></body>", True),
        ("<body><a>x</a><b>one</b></body>", False),
        ("<body><a>x</a><c xsi:nil='true'/></body>", True),
        ("<body><a>x</a><d>p</d></body>", True),
        ("<body><a>x</a><d>q</d></body>", False),
        ("<body><a>x</a><e><string>s</string></e></body>", True),
        ("<body><a>x</a><e><string>s</string><integer>1</integer></e></body>", False),
        ("<body><a>x</a><entry><key>k</key><value>true</value></entry></body>", True),
        ("<body><a>x</a><entry><value>true</value></entry></body>", False),
    ],
)
def test_a_strict_reader_lets_in_what_the_document_allows(content: str, valid: bool) -> None:
    schema = {
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "array", "items": {"type": "integer"}},
            "c": {"type": ["string", "null"]},
            "d": {"enum": ["p"]},
            "e": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        },
        "additionalProperties": {"type": "boolean"},
    }
    xsi = "http://www.w3.org/2001/XMLSchema-instance"
    told = f"<Send xmlns='urn:face' xmlns:xsi='{xsi}'>{content}</Send>"
    assert schema_of(written(with_schema(schema))).is_valid(told) is valid


def test_an_operation_called_like_the_fault_has_another() -> None:
    text = "openapi: 3.1.0\npaths: {/x: {get: {operationId: ProblemFault}}}"
    elements = schema_of(written(read(text))).elements
    assert {"ProblemFault", "ProblemFault_2"} <= set(elements)


def test_an_operation_called_like_the_answer_of_another_is_told_apart() -> None:
    text = "openapi: 3.1.0\npaths: {/x: {get: {operationId: A}, put: {operationId: AResponse}}}"
    wsdl = written(read(text))
    names = [one.get("name") for one in wsdl.iterfind("w:message", NAMES)]
    assert len(names) == len(set(names)) == 5
    assert schema_of(wsdl).elements


def test_what_xml_cannot_carry_is_left_out_of_descriptions() -> None:
    schema = {"type": "object", "description": "a\x00b", "properties": {"a": {"type": "string"}}}
    assert "a\ufffdb" in etree.tostring(written(with_schema(schema)), encoding="unicode")
