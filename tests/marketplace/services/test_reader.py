"""Documents are read in a process of their own: few at once, not for ever, and no word is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bridge.document import BadDocument, Document, DocumentTooLarge, Kind
from marketplace.services.changes import with_interface
from marketplace.services.reader import DocumentReader, TooBusy, read
from marketplace.services.upload import ZIP, document_of
from tests.marketplace.services.test_model import SERVICE
from tests.marketplace.services.test_routes import WSDL
from tests.marketplace.services.test_upload import zipped

DATA = Path(__file__).parents[2] / "bridge/data"


def rest(*methods: str) -> Document:
    answers = '{"200": {"description": "OK"}}'
    told = ", ".join(
        f'"{method}": {{"operationId": "{method}It", "responses": {answers}}}' for method in methods
    )
    content = (
        '{"openapi": "3.1.0", "info": {"title": "x", "version": "1"},'
        f' "paths": {{"/x": {{{told}}}}}}}'
    )
    return Document(Kind.OPENAPI, "x.json", {"x.json": content.encode()})


def endless() -> Document:
    """A WSDL within the bounds whose types take a minute to be read."""
    members = "".join(f"<xsd:element name='e{n}' type='xsd:string'/>" for n in range(40))
    types = "".join(
        f"<xsd:complexType name='T{n}'><xsd:sequence>{members}</xsd:sequence></xsd:complexType>"
        for n in range(2_000)
    )
    schema = (
        "<xsd:schema xmlns:xsd='http://www.w3.org/2001/XMLSchema' targetNamespace='urn:park'"
        f" xmlns:p='urn:park'>{types}<xsd:element name='Find' type='p:T1'/>"
        "<xsd:element name='Found' type='p:T2'/></xsd:schema>"
    )
    files = {"park.wsdl": WSDL.encode(), "types/park.xsd": schema.encode()}
    return Document(Kind.WSDL, "park.wsdl", files)


async def test_what_no_contract_could_name_is_no_operation() -> None:
    found, _ = await DocumentReader().read(rest("get", "head", "options", "delete"))
    assert [(one.name, one.method, one.path) for one in found] == [
        ("getIt", "GET", "/x"),
        ("deleteIt", "DELETE", "/x"),
    ]


async def test_documents_as_partners_have_them_give_operations_that_the_catalogue_can_keep() -> (
    None
):
    reader = DocumentReader()
    folder = DATA / "ochp-1.4"
    files = [*folder.rglob("*.wsdl"), *folder.rglob("*.xsd")]
    archive = zipped([(str(one.relative_to(folder)), one.read_bytes()) for one in files])
    openapi = (DATA / "roaming-exchange.openapi.yaml").read_bytes()
    (of_soap, none), (of_rest, version) = await asyncio.gather(
        reader.read(document_of(archive, ZIP, None)),
        reader.read(document_of(openapi, "application/yaml", None)),
    )
    assert ("SetRoamingAuthorisationList", "POST") in {(one.name, one.method) for one in of_soap}
    assert {one.path for one in of_soap} == {f"/{one.name}" for one in of_soap}
    assert len(of_rest) > 10
    # What the document calls itself; a WSDL has no word for it.
    assert (none, version) == ("", "1.4.0")
    for found in (of_soap, of_rest):
        assert with_interface(SERVICE, b"digest", found).operations == tuple(found)


@pytest.mark.parametrize(
    "document",
    [
        Document(Kind.OPENAPI, "x.json", {"x.json": b"{}"}),
        Document(Kind.OPENAPI, "x.json", {"x.json": b"[" * 100_000}),
        Document(Kind.WSDL, "x.wsdl", {"x.wsdl": b"<definitions/>"}),
        Document(Kind.WSDL, "x.wsdl", {"x.wsdl": b"\xff"}),
        Document(Kind.WSDL, "park.wsdl", {"park.wsdl": WSDL.encode()}),
    ],
    ids=["no operation", "nested", "no service", "no XML", "not all of it"],
)
async def test_why_a_document_is_refused_comes_back_word_for_word(document: Document) -> None:
    with pytest.raises(BadDocument) as there:
        await DocumentReader().read(document)
    with pytest.raises(BadDocument) as here:
        read(document)
    told = [(one.value.detail, one.value.field, one.value.rule) for one in (there, here)]
    assert told[0] == told[1]
    assert told[0][2]


async def test_a_document_that_takes_too_much_is_given_up_and_others_are_read_beside_it() -> None:
    document = endless()
    reader = DocumentReader(cpu_s=2)
    slow = asyncio.create_task(reader.read(document))
    assert len((await reader.read(rest("get")))[0]) == 1
    with pytest.raises(BadDocument, match="takes too long"):
        await slow
    impatient = DocumentReader(within_s=0.05)
    with pytest.raises(BadDocument, match="takes too long"):
        await impatient.read(document)


async def test_so_many_at_once_and_who_finds_no_place_is_told() -> None:
    reader = DocumentReader(at_once=1, cpu_s=2, within_s=0.3)
    tasks = [asyncio.create_task(reader.read(endless())) for _ in range(3)]
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(one) for one in told} == {BadDocument, TooBusy}


async def test_a_caller_that_goes_away_leaves_its_place_to_the_next() -> None:
    reader = DocumentReader(at_once=1)
    task = asyncio.create_task(reader.read(endless()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len((await reader.read(rest("get")))[0]) == 1


async def test_a_document_that_takes_too_much_memory_is_refused() -> None:
    reader = DocumentReader(memory_bytes=128 * 1024 * 1024)
    assert len((await reader.read(rest("get")))[0]) == 1
    content = b'{"openapi": "3.1.0", "x-more": [' + b"{}," * 1_300_000 + b"{}]}"
    with pytest.raises(DocumentTooLarge, match="memory"):
        await reader.read(Document(Kind.OPENAPI, "x.json", {"x.json": content}))
