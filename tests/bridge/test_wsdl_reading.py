"""WSDLs as they come: those of several files, those of other styles, and those that are refused."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from bridge.document import BadDocument, Document, Kind
from bridge.wsdl import BadPayload, SoapInterface
from tests.bridge.wsdls import ochp_document, read, wsdl

ASK = '<x:element name="Ask" type="x:int"/><x:element name="Told" type="x:int"/>'
SCHEMA = '<x:schema xmlns:x="http://www.w3.org/2001/XMLSchema" xmlns:o="urn:o" xmlns:t="urn:t" '


def refused(root: bytes, files: dict[str, bytes] | None = None) -> BadDocument:
    with pytest.raises(BadDocument) as found:
        read(root, files)
    assert found.value.field
    assert found.value.rule
    return found.value


def of_types(include: str = "", imports: str = "") -> bytes:
    return wsdl(
        f'{imports}{include}<x:element name="Ask" type="t:Number"/>'
        '<x:element name="Told" type="t:Number"/>'
    )


def numbers(more: str = "", target: str = 'targetNamespace="urn:t"') -> bytes:
    return (
        f'{SCHEMA} {target}>{more}<x:simpleType name="Number"><x:restriction base="x:int"/>'
        "</x:simpleType></x:schema>"
    ).encode()


# --- files ---


def test_what_is_included_is_found_from_where_it_is_included() -> None:
    interface = read(
        of_types('<x:include schemaLocation="types/a%20b.xsd"/>'),
        {
            "types/a b.xsd": (
                f'{SCHEMA}><x:include schemaLocation="../more.xsd"/></x:schema>'.encode()
            ),
            "more.xsd": numbers(),
        },
    )
    assert interface.question(interface.request("Ask", 5).content).payload == 5


def test_a_schema_without_namespace_takes_that_of_who_includes_it() -> None:
    interface = read(of_types('<x:include schemaLocation="n.xsd"/>'), {"n.xsd": numbers(target="")})
    assert interface.question(interface.request("Ask", 5).content).payload == 5


def test_a_wsdl_may_be_split_in_abstract_and_bound() -> None:
    whole = wsdl(ASK).decode()
    begin = whole.index("<binding")
    head = whole[: whole.index("<documentation>")]
    abstract = whole[:begin] + "</definitions>"
    bound = f'{head}<import namespace="urn:t" location="sub/b.wsdl"/>{whole[begin:]}'
    interface = read(bound.encode(), {"sub/b.wsdl": abstract.encode()})
    assert list(interface.operations) == ["Ask"]


def test_files_that_import_each_other_in_a_circle_are_read_once() -> None:
    interface = read(
        wsdl(
            '<x:include schemaLocation="one.xsd"/><x:element name="Ask" type="t:Number"/>'
            '<x:element name="Told" type="t:Number"/>',
            top='<import namespace="urn:t" location="b.wsdl"/>',
        ),
        {
            "b.wsdl": b'<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" '
            b'targetNamespace="urn:t"><import namespace="urn:t" location="a.wsdl"/></definitions>',
            "one.xsd": f'{SCHEMA} targetNamespace="urn:t"><x:include schemaLocation="two.xsd"/>'
            '<x:import namespace="urn:o" schemaLocation="o.xsd"/></x:schema>'.encode(),
            "two.xsd": numbers('<x:include schemaLocation="one.xsd"/>'),
            "o.xsd": f'{SCHEMA} targetNamespace="urn:o"><x:import namespace="urn:t" '
            'schemaLocation="one.xsd"/><x:element name="n" type="t:Number"/></x:schema>'.encode(),
        },
    )
    assert interface.question(interface.request("Ask", 5).content).payload == 5


def test_xmls_own_namespace_may_be_imported_from_anywhere_since_it_is_known() -> None:
    interface = read(
        wsdl(
            '<x:import namespace="http://www.w3.org/XML/1998/namespace" '
            'schemaLocation="http://www.w3.org/2001/xml.xsd"/><x:element name="Ask"><x:complexType>'
            '<x:attribute ref="xml:lang"/></x:complexType></x:element>'
            '<x:element name="Told" type="x:int"/>'
        )
    )
    content = interface.request("Ask", {"@lang": "de"}).content
    assert b'xml:lang="de"' in content
    assert interface.question(content).payload == {"@lang": "de"}


@pytest.mark.parametrize(
    "location",
    [
        "http://partner.example/types.xsd",
        "https://partner.example/types.xsd",
        "//partner.example/types.xsd",
        "file:///etc/passwd",
        "/etc/passwd",
        "../types.xsd",
        "no-such.xsd",
        "types.xsd?xsd=1",
        "",
    ],
)
def test_nothing_is_read_but_what_was_uploaded(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*where: object) -> None:
        raise AssertionError(f"a connection to {where}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(Path, "open", connect)
    files = {"types.xsd": numbers()} if location != "no-such.xsd" else {}
    by_include = refused(of_types(f'<x:include schemaLocation="{location}"/>'), files)
    assert by_include.field == "a.wsdl"
    assert by_include.value == location
    assert "upload" in (by_include.rule or "")
    by_wsdl = refused(wsdl(ASK, top=f'<import namespace="urn:t" location="{location}"/>'), files)
    assert by_wsdl.value == location
    if location:
        other = f'<x:import namespace="urn:o" schemaLocation="{location}"/>'
        assert refused(of_types(imports=other), files).value == location


# --- what is refused ---


@pytest.mark.parametrize(
    ("root", "rule"),
    [
        (b"", "well-formed XML"),
        (b"{}", "well-formed XML"),
        (b"<a/>", "WSDL 1.1"),
        (b'<description xmlns="http://www.w3.org/ns/wsdl"/>', "WSDL 1.1"),
        (b"<!DOCTYPE a>" + wsdl(ASK), "document type"),
        (wsdl(ASK)[:-20], "well-formed XML"),
        (wsdl(ASK).replace(b"/wsdl/soap/", b"/wsdl/http/"), "a binding of SOAP"),
        (wsdl(ASK).replace(b"soap/http", b"soap/smtp"), "a binding of SOAP"),
        (wsdl(ASK, use='use="encoded"'), "literal"),
        (wsdl(ASK, style="rpc", use='use="encoded" namespace="urn:r"'), "literal"),
        (wsdl(ASK, request='<part name="p" type="x:int"/>'), "document style"),
        (
            wsdl(ASK, request='<part name="p" element="t:Ask"/><part name="q" element="t:Ask"/>'),
            "document style",
        ),
        (wsdl(ASK, request='<part name="p"/>'), "an element or a type"),
        (wsdl(ASK, request='<part name="p" element="t:Other"/>'), "declares"),
        (wsdl(ASK).replace(b'message="t:AskIn"', b'message="t:No"'), "a message"),
        (wsdl(ASK).replace(b'type="t:P"', b'type="t:No"'), "a portType"),
        (wsdl(ASK).replace(b'binding="t:B"', b'binding="t:No"'), "a binding"),
        (wsdl(ASK).replace(b'<operation name="Ask"><s:', b'<operation name="No"><s:'), "operation"),
        (wsdl('<x:element name="Ask" type="t:No"/>' + ASK[33:]), "XML Schema 1.0"),
        (wsdl(ASK + '<x:simpleType name="T"><x:restriction base="t:T"/></x:simpleType>'), "XML"),
        (wsdl(ASK + "<x:redefine schemaLocation='a.wsdl'/>"), "redefine"),
        (wsdl(ASK + "<x:nonsense/>"), "XML Schema 1.0"),
        (
            wsdl(
                '<x:element name="Ask"><x:complexType><x:sequence><x:element name="a"/>'
                '<x:element name="b"/><x:element name="a"/></x:sequence></x:complexType>'
                '</x:element><x:element name="Told" type="x:int"/>'
            ),
            "each element once",
        ),
    ],
    ids=range(23),
)
def test_a_wsdl_that_cannot_be_used_is_told_why(root: bytes, rule: str) -> None:
    found = refused(root)
    assert rule in (found.rule or "")


def test_a_schema_of_another_namespace_than_it_is_imported_by_is_refused() -> None:
    other = '<x:import namespace="urn:o" schemaLocation="o.xsd"/>'
    assert "urn:p" in (
        refused(of_types(imports=other), {"o.xsd": numbers(target='targetNamespace="urn:p"')}).rule
        or ""
    )


def test_a_broken_file_is_told_by_its_name() -> None:
    files = dict(ochp_document().files)
    files["types/live-types.xsd"] = files["types/live-types.xsd"].replace(b"s:string", b"s:strung")
    with pytest.raises(BadDocument) as found:
        SoapInterface.read(Document(Kind.WSDL, "ochp.wsdl", files))
    assert "types/live-types.xsd" in (found.value.field or "")


def test_a_file_with_a_document_type_is_refused_wherever_it_stands() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY e "e">]>' + numbers()
    found = refused(of_types('<x:include schemaLocation="n.xsd"/>'), {"n.xsd": bomb})
    assert found.field == "n.xsd"


def test_a_pattern_made_to_run_for_ever_does_not() -> None:
    evil = (
        '<x:simpleType name="E"><x:restriction base="x:string"><x:pattern value="(a+)+b"/>'
        f'</x:restriction></x:simpleType><x:element name="Told" type="t:E" default="{"a" * 60}"/>'
        '<x:element name="Ask" type="t:E"/>'
    )
    began = time.perf_counter()
    interface = read(wsdl(evil))
    with pytest.raises(BadPayload):
        interface.request("Ask", "a" * 50_000)
    assert time.perf_counter() - began < 20


def test_types_nested_too_deep_are_refused() -> None:
    deep = "<x:sequence>" * 200 + "</x:sequence>" * 200
    refused(wsdl(f'<x:element name="Ask"><x:complexType>{deep}</x:complexType></x:element>{ASK}'))


# --- what else a WSDL may say ---


def test_an_operation_without_answer_is_one_way() -> None:
    interface = read(wsdl(ASK, answer=None))
    assert interface.operation("Ask").one_way
    assert interface.answer("Ask", b"") is None
    assert interface.envelope("Ask", None).endswith(b"<s:Body></s:Body></s:Envelope>")


def test_soap_12_is_spoken_where_the_binding_is_of_it() -> None:
    sent = read(wsdl(ASK, version="1.2")).request("Ask", 1)
    assert sent.content_type == 'application/soap+xml; charset=utf-8; action="urn:t/Ask"'
    assert "SOAPAction" not in sent.headers
    assert b"2003/05/soap-envelope" in sent.content


def test_documentation_is_kept() -> None:
    interface = read(wsdl(ASK))
    assert (interface.documentation, interface.name) == ("A small service.", "Small")
    assert interface.operation("Ask").documentation == "Asks."


def test_an_operation_may_take_nothing() -> None:
    interface = read(wsdl(ASK, request=""))
    content = interface.request("Ask", {}).content
    assert b"<s:Body></s:Body>" in content
    assert interface.question(content, '"urn:t/Ask"').payload == {}
