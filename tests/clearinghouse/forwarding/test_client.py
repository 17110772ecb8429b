"""Sending to an EVSP: over HTTP, by SOAP as its tools read our WSDL, and as a file."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zeep
from aiohttp import web
from lxml import etree

import clearinghouse.forwarding
from bridge.soap_envelope import SOAP_11
from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.forwarding import wire
from clearinghouse.forwarding.client import HttpSender, SftpSender, SoapSender
from clearinghouse.forwarding.model import Delivery, Place, Reply, SftpPlace, Verdict, verdict
from clearinghouse.forwarding.store import SqlOutbox
from kit import sftp
from kit.database import Database
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import EVSP, NOW, intake_of, keep_customer, many
from tests.clearinghouse.forwarding.fakes import Address, EvspServer

WSDL_FILE = Path(clearinghouse.forwarding.__file__).parent / (
    "service-detail-record-forwarding.wsdl"
)
NOTHING = Delivery("FRXYZ-1", PartyId("FR*XYZ"), Place(0, 0), Place(1, 1), [])


@pytest.mark.parametrize("allow_loopback", [False, True])
async def test_a_name_is_sent_to_only_where_it_may_lead(allow_loopback: bool) -> None:
    evsp = EvspServer()
    await evsp.start()
    sender = HttpSender.open(allow_loopback=allow_loopback)
    try:
        named = Address(evsp.url.replace("127.0.0.1", "localhost"))
        reply = await sender.send(named, NOTHING)
    finally:
        await sender.close()
        await evsp.stop()
    assert reply.status == (200 if allow_loopback else None)
    assert len(evsp.calls) == (1 if allow_loopback else 0)


@pytest.fixture
async def delivery(database: Database) -> Delivery:
    await keep_customer(database)
    submissions = many(3, signed_meter_values=[{"encoded": "<OCMF|{}>"}])
    await cdr_flows.receive(submissions, intake=intake_of(database))
    found = await SqlOutbox(database).next(EVSP, holder="one", most=9, now=NOW)
    assert isinstance(found, Delivery)
    return found


@dataclass(slots=True)
class SoapEvsp:
    """An EVSP whose server is made from our WSDL by zeep: it reads and answers by its types."""

    model: Any = field(default_factory=partial(zeep.Client, str(WSDL_FILE)))
    came: list[Any] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answer: tuple[int, bytes] | None = None
    url: str = ""

    async def take(self, request: web.BaseRequest) -> web.StreamResponse:
        content = await request.content.read()
        self.bodies.append(content)
        self.headers.append(dict(request.headers))
        body = etree.fromstring(content).find(f"{{{SOAP_11}}}Body")
        assert body is not None
        [held] = body
        STRICT.assertValid(held)
        element = self.model.get_element(held.tag)
        self.came.append(element.parse(held, self.model.wsdl.types))
        status, said = self.answer or (200, self.acknowledgement(accepted=True))
        return web.Response(status=status, body=said, content_type="text/xml")

    def acknowledgement(self, **told: Any) -> bytes:
        element = self.model.get_element(f"{{{wire.NAMESPACE}}}{wire.OPERATION}Response")
        whole = etree.Element(f"{{{SOAP_11}}}Envelope")
        element.render(etree.SubElement(whole, f"{{{SOAP_11}}}Body"), element(acknowledgement=told))
        return bytes(etree.tostring(whole))


def schema() -> etree.XMLSchema:
    found = etree.parse(WSDL_FILE).find(".//{http://www.w3.org/2001/XMLSchema}schema")
    assert found is not None
    # Written out and read again, it carries the namespaces that it stood in.
    return etree.XMLSchema(etree.fromstring(etree.tostring(found)))


STRICT = schema()


@asynccontextmanager
async def soap_evsp() -> AsyncIterator[SoapEvsp]:
    evsp = SoapEvsp()
    runner = web.ServerRunner(web.Server(evsp.take), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    evsp.url = f"http://127.0.0.1:{runner.addresses[0][1]}/sdr"
    try:
        yield evsp
    finally:
        await runner.cleanup()


async def by_soap(evsp: SoapEvsp, delivery: Delivery) -> Reply:
    http = HttpSender.open()
    try:
        return await SoapSender(http).send(Address(evsp.url, {"X-Key": "k"}), delivery)
    finally:
        await http.close()


async def test_records_by_soap_are_read_by_an_evsp_that_knows_the_wsdl_alone(
    delivery: Delivery,
) -> None:
    async with soap_evsp() as evsp:
        evsp.answer = (200, evsp.acknowledgement(accepted=True, received=3, digest="ab"))
        reply = await by_soap(evsp, delivery)
    assert verdict(reply) is Verdict.DELIVERED
    [told] = evsp.came
    assert told.deliveryId == delivery.delivery_id
    records = told.serviceDetailRecord
    assert [one.cdrId for one in records] == [cdr.submission.cdr_id for cdr in delivery.cdrs]
    cdr, record = delivery.cdrs[0], records[0]
    assert (record.start, record.end) == (cdr.submission.start, cdr.submission.end)
    assert (record.energyWh, record.state) == (10_000, "accepted")
    assert (record.price.currency, str(record.price.exclVat)) == ("EUR", "5.00")
    assert "<OCMF|{}>" in record.signedMeterValues
    assert record.credit in (None, False)
    [headers] = evsp.headers
    assert (headers["SOAPAction"], headers["X-Key"]) == (wire.SOAP_ACTION, "k")
    assert headers["Idempotency-Key"] == delivery.delivery_id
    assert reply.proof is not None
    assert reply.proof.body_sha256 == hashlib.sha256(evsp.bodies[0]).digest()
    assert reply.proof.receipt == {"received": 3, "digest": "ab"}


def fault(code: str) -> bytes:
    return (
        f'<s:Envelope xmlns:s="{SOAP_11}"><s:Body><s:Fault><faultcode>s:{code}</faultcode>'
        "<faultstring>what is this?</faultstring></s:Fault></s:Body></s:Envelope>"
    ).encode()


@pytest.mark.parametrize(
    ("status", "said", "means", "says"),
    [
        (500, fault("Client"), Verdict.REFUSED, "what is this?"),
        (500, fault("Server"), Verdict.RETRY, "what is this?"),
        (200, fault("Server"), Verdict.RETRY, "what is this?"),
        (200, b"<html>Welcome to nginx!</html>", Verdict.RETRY, "no SOAP 1.1 or 1.2 envelope"),
        (200, b"", Verdict.RETRY, "no XML"),
        (400, b"no", Verdict.RETRY, "no XML"),
        (200, fault("Client").replace(b"Fault>", b"Thanks>"), Verdict.RETRY, "no acknowledgement"),
        (200, b" " * 100_000, Verdict.RETRY, "no XML"),
    ],
)
async def test_only_an_acknowledgement_is_a_yes_and_only_a_fault_of_ours_a_no(
    delivery: Delivery, status: int, said: bytes, means: Verdict, says: str
) -> None:
    async with soap_evsp() as evsp:
        evsp.answer = (status, said)
        reply = await by_soap(evsp, delivery)
    assert (verdict(reply), reply.status) == (means, status)
    assert says in reply.says


async def test_an_acknowledgement_that_says_no_or_comes_with_an_error_is_no_yes(
    delivery: Delivery,
) -> None:
    async with soap_evsp() as evsp:
        evsp.answer = (200, evsp.acknowledgement(accepted=False))
        assert verdict(await by_soap(evsp, delivery)) is Verdict.RETRY
        evsp.answer = (503, evsp.acknowledgement(accepted=True))
        assert verdict(await by_soap(evsp, delivery)) is Verdict.RETRY


KEY = sftp.new_key("gridroam")
PLACE = SftpPlace("127.0.0.1", 22, "grid", "in", "ssh-ed25519 AAAA")


def programme(folder: Path, monkeypatch: pytest.MonkeyPatch, script: Sequence[str]) -> None:
    (folder / "sftp").write_text("\n".join(["#!/bin/sh", *script]) + "\n")
    (folder / "sftp").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


async def test_a_file_holds_a_record_a_line_and_its_digest_is_the_proof(
    delivery: Delivery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programme(tmp_path, monkeypatch, [f'cat > "{tmp_path}/batch"', "exit 0"])
    reply = await SftpSender(allow_loopback=True).send(PLACE, KEY.private, delivery)
    assert verdict(reply) is Verdict.DELIVERED
    body = wire.lines_body(delivery)
    assert body.count(b"\n") == 3
    assert reply.proof is not None
    assert (reply.proof.body_sha256, reply.proof.host) == (
        hashlib.sha256(body).digest(),
        "127.0.0.1",
    )
    assert f"in/{delivery.delivery_id}.ndjson" in (tmp_path / "batch").read_text()


@pytest.mark.parametrize("code", [1, 255])
async def test_nothing_that_a_host_of_files_does_buries_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    programme(tmp_path, monkeypatch, ["cat >/dev/null", "echo refused >&2", f"exit {code}"])
    reply = await SftpSender(allow_loopback=True).send(PLACE, KEY.private, NOTHING)
    assert (verdict(reply), reply.says) == (Verdict.RETRY, "refused")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.1.2.3", "::1"])
async def test_no_file_is_sent_into_the_hubs_own_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    programme(tmp_path, monkeypatch, [f'touch "{tmp_path}/called"'])
    place = SftpPlace(host, 22, "grid", "in", "ssh-ed25519 AAAA")
    reply = await SftpSender().send(place, KEY.private, NOTHING)
    assert verdict(reply) is Verdict.RETRY
    assert "own network" in reply.says
    assert not (tmp_path / "called").exists()


async def test_a_hub_without_the_programme_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    reply = await SftpSender(allow_loopback=True).send(PLACE, KEY.private, NOTHING)
    assert (verdict(reply), reply.status) == (Verdict.RETRY, None)
    assert "openssh-client" in reply.says
