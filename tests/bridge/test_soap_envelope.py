"""SOAP's own part of a message: envelopes taken apart, and faults in either version's words."""

from __future__ import annotations

import pytest

from bridge import soap_envelope
from bridge.soap_envelope import (
    SOAP_11,
    SOAP_12,
    BadEnvelope,
    SoapFault,
    VersionMismatch,
    only,
    read_fault,
    taken_apart,
)

MOST = 10_000


def around(body: str, *, namespace: str = SOAP_11) -> bytes:
    return (
        f'<s:Envelope xmlns:s="{namespace}"><s:Header/><s:Body>{body}</s:Body></s:Envelope>'
    ).encode()


def fault(code: str, says: str = "no\n  such thing") -> bytes:
    return around(
        f"<s:Fault><faultcode>{code}</faultcode><faultstring>{says}</faultstring></s:Fault>"
    )


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_what_is_put_into_an_envelope_comes_out_of_it(version: str) -> None:
    content = soap_envelope.written(
        version, ' xmlns:n0="urn:x"', "<n0:h>1</n0:h>", "<n0:b>Ünïcode &amp; &lt;b&gt;</n0:b>"
    )
    parts = taken_apart(content, most_bytes=MOST)
    assert parts.version == version
    assert [one.tag for one in parts.headers] == ["{urn:x}h"]
    assert [(one.tag, one.text) for one in parts.body] == [("{urn:x}b", "Ünïcode & <b>")]


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
    told, details = read_fault(*only(fault(code), most_bytes=MOST))
    assert (told.client, told.reason, details) == (client, "no such thing", ())


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_fault_is_read_as_it_was_written(version: str) -> None:
    told = SoapFault("Client", "no <such> thing", "Unknown", "urn:hub")
    content = soap_envelope.fault(version, told, "<d>1</d>")
    found, details = read_fault(*only(content, most_bytes=MOST))
    assert found == told
    assert [(one.tag, one.text) for one in details] == [("d", "1")]


def test_what_a_reason_may_not_hold_in_xml_is_left_out_of_it() -> None:
    content = soap_envelope.fault("1.1", SoapFault("Server", "bad \x00\ud800 value", "a b/c"))
    told, _ = read_fault(*only(content, most_bytes=MOST))
    assert (told.reason, told.subcode) == ("bad value", "abc")


def test_a_code_that_soap_12_does_not_know_is_the_receivers() -> None:
    content = soap_envelope.fault("1.2", SoapFault("Odd", "x"))
    assert b"<s:Value>s:Receiver</s:Value>" in content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>Welcome to nginx!</html>",
        b"{}",
        around("").replace(b"Body", b"Bodies"),
        around("<a/>").replace(b"<s:Envelope", b"<!DOCTYPE x><s:Envelope"),
        around("<a/>") + b" " * MOST,
    ],
)
def test_what_is_no_envelope_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(BadEnvelope) as refused:
        taken_apart(content, most_bytes=MOST)
    assert refused.value.rule
    assert refused.value.code == "Client"


def test_an_envelope_of_another_soap_is_a_mismatch_of_versions() -> None:
    with pytest.raises(VersionMismatch) as refused:
        taken_apart(around("<a/>", namespace="urn:soap:3"), most_bytes=MOST)
    assert refused.value.code == "VersionMismatch"


@pytest.mark.parametrize("body", ["", "<a/><b/>"])
def test_a_body_of_one_element_is_asked_for_where_one_is_needed(body: str) -> None:
    with pytest.raises(BadEnvelope):
        only(around(body), most_bytes=MOST)


def test_the_version_is_told_by_the_content_type() -> None:
    for version, namespace in (("1.1", SOAP_11), ("1.2", SOAP_12)):
        assert soap_envelope.version_of(soap_envelope.content_type(version, "urn:a")) == version
        assert taken_apart(around("", namespace=namespace)).version == version
    assert 'action="urn:a"' in soap_envelope.content_type("1.2", "urn:a")


def test_a_detail_that_nobody_declared_is_told_as_well_as_json_can() -> None:
    content = around('<d xmlns="urn:d"><a n="1">x</a><b/><b>y</b><c>p<q/>r</c></d>')
    node, _ = only(content, most_bytes=MOST)
    assert soap_envelope.untyped_json((node,)) == {
        "d": {"a": {"value": "x", "@n": "1"}, "b": ["", "y"], "c": '<c xmlns="urn:d">p<q/>r</c>'}
    }


def test_however_many_elements_have_one_name_each_is_added_once() -> None:
    """Copied for each, 400,000 of them (3 MiB) kept a processor for more than a minute."""
    found: dict[str, object] = {}
    soap_envelope.add_to(found, "y", 0)
    assert found == {"y": 0}
    soap_envelope.add_to(found, "y", 1)
    first = found["y"]
    soap_envelope.add_to(found, "y", 2)
    assert found == {"y": [0, 1, 2]}
    assert found["y"] is first
