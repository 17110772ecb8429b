"""Envelopes: what is read of them, what is refused, and that nothing but a login is changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some
from lxml import etree

from bridge.soap_envelope import ENVELOPES, SOAP_11, BadEnvelope, content_type
from gateway.bridging import envelope

WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
XML = {b"content-type": b"text/xml; charset=utf-8"}
BODY = '<soap:Body><a:Ask xmlns:a="urn:a">&#65;<![CDATA[<x>]]></a:Ask></soap:Body>'
LOGIN = (
    f'<w:Security xmlns:w="{WSSE}" soap:mustUnderstand="1" note="a > b"><w:UsernameToken>'
    "<w:Username>me</w:Username></w:UsernameToken></w:Security>"
)


def soap(header: str = "", version: str = "1.1", body: str = BODY, before: str = "") -> bytes:
    space = ENVELOPES[version]
    return f'{before}<soap:Envelope xmlns:soap="{space}">{header}{body}</soap:Envelope>'.encode()


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_an_envelope_tells_its_version_what_it_asks_and_its_login(version: str) -> None:
    headers = {b"content-type": content_type(version, "").encode(), b"soapaction": b'"urn:do"'}
    found = envelope.read(soap(f"<soap:Header>{LOGIN}</soap:Header>", version), headers)
    assert found.version == version
    assert found.tag == "{urn:a}Ask"
    assert found.action == "urn:do"
    assert found.secured
    assert not envelope.read(soap(version=version), headers).secured


def test_the_action_of_soap_1_2_is_told_in_its_content_type() -> None:
    headers = {b"content-type": b'application/soap+xml; charset=utf-8; action="urn:do"'}
    assert envelope.read(soap(version="1.2"), headers).action == "urn:do"


BILLION = (
    '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)
FILE = '<!DOCTYPE e [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
HOSTILE = {
    "no xml": b"{}",
    "nothing": b"",
    "a bomb": soap(body="<soap:Body><a>&c;</a></soap:Body>", before=BILLION),
    "an external entity": soap(body="<soap:Body><a>&x;</a></soap:Body>", before=FILE),
    "an external dtd": soap(before='<!DOCTYPE e SYSTEM "http://127.0.0.1/x.dtd">'),
    "a dtd in utf-16": soap(before=FILE).decode().encode("utf-16"),
    "deeper than anybody needs": soap(body=f"<soap:Body>{'<a>' * 1000}{'</a>' * 1000}</soap:Body>"),
    "cut off": soap()[:-5],
    "another encoding": soap(before='<?xml version="1.0" encoding="ISO-8859-1"?>'),
    "no encoding at all": soap(before='<?xml version="1.0" encoding="martian"?>'),
    "bytes that are no utf-8": soap(body="<soap:Body><a>\xe9</a></soap:Body>")
    .decode()
    .encode("latin-1"),
    "utf-16 without a mark": soap().decode().encode("utf-16-le"),
    "another document": b"<html/>",
    "no body": soap(body=""),
    "a header behind the body": soap(BODY, body=f"<soap:Header>{LOGIN}</soap:Header>"),
    "two headers": soap(f"<soap:Header/><soap:Header>{LOGIN}</soap:Header>"),
    "an envelope of neither version": soap().replace(b"schemas.xmlsoap.org", b"example.org"),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_honest_envelope_is_refused(content: bytes) -> None:
    with pytest.raises(BadEnvelope) as refused:
        envelope.read(content, XML)
    assert refused.value.rule


@pytest.mark.parametrize(
    "announced",
    ["", "application/json", "multipart/related; boundary=x", "text/xml; charset=iso-8859-1"],
)
def test_what_is_not_announced_as_an_envelope_is_refused(announced: str) -> None:
    with pytest.raises(BadEnvelope):
        envelope.read(soap(), {b"content-type": announced.encode()})


def test_only_the_login_is_taken_out_and_every_other_byte_stays() -> None:
    before = f"<?xml version='1.0'?>\n<!-- a > b --><soap:Envelope xmlns:soap='{SOAP_11}'\n>"
    rest = '<soap:Header ><t:Trace  xmlns:t="urn:t" note=\'">"\'/>\n'
    after = f"</soap:Header>{BODY}</soap:Envelope>\n"
    content = f"{before}{rest}{LOGIN}{after}".encode()
    assert envelope.without_security(content) == f"{before}{rest}{after}".encode()
    empty = f'<w:Security xmlns:w="{WSSE}" note="/>"/>'
    assert envelope.without_security(f"{before}{rest}{empty}{after}".encode()) == (
        f"{before}{rest}{after}".encode()
    )


def test_every_login_is_taken_out() -> None:
    content = soap(f"<soap:Header>{LOGIN}<t:Trace xmlns:t='urn:t'/>{LOGIN}</soap:Header>")
    found = envelope.without_security(content)
    assert b"Security" not in found
    assert b"Trace" in found


HEADERS = {
    "none": "",
    "an empty one": '<soap:Header note="/>" />',
    "one": "<soap:Header><t:Trace xmlns:t='urn:t'/></soap:Header>",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_login_is_put_in_and_taken_out_again(header: str, encoding: str) -> None:
    content = soap(header, before='<?xml version="1.0"?>').decode().encode(encoding)
    login = LOGIN.replace("soap:", "").encode()
    put_in = envelope.with_security(content, login)
    found = envelope.read(put_in, XML)
    assert found.secured
    assert found.tag == "{urn:a}Ask"
    assert (b"Trace" in put_in) is ("Trace" in header)
    assert not envelope.read(envelope.without_security(put_in), XML).secured


@given(some.text(alphabet="<>/\"'&= abSecurity:\n\u00e9\u4e2d", max_size=60))
def test_what_the_header_holds_stays_as_it_is(said: str) -> None:
    noise = etree.Element("noise", said=said)
    noise.text = said
    told = etree.tostring(noise, encoding="unicode")
    header = f"<soap:Header>{told}{LOGIN}{told}</soap:Header>"
    without = f"<soap:Header>{told}{told}</soap:Header>"
    assert envelope.without_security(soap(header)) == soap(without)


@pytest.mark.parametrize("size", [1, 7, 1_000])
@pytest.mark.parametrize(
    ("body", "known"),
    [
        ("<e:Fault/>", True),
        ("<!-- no --><e:Fault><faultcode/></e:Fault>", True),
        ("<n:Fault xmlns:n='urn:n'/>", False),
        ("<n:Told xmlns:n='urn:n'><e:Fault/></n:Told>", False),
        ("", False),
    ],
)
def test_whether_an_answer_is_a_fault_is_seen_at_its_beginning(
    body: str, known: bool, size: int
) -> None:
    space = ENVELOPES["1.1"]
    header = "<e:Header><n:Body xmlns:n='urn:n'><e:Fault/></n:Body></e:Header>"
    content = f"<e:Envelope xmlns:e='{space}'>{header}<e:Body>{body}</e:Body></e:Envelope> no"
    begun = envelope.Beginning()
    for at in range(0, len(content), size):
        begun.read(content[at : at + size].encode())
    assert begun.is_fault is known


@pytest.mark.parametrize(
    ("version", "code", "blames"),
    [
        ("1.1", "Client", True),
        ("1.1", "Client.Authentication", True),
        ("1.1", "Server", False),
        ("1.2", "Sender", True),
        ("1.2", "Receiver", False),
    ],
)
def test_whom_a_fault_blames_is_seen_at_its_beginning(
    version: str, code: str, blames: bool
) -> None:
    inner = f"<faultcode>\ne:{code} </faultcode><faultstring>no</faultstring>"
    if version == "1.2":
        inner = f"<e:Code><e:Value>e:{code}</e:Value></e:Code>"
    body = f"<soap:Body><e:Fault xmlns:e='{ENVELOPES[version]}'>{inner}</e:Fault></soap:Body>"
    for size in (1, 1_000):
        content, begun = soap(version=version, body=body), envelope.Beginning()
        for at in range(0, len(content), size):
            begun.read(content[at : at + size])
        assert (begun.is_fault, begun.blames_caller) == (True, blames)


@pytest.mark.parametrize(
    "content",
    [
        b"no XML",
        b"<!DOCTYPE e><e/>",
        b"<Envelope><Body><Fault/></Body></Envelope>",
    ],
)
def test_what_cannot_be_read_is_taken_for_no_fault(content: bytes) -> None:
    begun = envelope.Beginning()
    begun.read(content)
    begun.read(b"more")
    assert not begun.is_fault
