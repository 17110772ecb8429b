"""SOAP to a service that is called in REST: a partner's, and one of the hub's own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from aiohttp import web
from starlette.types import Receive, Scope, Send

from bridge.document import Document, Kind
from bridge.openapi import RestInterface
from bridge.soap_envelope import SOAP_11, SOAP_12, SoapFault
from bridge.soap_face import SoapFace
from bridge.wsdl import SoapInterface
from gateway.calls.model import ContentMap, Grant, Service, Speaks
from kit.http import CALLER
from tests.gateway.bridging.fakes import BridgedHouse, saying
from tests.gateway.bridging.test_passed_on import TYPES, login, post, problem_of
from tests.gateway.calls.fakes import OPERATOR, PROVIDER
from tests.gateway.calls.servers import free_port, partner, served

OPENAPI = b"""
openapi: 3.0.3
info: {title: Weather, version: "1"}
paths:
  /points/{id}/hours:
    get:
      operationId: hours
      parameters:
        - {name: id, in: path, required: true, schema: {type: string}}
        - {name: kind, in: query, schema: {type: string, enum: [sun, rain]}}
        - {name: X-Version, in: header, schema: {type: string}}
        - {name: X-Caller-Party, in: header, schema: {type: string}}
        - {name: X-JWS-Signature, in: header, schema: {type: string}}
      responses:
        "200":
          description: OK
          content: {application/json: {schema: {$ref: "#/components/schemas/Hours"}}}
  /points:
    post:
      operationId: addPoint
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: "#/components/schemas/Point"}}}
      responses: {"201": {description: Created}}
components:
  schemas:
    Hours: {type: object, required: [hours], properties: {hours: {type: integer}}}
    Point: {type: object, required: [name], properties: {name: {type: string}}}
"""
DOCUMENT = Document(Kind.OPENAPI, "api.yaml", {"api.yaml": OPENAPI})


def face() -> SoapFace:
    namespace = "urn:gridroam:weather:1"
    return SoapFace.of(RestInterface.read(DOCUMENT), target_namespace=namespace)


WSDL = face().wsdl("https://hub.example/services/weather/soap")
SOAP = SoapInterface.read(Document(Kind.WSDL, "a", {"a": WSDL}))


@pytest.fixture
def house() -> BridgedHouse:
    house = BridgedHouse()
    house.library.documents[b"rest"] = DOCUMENT
    return house


def offer(house: BridgedHouse, endpoint: str, **changes: Any) -> None:
    described = {"interface": b"rest", "speaks": Speaks.REST, "operations": None, **changes}
    house.weather(endpoint, **described)


@pytest.fixture
async def client(house: BridgedHouse) -> AsyncIterator[httpx.AsyncClient]:
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        yield client
    await house.upstream.close()


def asking(operation: str, payload: object, version: str = "1.1") -> bytes:
    content = SOAP.request(operation, payload).content
    return content if version == "1.1" else content.replace(SOAP_11.encode(), SOAP_12.encode())


HOURS = {"body": {"hours": 7}}
PARIS = {"id": "FR*Paris 1", "kind": "sun"}


def telling(
    body: Any, status: int = 200, content_type: str = "application/json"
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    return saying(json.dumps(body).encode(), status, content_type)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_an_envelope_becomes_a_request_and_the_answer_an_envelope(
    house: BridgedHouse, client: httpx.AsyncClient, version: str
) -> None:
    async with partner(telling({"hours": 7})) as provider:
        offer(house, f"{provider.address}/api")
        answer = await post(client, asking("hours", PARIS, version), version)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith(TYPES[version].partition(";")[0])
    assert answer.headers["X-Contract-Id"] == "C-1"
    assert SOAP.answer("hours", answer.content) == HOURS
    [request] = provider.requests
    assert (request.method, request.path_qs) == ("GET", "/api/points/FR%2AParis%201/hours?kind=sun")
    assert provider.bodies == [b""]
    assert request.headers["Accept"] == "application/json"
    assert request.headers["X-Caller-Party"] == OPERATOR
    assert "SOAPAction" not in request.headers
    assert "Content-Type" not in request.headers
    assert house.book.asked == [(OPERATOR, "weather", 1, "hours")]
    assert [(one.operation, one.status) for one in house.meter.noted] == [("hours", 200)]


async def test_parameters_in_headers_arrive_but_for_those_that_are_the_hubs_own(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    said = {"X-Version": "7", "X-Caller-Party": "DE*BAD", "X-JWS-Signature": "a..b"}
    for named in ({}, {b"x-version": "X-Version"}):
        async with partner(telling({"hours": 7})) as provider:
            offer(house, provider.address, headers=named)
            answer = await post(client, asking("hours", {**PARIS, **said}))
        assert answer.status_code == 200, answer.text
        told = provider.requests[0].headers
        assert told.getall("X-Version") == ["7"]
        assert told.getall("X-Caller-Party") == [OPERATOR]
        assert "X-JWS-Signature" not in told


async def test_a_body_becomes_json_and_an_empty_answer_an_empty_envelope(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async with partner(saying(b"", 201)) as provider:
        offer(house, provider.address)
        answer = await post(client, asking("addPoint", {"body": {"name": "Paris"}}))
    assert (answer.status_code, SOAP.answer("addPoint", answer.content)) == (200, {})
    assert [json.loads(body) for body in provider.bodies] == [{"name": "Paris"}]
    assert provider.requests[0].headers["Content-Type"] == "application/json"


async def test_a_login_in_the_envelope_is_as_good_as_a_token(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async with partner(telling({"hours": 7})) as provider:
        offer(house, provider.address)
        answer = await post(client, _logged_in(asking("hours", PARIS)), token=None)
        assert answer.status_code == 200, answer.text
        assert "s3cret" not in str(provider.requests[0].headers)


def _logged_in(content: bytes) -> bytes:
    """The envelope with the header of `login`, whose prefix `e` is declared where it stands."""
    header = login().replace("<e:Header>", f'<e:Header xmlns:e="{SOAP_11}">')
    return content.replace(b"<s:Body>", header.encode() + b"<s:Body>")


@pytest.mark.parametrize(
    ("operation", "payload", "problem"),
    [
        ("hours", {**PARIS, "kind": "snow"}, "bad-payload"),
        ("hours", {"id": "../../secrets"}, "bad-path"),
        ("hours", {"id": "a/b"}, "bad-path"),
        ("hours", {"id": ".."}, "bad-payload"),
    ],
    ids=["no such value", "a way up", "a slash", "a dot segment"],
)
async def test_what_the_document_does_not_allow_never_reaches_the_provider(
    house: BridgedHouse,
    client: httpx.AsyncClient,
    operation: str,
    payload: dict[str, str],
    problem: str,
) -> None:
    content = asking(operation, PARIS)
    for name, value in payload.items():
        content = content.replace(PARIS[name].encode(), value.encode())
    async with partner(telling({"hours": 7})) as provider:
        offer(house, provider.address)
        assert problem_of(await post(client, content)) == ("Client", problem)
        assert (provider.requests, house.meter.noted) == ([], [])


@pytest.mark.parametrize(("status", "client_at_fault"), [(404, True), (429, True), (503, False)])
async def test_a_providers_problem_is_a_fault(
    house: BridgedHouse, client: httpx.AsyncClient, status: int, client_at_fault: bool
) -> None:
    told = {"type": "https://p.example/gone", "title": "Gone", "detail": "no such point", "at": 7}
    async with partner(telling(told, status, "application/problem+json")) as provider:
        offer(house, provider.address)
        answer = await post(client, asking("hours", PARIS))
    found = SOAP.answer("hours", answer.content)
    assert isinstance(found, SoapFault)
    assert (answer.status_code, found.client, found.reason) == (
        500,
        client_at_fault,
        "no such point",
    )
    assert "https://p.example/gone" in str(found.detail)
    # Whoever is to blame, SOAP 1.1 says 500; figures and promises of service go by what was meant.
    assert [record.status for record in house.meter.noted] == [status]


FOREIGN = {
    "html": saying(b"<html>Welcome to nginx!</html>", 200, "text/html"),
    "bad json": saying(b'{"hours":', 200, "application/json"),
    "what the document does not say": telling({"hours": "many"}),
    "a redirect": saying(b"", 302, "text/html"),
}


@pytest.mark.parametrize("behaviour", FOREIGN.values(), ids=FOREIGN.keys())
async def test_what_is_no_answer_by_the_document_is_told_to_be_none(
    house: BridgedHouse, client: httpx.AsyncClient, behaviour: Any
) -> None:
    async with partner(behaviour) as provider:
        offer(house, provider.address)
        answer = await post(client, asking("hours", PARIS))
    assert answer.status_code == 500
    assert b"Server" in answer.content


async def test_a_provider_that_is_away_is_a_fault(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    offer(house, f"http://127.0.0.1:{free_port()}")
    assert problem_of(await post(client, asking("hours", PARIS))) == (
        "Server",
        "provider-unreachable",
    )


async def test_content_maps_stand_next_to_the_provider(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    """The document tells callers of the interface; the maps lead from there to the server."""
    maps = {
        "hours": ContentMap(None, "{hours: sunshine}"),
        "addPoint": ContentMap("{label: name}", None),
    }
    async with partner(telling({"sunshine": 7})) as provider:
        offer(house, provider.address, maps=maps)
        answer = await post(client, asking("hours", PARIS))
        assert SOAP.answer("hours", answer.content) == HOURS
        await post(client, asking("addPoint", {"body": {"name": "Paris"}}))
    assert json.loads(provider.bodies[1]) == {"label": "Paris"}


async def test_a_document_without_a_shape_in_soap_is_for_rest_callers_alone(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    odd = OPENAPI.replace(b"type: integer", b"type: weird")
    house.library.documents[b"rest"] = Document(Kind.OPENAPI, "a.yaml", {"a.yaml": odd})
    async with partner(telling({"hours": 7})) as provider:
        offer(house, provider.address)
        assert problem_of(await post(client, asking("hours", PARIS))) == (
            "Server",
            "interface-unreadable",
        )
        client.headers["Authorization"] = "Bearer operator"
        assert (await client.get("/services/weather/points/1/hours")).json() == {"hours": 7}
        assert (await client.get("/services/weather/openapi.json")).status_code == 200


class Own:
    """A service of the hub's own: an application of this process."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        self.scopes.append(scope)
        self.bodies.append(message["body"])
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"hours": 7}', "more_body": False})


async def test_a_service_of_the_hubs_own_is_asked_in_its_own_process(house: BridgedHouse) -> None:
    own = Own()
    house.local["weather"] = own
    house.operations["weather"] = [("GET", "/points/{id}/hours", "hours")]
    house.faces["weather", 1] = face()
    house.book.add(Service("weather", 1, PROVIDER))
    house.book.answers[OPERATOR, "weather"] = Grant("C-1")
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        answer = await post(client, asking("hours", PARIS))
        assert answer.status_code == 200, answer.text
        assert SOAP.answer("hours", answer.content) == HOURS
        assert problem_of(await post(client, asking("hours", PARIS), token="stranger")) == (
            "Client",
            "not-covered",
        )
    [scope] = own.scopes
    assert (scope["method"], scope["path"], scope["query_string"]) == (
        "GET",
        "/points/FR*Paris 1/hours",
        b"kind=sun",
    )
    assert scope[CALLER].party == OPERATOR
    assert b"content-type" not in dict(scope["headers"])
    assert own.bodies == [b""]
    assert [one.operation for one in house.meter.noted] == ["hours"]


async def test_a_service_of_the_hub_that_this_process_does_not_run_is_unavailable(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    house.faces["weather", 1] = face()
    house.book.add(Service("weather", 1, PROVIDER))
    house.book.answers[OPERATOR, "weather"] = Grant("C-1")
    assert problem_of(await post(client, asking("hours", PARIS))) == ("Server", "not-served-here")
