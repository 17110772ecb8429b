"""What XSD can say, one thing at a time: there and back, valid by libxml2, and as the schema tells.

Each payload goes into an envelope; libxml2 (which knows nothing of ours) finds its body valid; it
is read back as the same payload; and the generated JSON schema takes it. What is wrong is refused
by the codec, and where JSON Schema has words for it, by the schema too.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from lxml import etree

from bridge.payload import BadPayload, read_json, write_json
from bridge.wsdl import SoapInterface
from tests.bridge.payloads import payloads
from tests.bridge.wsdls import asking

XSD = "http://www.w3.org/2001/XMLSchema"


def element(kind: str, more: str = "", name: str = "a") -> str:
    return f'<x:sequence><x:element name="{name}" type="{kind}" {more}/></x:sequence>'


def inside(body: str, more: str = "") -> str:
    return f'<x:sequence><x:element name="a" {more}>{body}</x:element></x:sequence>'


def restricted(base: str, facets: str) -> str:
    restriction = f'<x:restriction base="{base}">{facets}</x:restriction>'
    return inside(f"<x:simpleType>{restriction}</x:simpleType>")


def extended(base: str) -> str:
    return inside(
        f'<x:complexType><x:simpleContent><x:extension base="{base}">'
        '<x:attribute name="unit" type="x:string" use="required"/><x:attribute name="at" '
        'type="x:dateTime"/></x:extension></x:simpleContent></x:complexType>'
    )


AB = '<x:element name="a" type="x:int"/><x:element name="b" type="x:string"/>'
ANIMALS = """
  <x:complexType name="Animal" abstract="true"><x:sequence>
    <x:element name="name" type="x:string"/></x:sequence></x:complexType>
  <x:complexType name="Dog"><x:complexContent><x:extension base="t:Animal"><x:sequence>
    <x:element name="barks" type="x:boolean"/></x:sequence></x:extension></x:complexContent>
  </x:complexType>
  <x:complexType name="Puppy"><x:complexContent><x:extension base="t:Dog"><x:attribute name="weeks"
    type="x:int"/></x:extension></x:complexContent></x:complexType>
"""
SHAPES = """
  <x:element name="shape" abstract="true" type="x:anyType"/>
  <x:element name="circle" substitutionGroup="t:shape" type="x:double"/>
  <x:element name="square" substitutionGroup="t:shape" type="x:int"/>
"""
TREE = """
  <x:complexType name="Tree"><x:sequence><x:element name="leaf" type="x:int" minOccurs="0"/>
  <x:element name="branch" type="t:Tree" minOccurs="0" maxOccurs="unbounded"/></x:sequence>
  </x:complexType>
"""
GROUPS = f"""
  <x:group name="Pair"><x:sequence>{AB}</x:sequence></x:group>
  <x:attributeGroup name="Marks"><x:attribute name="mark" type="x:int"/></x:attributeGroup>
"""

# (name, content of the type, further types, payloads that are right, payloads that are wrong)
FEATURES: list[tuple[str, str, str, list[str], list[str]]] = [
    ("string", element("x:string"), "", ['{"a":""}', '{"a":" ü & <b> ]]> \\r\\n\\t\\""}'],
     ['{"a":1}', '{}', '{"a":null}', '{"a":["x"]}', '{"b":"x"}', '{"a":"x","b":1}', "[]", "7"]),
    ("boolean", element("x:boolean"), "", ['{"a":true}', '{"a":false}'],
     ['{"a":"true"}', '{"a":1}']),
    ("int", element("x:int"), "", ['{"a":0}', '{"a":-2147483648}'],
     ['{"a":2147483648}', '{"a":1.5}', '{"a":"1"}', '{"a":true}']),
    ("integer", element("x:integer"), "", ['{"a":123456789012345678901234567890}'], ['{"a":"x"}']),
    ("unsignedByte", element("x:unsignedByte"), "", ['{"a":255}'], ['{"a":256}', '{"a":-1}']),
    ("positiveInteger", element("x:positiveInteger"), "", ['{"a":1}'], ['{"a":0}']),
    ("decimal", element("x:decimal"), "", ['{"a":19.90}', '{"a":7}', '{"a":-0.0000001}',
     '{"a":12345678901234567890.123456789}'], ['{"a":"7"}', '{"a":true}']),
    ("double", element("x:double"), "",
     ['{"a":1.5}', '{"a":"INF"}', '{"a":"NaN"}', '{"a":1e+300}'],
     ['{"a":"1.5"}', '{"a":false}']),
    ("date", element("x:date"), "", ['{"a":"2028-02-29"}', '{"a":"2026-03-01+01:00"}'],
     ['{"a":5}', '{"a":"2026-13-01"}', '{"a":"1.3.2026"}', '{"a":"2026-03-01T00:00:00"}']),
    ("dateTime", element("x:dateTime"), "", ['{"a":"2026-03-01T12:00:00.5Z"}'],
     ['{"a":{}}', '{"a":"2026-03-01"}', '{"a":"2026-03-01T25:00:00Z"}']),
    ("time", element("x:time"), "", ['{"a":"12:00:00"}'], ['{"a":"12:00"}']),
    ("days of the calendar", element("x:date"), "", ['{"a":"2026-01-31"}'],
     ['{"a":"2026-02-29"}', '{"a":"2026-04-31Z"}']),
    ("parts of a date", '<x:sequence><x:element name="a" type="x:gYear"/><x:element name="b" '
     'type="x:gMonthDay"/></x:sequence>', "", ['{"a":"2026","b":"--12-24"}'],
     ['{"a":"26","b":"--12-24"}', '{"a":"2026","b":"12-24"}']),
    ("duration", element("x:duration"), "", ['{"a":"P1Y2M3DT4H5M6.7S"}', '{"a":"-PT1S"}'],
     ['{"a":1}', '{"a":"P"}', '{"a":"PT"}', '{"a":"1h"}']),
    ("base64", element("x:base64Binary"), "", ['{"a":"AAECAw=="}', '{"a":""}'], ['{"a":1}']),
    ("base64 that is none", element("x:base64Binary"), "", [], ['{"a":"A"}', '{"a":"ä==="}']),
    ("hex", element("x:hexBinary"), "", ['{"a":"00Ff"}'], ['{"a":"0"}', '{"a":"zz"}']),
    ("QName", element("x:QName"), "", ['{"a":"{urn:q}name"}'], ['{"a":1}']),
    ("list", inside('<x:simpleType><x:list itemType="x:int"/></x:simpleType>'), "",
     ['{"a":[1,2,3]}', '{"a":[]}'], ['{"a":1}', '{"a":["1"]}']),
    ("union", inside('<x:simpleType><x:union memberTypes="x:int x:boolean"/></x:simpleType>'), "",
     ['{"a":1}', '{"a":true}'], ['{"a":"x"}', '{"a":1.5}']),
    ("enumeration", restricted("x:string", '<x:enumeration value="x"/><x:enumeration value="y"/>'),
     "", ['{"a":"x"}'], ['{"a":"z"}']),
    ("numbers enumerated", restricted("x:int", '<x:enumeration value="1"/>'), "", ['{"a":1}'],
     ['{"a":2}']),
    ("pattern",
     restricted("x:string", r'<x:pattern value="\d{3}"/><x:pattern value="[a-z-[aeiou]]+"/>'), "",
     ['{"a":"123"}', '{"a":"xyz"}'], ['{"a":"12"}', '{"a":"abc"}', '{"a":"123\\n"}']),
    ("lengths", restricted("x:string", '<x:minLength value="2"/><x:maxLength value="3"/>'), "",
     ['{"a":"xx"}', '{"a":"üüü"}'], ['{"a":"x"}', '{"a":"xxxx"}']),
    ("range", restricted("x:decimal", '<x:minExclusive value="0"/><x:maxInclusive value="1.5"/>'),
     "", ['{"a":1.5}', '{"a":0.1}'], ['{"a":0}', '{"a":1.51}']),
    ("nillable", element("x:int", 'nillable="true"'), "", ['{"a":null}', '{"a":1}'], ['{}']),
    ("fixed", element("x:decimal", 'minOccurs="0" fixed="1.4"'), "", ["{}", '{"a":1.4}'],
     ['{"a":1.5}']),
    ("a fixed attribute", '<x:attribute name="n" fixed="1.4"/>', "", ["{}", '{"@n":"1.4"}'],
     ['{"@n":"2"}']),
    ("optional", element("x:int", 'minOccurs="0"'), "", ["{}", '{"a":1}'], ['{"a":null}']),
    ("many", element("x:int", 'minOccurs="1" maxOccurs="3"'), "", ['{"a":[1]}', '{"a":[1,2,3]}'],
     ['{"a":[]}', '{"a":[1,2,3,4]}', '{"a":1}', '{}', '{"a":[null]}']),
    ("many or null", element("x:int", 'minOccurs="0" maxOccurs="unbounded" nillable="true"'), "",
     ["{}", '{"a":[1,null,2]}'], ['{"a":null}']),
    ("attributes", '<x:attribute name="n" type="x:int" use="required"/><x:attribute name="o"/>', "",
     ['{"@n":1}', '{"@n":1,"@o":"\\" <&\\n"}'], ["{}", '{"@n":"1"}', '{"@n":1,"@p":"x"}']),
    ("text with attributes", extended("x:decimal"), "",
     ['{"a":{"@unit":"kWh","value":1.50}}',
      '{"a":{"@unit":"","@at":"2026-01-01T00:00:00","value":1}}'],
     ['{"a":1.5}', '{"a":{"value":1}}', '{"a":{"@unit":"kWh"}}']),
    ("all", f"<x:all>{AB}</x:all>", "", ['{"a":1,"b":"x"}', '{"b":"x","a":1}'], ['{"a":1}']),
    ("choice", f"<x:choice>{AB}</x:choice>", "", ['{"a":1}', '{"b":"x"}'],
     ["{}", '{"a":1,"b":"x"}']),
    ("optional choice", f'<x:choice minOccurs="0">{AB}</x:choice>', "", ["{}", '{"a":1}'],
     ['{"a":1,"b":"x"}']),
    ("choice of sequences",
     f'<x:choice><x:sequence>{AB}</x:sequence><x:element name="c" type="x:int"/></x:choice>', "",
     ['{"a":1,"b":"x"}', '{"c":1}'], ['{"a":1}', '{"a":1,"b":"x","c":1}']),
    ("optional sequence",
     f'<x:sequence><x:sequence minOccurs="0">{AB}</x:sequence><x:element name="c" type="x:int"/>'
     "</x:sequence>", "", ['{"c":1}', '{"a":1,"b":"x","c":2}'],
     ['{"a":1,"c":2}', '{"a":1,"b":"x"}']),
    ("repeated choice", f'<x:choice minOccurs="0" maxOccurs="4">{AB}</x:choice>', "",
     ["{}", '{"$items":[{"b":"x"},{"a":1},{"a":2},{"b":"y"}]}'],
     ['{"$items":[{}]}', '{"$items":[{"a":1,"b":"x"}]}', '{"a":1}',
      '{"$items":[{"a":1},{"a":1},{"a":1},{"a":1},{"a":1}]}']),
    ("repeated sequence", f'<x:sequence maxOccurs="unbounded">{AB}</x:sequence>', "",
     ['{"$items":[{"a":1,"b":"x"},{"a":2,"b":"y"}]}'], ["{}", '{"$items":[{"a":1}]}']),
    ("repeated single",
     '<x:sequence maxOccurs="unbounded"><x:element name="a" type="x:int"/></x:sequence>', "",
     ['{"a":[1,2]}'], ["{}", '{"$items":[]}']),
    ("groups", '<x:group ref="t:Pair"/><x:attributeGroup ref="t:Marks"/>', GROUPS,
     ['{"a":1,"b":"x","@mark":3}'], ['{"a":1,"b":"x","@mark":"3"}']),
    ("any",
     '<x:sequence><x:any minOccurs="0" maxOccurs="2" processContents="skip"/></x:sequence>', "",
     ["{}", '{"$any":["<z:o xmlns:z=\\"urn:z\\"><p q=\\"1\\"/>x</z:o>"]}'],
     ['{"$any":["x"]}', '{"$any":["<a>"]}', '{"$any":"<a/>"}', '{"$any":["<a/>","<a/>","<a/>"]}']),
    ("any of another namespace",
     '<x:sequence><x:any minOccurs="0" namespace="##other" processContents="skip"/></x:sequence>',
     "", ['{"$any":["<z:o xmlns:z=\\"urn:z\\"/>"]}'],
     ['{"$any":["<o/>"]}', '{"$any":["<o xmlns=\\"urn:t\\"/>"]}']),
    ("any of two namespaces",
     '<x:sequence><x:any minOccurs="0" namespace="##local urn:z" processContents="skip"/>'
     "</x:sequence>", "", ['{"$any":["<o/>"]}', '{"$any":["<o xmlns=\\"urn:z\\"/>"]}'],
     ['{"$any":["<o xmlns=\\"urn:t\\"/>"]}']),
    ("any attribute", '<x:anyAttribute processContents="skip"/>', "",
     ['{"@{urn:z}n":"1 & 2","@m":"x"}'], ['{"m":"x"}', '{"@m":1}']),
    ("anyType", element("x:anyType"), "",
     ['{"a":"x"}', '{"a":{"$xml":"x<z:o xmlns:z=\\"urn:z\\"/>y &amp; z"}}'],
     ['{"a":[]}', '{"a":{"$xml":"<a>"}}', '{"a":{"b":1}}']),
    ("mixed", inside('<x:complexType mixed="true"><x:sequence><x:any minOccurs="0" maxOccurs="9" '
     'processContents="skip"/></x:sequence><x:attribute name="n"/></x:complexType>'), "",
     ['{"a":{"$xml":"one <b>two</b> three","@n":"1"}}'], ['{"a":"x"}', '{"a":{}}']),
    ("derived types", element("t:Animal"), ANIMALS,
     ['{"a":{"$type":"Dog","name":"x","barks":true}}',
      '{"a":{"$type":"Puppy","name":"x","barks":true,"@weeks":7}}'],
     ['{"a":{"name":"x"}}', '{"a":{"$type":"Animal","name":"x"}}',
      '{"a":{"$type":"Dog","name":"x"}}',
      '{"a":{"$type":"Dog","name":"x","barks":true,"@weeks":7}}']),
    ("derived from what may be", element("t:Dog"), ANIMALS,
     ['{"a":{"name":"x","barks":true}}', '{"a":{"$type":"Puppy","name":"x","barks":true}}'],
     ['{"a":{"name":"x","barks":true,"@weeks":7}}']),
    ("substitution", '<x:sequence><x:element ref="t:shape"/></x:sequence>', SHAPES,
     ['{"circle":1.5}', '{"square":2}'], ["{}", '{"shape":1}', '{"circle":1.5,"square":2}']),
    ("substitution again", '<x:sequence><x:element ref="t:shape" maxOccurs="9"/></x:sequence>',
     SHAPES, ['{"$items":[{"square":2},{"circle":1.5},{"square":3}]}'], ['{"square":2}']),
    ("recursion", element("t:Tree"), TREE,
     ['{"a":{}}', '{"a":{"leaf":1,"branch":[{"branch":[{"leaf":2},{}]},{"leaf":3}]}}'],
     ['{"a":{"branch":[{"leaf":"x"}]}}']),
]  # fmt: skip
# What JSON Schema has no words for, or that it is told in a description only.
ANY = {"any", "any of another namespace", "any of two namespaces"}
BEYOND_JSON_SCHEMA = ANY | {"anyType", "base64 that is none", "days of the calendar"}


def schema_of(interface: SoapInterface) -> jsonschema_rs.Draft202012Validator:
    """Of what the operation takes, as the generated OpenAPI document says it."""
    document = interface.openapi(title="t", version="1", server_url="https://hub.example")
    content = document["paths"]["/Ask"]["post"]["requestBody"]["content"]
    whole = {**content["application/json"]["schema"], "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(whole)


def by_libxml2(content: str, types: str, form: str) -> etree.XMLSchema:
    text = (
        f'<x:schema xmlns:x="{XSD}" xmlns:t="urn:t" targetNamespace="urn:t" '
        f'elementFormDefault="{form}"><x:element name="Ask"><x:complexType>{content}'
        f"</x:complexType></x:element>{types}</x:schema>"
    )
    return etree.XMLSchema(etree.fromstring(text))


def plain(payload: object) -> object:
    """As a JSON reader of exact numbers finds it."""
    return json.loads(write_json(payload), parse_float=Decimal)


def body_of(envelope: bytes) -> etree._Element:
    [body] = etree.fromstring(envelope).findall(".//{*}Body")
    return body[0]


@pytest.mark.parametrize("form", ["qualified", "unqualified"])
@pytest.mark.parametrize(
    ("content", "types", "right"),
    [pytest.param(one[1], one[2], one[3], id=one[0]) for one in FEATURES],
)
def test_what_xsd_can_say_goes_there_and_back(
    content: str, types: str, right: list[str], form: str
) -> None:
    interface = asking(content, types=types, form=form)
    libxml2 = by_libxml2(content, types, form)
    schema = schema_of(interface)
    for told in right:
        payload: Any = read_json(told.encode())
        envelope = interface.request("Ask", payload).content
        libxml2.assertValid(body_of(envelope))
        assert plain(interface.question(envelope).payload) == plain(payload)
        for version in ("1.1", "1.2"):
            answered = interface.answer("Ask", interface.envelope("Ask", payload, version))
            assert plain(answered) == plain(payload)
        schema.validate(json.loads(told))


@pytest.mark.parametrize(
    ("content", "types", "wrong", "schema_knows"),
    [
        pytest.param(one[1], one[2], one[4], one[0] not in BEYOND_JSON_SCHEMA, id=one[0])
        for one in FEATURES
    ],
)
def test_what_xsd_does_not_allow_is_refused(
    content: str, types: str, wrong: list[str], schema_knows: bool
) -> None:
    interface = asking(content, types=types)
    schema = schema_of(interface)
    for told in wrong:
        with pytest.raises(BadPayload) as refused:
            interface.request("Ask", read_json(told.encode()))
        assert (refused.value.field or "").startswith("$"), told
        assert refused.value.rule, told
        assert not (schema_knows and schema.is_valid(json.loads(told))), told


# Wildcards are tried by hand above.
LAWFUL = [one for one in FEATURES if one[0] not in ANY | {"any attribute"} and one[3]]


@pytest.mark.parametrize(
    ("content", "types"), [pytest.param(one[1], one[2], id=one[0]) for one in LAWFUL]
)
def test_whatever_is_allowed_arrives_as_it_was_told(content: str, types: str) -> None:
    interface = asking(content, types=types)
    libxml2 = by_libxml2(content, types, "qualified")
    schema = schema_of(interface)
    body = interface.operation("Ask").request.body
    assert body is not None

    @settings(
        max_examples=15,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(payload=payloads(body.codec))
    def law(payload: Any) -> None:
        envelope = interface.request("Ask", payload).content
        assert interface.question(envelope).payload == payload
        libxml2.assertValid(body_of(envelope))
        schema.validate(json.loads(write_json(payload)))

    law()


@pytest.mark.parametrize(("told", "text"), [("1.50", "1.50"), ("7", "7"), ("true", "true")])
def test_a_number_may_stand_where_anything_may(told: str, text: str) -> None:
    written = asking(element("x:anyType")).request("Ask", read_json(f'{{"a":{told}}}'.encode()))
    assert f":a>{text}</" in written.content.decode()
