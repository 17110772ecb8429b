"""What goes over the wire loses nothing, and what comes back is believed only where it is plain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from lxml import etree

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.cdrs.wire import CdrShown
from clearinghouse.forwarding import wire
from clearinghouse.forwarding.model import Delivery
from clearinghouse.forwarding.store import SqlOutbox
from kit.database import Database
from tests.clearinghouse.cdrs.fakes import EVSP, NOW, intake_of, keep_customer, many

NAMES = {"sdr": wire.NAMESPACE}


@pytest.fixture
async def delivery(database: Database) -> Delivery:
    await keep_customer(database)
    await cdr_flows.receive(many(2), intake=intake_of(database))
    found = await SqlOutbox(database).next(EVSP, holder="one", most=9, now=NOW)
    assert isinstance(found, Delivery)
    return found


def told_by_soap(record: etree._Element) -> set[str]:
    """The names in JSON of what a record's element tells of."""
    elements = {etree.QName(one).localname: one for one in record}
    more = {one.get("name") for one in record.findall("sdr:extension", NAMES)}
    return {wire._FIELDS[tag] for tag in elements if tag != "extension"} | {
        str(name) for name in more
    }


def test_soap_tells_all_that_json_tells(delivery: Delivery) -> None:
    shown = msgspec.json.decode(wire.json_body(delivery))["cdrs"][0]
    records = etree.fromstring(wire.soap_body(delivery)).findall(
        ".//sdr:serviceDetailRecord", NAMES
    )
    assert len(records) == len(delivery.cdrs)
    assert told_by_soap(records[0]) == {
        name for name, value in shown.items() if value not in (None, [])
    }


def test_a_field_that_the_schema_does_not_know_goes_along_as_it_is(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {tag: name for tag, name in wire._FIELDS.items() if name != "energy_wh"}
    monkeypatch.setattr(wire, "_FIELDS", known)
    record = etree.fromstring(wire.soap_body(delivery)).find(".//sdr:serviceDetailRecord", NAMES)
    assert record is not None
    more = {one.get("name"): one.text for one in record.findall("sdr:extension", NAMES)}
    assert more["energy_wh"] == "10000"


def test_every_place_of_the_schema_is_for_a_field_of_the_record() -> None:
    fields = {one.name for one in msgspec.structs.fields(CdrShown)}
    assert fields >= set(wire._FIELDS.values())


def test_what_xml_cannot_say_does_not_break_a_delivery(delivery: Delivery) -> None:
    [first, *_] = delivery.cdrs
    odd = replace(first, submission=replace(first.submission, authorisation_id="a\x1b\ufffe<&"))
    content = wire.soap_body(replace(delivery, cdrs=[odd]))
    found = etree.fromstring(content).findtext(".//sdr:authorisationId", namespaces=NAMES)
    assert found == "a\ufffd\ufffd<&"


@pytest.mark.parametrize(
    ("said", "receipt"),
    [
        (b'{"received": 3, "digest": "ab", "secret": "x"}', {"received": 3, "digest": "ab"}),
        (b'{"jws": "a..b"}', {"jws": "a..b"}),
        (b"eyJhbGciOiJFZERTQSJ9..c2lnbmF0dXJl", {"jws": "eyJhbGciOiJFZERTQSJ9..c2lnbmF0dXJl"}),
        (b'{"received": "3"}', None),
        (b'{"digest": "a\\u0000b"}', None),
        (b'{"thanks": true}', None),
        (b"[]", None),
        (b"[" * 5_000, None),
        (b"", None),
        (b"<html>", None),
        (b"\xff\xfe", None),
        (b'{"digest": "' + b"x" * 9_000 + b'"}', None),
    ],
)
def test_a_receipt_is_a_count_a_digest_or_a_signature(said: bytes, receipt: Any) -> None:
    assert wire.receipt_in(said) == receipt
