"""How a service tells how it is called: to partners, at the door's own addresses, with imports."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import zeep
from lxml import etree
from zeep.transports import Transport

from bridge.document import Document, Kind
from bridge.wsdl import SoapInterface
from gateway.calls.model import Speaks
from tests.gateway.bridging.fakes import BridgedHouse, document
from tests.gateway.calls.fakes import OPERATOR, STRANGER, Known
from tests.gateway.calls.servers import free_port, served

HUB = "https://hub.example/services/weather"


@pytest.fixture
def house() -> BridgedHouse:
    house = BridgedHouse()
    house.weather(f"http://127.0.0.1:{free_port()}")
    return house


@pytest.fixture
async def client(house: BridgedHouse) -> AsyncIterator[httpx.AsyncClient]:
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        client.headers["Authorization"] = "Bearer operator"
        yield client


async def test_a_wsdl_is_told_with_the_doors_address_and_its_imports_where_they_can_be_had(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    answer = await client.get("/services/weather/soap?wsdl")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
    root = etree.fromstring(answer.content)
    address = root.find(".//{http://schemas.xmlsoap.org/wsdl/soap/}address")
    assert address is not None
    assert address.get("location") == f"{HUB}/soap"
    include = root.find(".//{http://www.w3.org/2001/XMLSchema}include")
    assert include is not None
    imported = include.get("schemaLocation") or ""
    assert imported == f"{HUB}/soap?wsdl=types/kinds.xsd"
    parts = urlsplit(imported)
    kinds = await client.get(f"{parts.path}?{parts.query}")
    assert kinds.status_code == 200
    assert b"rain" in kinds.content


async def test_of_a_wsdl_nothing_is_told_of_where_its_provider_is(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    files = dict(document().files)
    more = (
        b'<a:EndpointReference xmlns:a="http://www.w3.org/2005/08/addressing"><a:Address>'
        b"https://provider.example/secret</a:Address></a:EndpointReference>"
        b'<h:address xmlns:h="http://schemas.xmlsoap.org/wsdl/http/" '
        b'location="https://provider.example/secret"/></port>'
    )
    files["weather.wsdl"] = files["weather.wsdl"].replace(b"</port>", more)
    house.library.documents[b"weather"] = Document(Kind.WSDL, "weather.wsdl", files)
    told = (await client.get("/services/weather/soap?wsdl")).text
    assert "provider.example" not in told
    assert told.count(f"{HUB}/soap<") == 1


async def test_zeep_makes_a_client_of_what_it_is_told(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    told = {}
    for query in ("?wsdl", "?wsdl=types/kinds.xsd"):
        told[f"{HUB}/soap{query}"] = (await client.get(f"/services/weather/soap{query}")).content

    class Told(Transport):
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]

        def load(self, url: str) -> bytes:
            return told[url]

    made: Any = zeep.Client(f"{HUB}/soap?wsdl", transport=Told())  # type: ignore[no-untyped-call]
    message = made.create_message(made.service, "Ask", place="Paris", kind="rain")
    interface = SoapInterface.read(document())
    asked = interface.question(etree.tostring(message))
    assert asked.payload == {"place": "Paris", "kind": "rain"}


async def test_what_speaks_soap_is_told_to_rest_callers_as_an_openapi_document(
    client: httpx.AsyncClient,
) -> None:
    told = (await client.get("/services/weather/openapi.json")).json()
    assert told["openapi"].startswith("3.1")
    assert told["servers"] == [{"url": HUB}]
    assert list(told["paths"]) == ["/Ask"]


OPENAPI = b"""
openapi: 3.0.3
info: {title: Weather, version: "1"}
servers: [{url: "https://provider.example/secret"}]
paths:
  /points/{id}:
    servers: [{url: "https://provider.example/secret/of/the/path"}]
    get:
      operationId: forecast
      servers: [{url: "https://provider.example/secret/of/the/operation"}]
      parameters: [{name: id, in: path, required: true, schema: {$ref: "types/all.yaml#/Id"}}]
      responses: {"200": {description: OK}}
components:
  schemas:
    Site: {type: object, properties: {servers: {type: array}, server: {type: string}}}
"""


async def test_an_openapi_document_is_told_with_the_doors_address_and_its_references(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    files = {"api.yaml": OPENAPI, "types/all.yaml": b"Id: {type: string}\n"}
    house.library.documents[b"rest"] = Document(Kind.OPENAPI, "api.yaml", files)
    house.weather("http://127.0.0.1:1", interface=b"rest", speaks=Speaks.REST, operations=None)
    answer = await client.get("/services/weather/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    told = answer.json()
    assert told["servers"] == [{"url": HUB}]
    assert "secret" not in answer.text
    shown = told["components"]["schemas"]["Site"]["properties"]
    assert shown == {"servers": {"type": "array"}, "server": {"type": "string"}}
    [parameter] = told["paths"]["/points/{id}"]["get"]["parameters"]
    reference = parameter["schema"]["$ref"]
    assert reference == f"{HUB}/openapi.json?file=types/all.yaml#/Id"
    more = await client.get("/services/weather/openapi.json?file=types/all.yaml")
    assert more.json() == {"Id": {"type": "string"}}


@pytest.mark.parametrize("path", ["soap?wsdl", "soap?wsdl=types/kinds.xsd", "openapi.json"])
async def test_a_provider_tells_partners_and_not_the_world(
    client: httpx.AsyncClient, path: str
) -> None:
    """A contract is not asked for: a partner reads what there is before it agrees on it."""
    url = f"/services/weather/{path}"
    for told in ("Bearer stranger", "Basic " + base64.b64encode(b"client-1:s3cret").decode()):
        answer = await client.get(url, headers={"Authorization": told})
        assert answer.status_code == 200, told
    for told in (
        "",
        "Bearer forged",
        "Basic " + base64.b64encode(b"client-1:x").decode(),
        "Basic é",
    ):
        headers = {b"Authorization": told.encode("latin-1")}
        answer = await client.get(url, headers=headers)
        assert answer.status_code == 401, told
        assert answer.json()["type"].endswith("/caller-unknown")


@pytest.mark.parametrize(
    "path",
    ["soap", "soap?wsdl=../../etc/passwd", "soap?wsdl=kinds.xsd", "openapi.json?file=weather.wsdl"],
)
async def test_what_is_no_file_of_the_interface_is_unknown(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(f"/services/weather/{path}")
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("/no-such-document")


async def test_a_draft_is_told_to_its_provider_alone(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    house.weather("http://127.0.0.1:1", published=False)
    assert (await client.get("/services/weather/soap?wsdl")).status_code == 404
    assert (await client.get("/services/nothing/soap?wsdl")).status_code == 404
    house.tokens.known["provider"] = type(house.tokens.known["operator"])(
        house.book.services["weather", 1].provider
    )
    answer = await client.get(
        "/services/weather/soap?wsdl", headers={"Authorization": "Bearer provider"}
    )
    assert answer.status_code == 200


async def test_what_is_in_test_is_told_to_those_whom_its_provider_has_named(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    """A client of the sandbox may try it under a contract; that alone shows it nothing."""
    testers = frozenset({OPERATOR})
    house.weather("http://127.0.0.1:1", published=False, in_test=True, testers=testers)
    house.tokens.known["sandbox of a stranger"] = Known(STRANGER, sandbox=True)
    for path in ("soap?wsdl", "openapi.json"):
        for token, status in (("operator", 200), ("stranger", 404), ("sandbox of a stranger", 404)):
            headers = {"Authorization": f"Bearer {token}"}
            answer = await client.get(f"/services/weather/{path}", headers=headers)
            assert (path, token, answer.status_code) == (path, token, status)


async def test_reading_a_description_is_no_call(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    await client.get("/services/weather/soap?wsdl")
    assert (house.meter.noted, house.book.asked) == ([], [])


class Own:
    """A face of the hub's own, as much of it as is told."""

    def wsdl(self, address: str) -> bytes:
        return f"<wsdl>{address}</wsdl>".encode()

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


async def test_the_hubs_own_interfaces_are_no_secret(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    house.faces["weather", 1] = Own()
    answer = await client.get("/services/weather/soap?WSDL", headers={"Authorization": ""})
    assert answer.text == f"<wsdl>{HUB}/soap</wsdl>"
