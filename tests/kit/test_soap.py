"""SOAP 1.1: an envelope out and in again; a fault; and nothing that a stranger's XML could do."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from kit import soap
from kit.soap import ENVELOPE, Fault, NotSoap

MOST = 10_000


def around(body: str, *, before: str = "") -> bytes:
    return (
        f'{before}<s:Envelope xmlns:s="{ENVELOPE}"><s:Header/><s:Body>{body}</s:Body></s:Envelope>'
    ).encode()


def fault(code: str, says: str = "no\n  such thing") -> bytes:
    return around(
        f"<s:Fault><faultcode>{code}</faultcode><faultstring>{says}</faultstring></s:Fault>"
    )


def test_what_is_put_into_an_envelope_comes_out_of_it() -> None:
    body = etree.Element("{urn:x}Told")
    etree.SubElement(body, "{urn:x}name").text = "Ünïcode & <markup>"
    found = soap.read(soap.envelope(body), most_bytes=MOST)
    assert isinstance(found, etree._Element)
    assert (found.tag, found.findtext("{urn:x}name")) == ("{urn:x}Told", "Ünïcode & <markup>")


@pytest.mark.parametrize(
    ("code", "client"),
    [
        ("s:Client", True),
        ("Client.Authentication", True),
        ("soap:Server", False),
        ("Clients", False),
        ("s:MustUnderstand", False),
        ("", False),
    ],
)
def test_a_fault_says_whose_it_is(code: str, client: bool) -> None:
    assert soap.read(fault(code), most_bytes=MOST) == Fault(client, "no such thing")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>Welcome to nginx!</html>",
        b"{}",
        b"\x00\xff",
        around(""),
        around("<a/><b/>"),
        f'<s:Envelope xmlns:s="{ENVELOPE}"/>'.encode(),
        around("<a/>").replace(ENVELOPE.encode(), b"http://www.w3.org/2003/05/soap-envelope"),
        around("<a/>", before='<!DOCTYPE x [<!ENTITY e "e">]>'),
        around("<a/>") + b" " * MOST,
    ],
)
def test_what_is_no_envelope_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(NotSoap):
        soap.read(content, most_bytes=MOST)


def test_no_file_of_ours_is_read_for_a_stranger(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    doctype = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret.as_uri()}">]>'
    with pytest.raises(NotSoap) as refused:
        soap.read(around("<a>&e;</a>", before=doctype), most_bytes=MOST)
    assert "canary" not in str(refused.value)


def test_entities_that_multiply_are_not_followed() -> None:
    layers = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    doctype = f'<!DOCTYPE x [<!ENTITY e0 "ha">{layers}]>'
    with pytest.raises(NotSoap):
        soap.read(around("<a>&e11;</a>", before=doctype), most_bytes=MOST)
