"""Partners who do not speak alike: JSON to a SOAP provider, SOAP to a REST provider, SOAP to SOAP.

zeep stands on the other side each time, which knows nothing of ours: as the provider of OCHP 1.4 it
reads what the hub writes, and as a client it is made from the WSDL that the hub tells.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from httpx import ASGITransport
from lxml import etree
from requests import Session
from zeep import Client
from zeep.exceptions import Fault
from zeep.helpers import serialize_object
from zeep.transports import Transport
from zeep.wsse.username import UsernameToken

from tests.bridge.wsdls import OCHP, ochp_document
from tests.gateway.calls.servers import served
from tests.hub import Hub, Partner, Server, answering, server

WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
TOKEN = {"emtId": {"@representation": "plain", "instance": "04AB", "tokenType": "rfid"}}
ASK = "GetSingleRoamingAuthorisation"


@dataclass(frozen=True, slots=True)
class Market:
    hub: Hub
    provider: Partner
    requester: Partner

    async def registers(self, at: Server, protocol: str, document: dict[str, Any]) -> None:
        """The provider describes, publishes and offers a service, and the requester agrees."""
        await self.provider.post(
            "/marketplace/services",
            {
                "name": "partner",
                "category": "value-added",
                "description": "A partner's own",
                "endpoint": f"{at.url}/own",
                "protocol": protocol,
            },
        )
        told = await self.provider.call(
            "PUT",
            f"{SERVICE}/interface",
            json.dumps(document).encode(),
            headers={"Content-Type": "application/vnd.gridroam.interface+json"},
        )
        assert told.status == 200, told.body
        await self.provider.post(f"{SERVICE}/publish")

    async def agrees(self, **terms: Any) -> str:
        offering = await self.provider.post(
            "/marketplace/offerings", {"service": "partner", "terms": terms}
        )
        return await self.requester.accepts(str(offering["offering_id"]))


SERVICE = "/marketplace/services/partner/v1"
DOOR = "/services/partner"


@pytest.fixture
async def market(hub: Hub) -> Market:
    return Market(
        hub,
        await hub.partner("NL*CHS", "service-provider"),
        await hub.partner("FR*PD1", "evse-operator"),
    )


def files_of(kind: str, root: str, files: dict[str, bytes]) -> dict[str, Any]:
    told = {name: content.decode() for name, content in files.items()}
    return {"kind": kind, "root": root, "files": told}


OCHP_FILES = files_of("wsdl", "ochp.wsdl", dict(ochp_document().files))


@pytest.fixture(scope="module")
def ochp() -> Iterator[Any]:
    """zeep's own reading of OCHP 1.4."""
    client: Any = Client(str(OCHP / "ochp.wsdl"))  # type: ignore[no-untyped-call]
    with closing(client.transport.session):
        yield client


Behaves = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def clearing_house(ochp: Any, provider: Server, asked: list[Any]) -> Behaves:
    """An OCHP provider whose reader and writer is zeep."""
    operation = ochp.service._binding.get(ASK)

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        envelope = etree.fromstring(provider.came[-1].content)
        read = operation.input.deserialize(envelope)
        asked.append(serialize_object(read, dict))  # type: ignore[no-untyped-call]
        told = operation.output.serialize(
            result={"resultCode": {"resultCode": "ok"}, "resultDescription": "found"}
        )
        return web.Response(body=etree.tostring(told.content), content_type="text/xml")

    return answer


def saying(content: bytes, status: int) -> Behaves:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=content, status=status, content_type="text/xml")

    return answer


FAULT = (
    b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><e:Fault>'
    b"<faultcode>e:Client</faultcode><faultstring>no such token</faultstring>"
    b"<detail><token>04AB</token></detail></e:Fault></e:Body></e:Envelope>"
)


async def test_json_reaches_a_clearing_house_of_ochp_and_its_answer_comes_back_as_json(
    market: Market, ochp: Any
) -> None:
    asked: list[Any] = []
    async with server() as provider:
        provider.behaviour = clearing_house(ochp, provider, asked)
        await market.registers(provider, "soap", OCHP_FILES)
        contract = await market.agrees(operations=[ASK])
        answer = await market.requester.call("POST", f"{DOOR}/{ASK}", TOKEN)
        assert answer.status == 200, answer.body
        assert answer.body["result"] == {
            "resultCode": {"resultCode": "ok"},
            "resultDescription": "found",
        }
        assert answer.headers["x-contract-id"] == contract
        [came] = provider.came
        assert (came.method, came.path) == ("POST", "/own")
        assert came.headers["SOAPAction"] == f'"http://ochp.eu/1.4/{ASK}"'
        assert market.requester.token not in str(came.headers)
        [read] = asked
        assert read["instance"] == "04AB"
        # What the contract does not cover stays here, by the WSDL's own names.
        other = await market.requester.call("POST", f"{DOOR}/GetStatus", {})
        assert (other.status, other.body["reason"]) == (403, "operation-not-covered")
        # So does what the WSDL does not allow.
        wrong = {"emtId": {**TOKEN["emtId"], "tokenType": "key"}}
        bad = await market.requester.call("POST", f"{DOOR}/{ASK}", wrong)
        assert (bad.status, bad.problem) == (422, "bad-payload")
        assert (bad.body["field"], bad.body["value"]) == ("$.emtId.tokenType", "key")
        assert bad.body["rule"] == "one of: rfid, remote, 15118"
        assert len(provider.came) == 1


async def test_what_a_soap_provider_says_no_to_is_a_problem(market: Market) -> None:
    async with server(saying(FAULT, 500)) as provider:
        await market.registers(provider, "soap", OCHP_FILES)
        await market.agrees()
        answer = await market.requester.call("POST", f"{DOOR}/{ASK}", TOKEN)
        assert (answer.status, answer.problem) == (422, "provider-fault")
        assert answer.body["fault"] == {
            "code": "Client",
            "reason": "no such token",
            "detail": {"token": "04AB"},
        }
        provider.behaviour = saying(b"<html>Welcome to nginx!</html>", 200)
        answer = await market.requester.call("POST", f"{DOOR}/{ASK}", TOKEN)
        assert (answer.status, answer.problem) == (502, "provider-broken")


async def test_a_provider_is_shown_the_hubs_login_by_digest(market: Market) -> None:
    async with server(saying(FAULT, 500)) as provider:
        await market.registers(provider, "soap", OCHP_FILES)
        await market.provider.put(
            f"{SERVICE}/login", {"username": "hub", "password": "s3cret", "kind": "digest"}
        )
        await market.agrees()
        await market.requester.call("POST", f"{DOOR}/{ASK}", TOKEN)
        [came] = provider.came
        security = etree.fromstring(came.content).find(f".//{{{WSSE}}}UsernameToken")
        assert security is not None
        told = {etree.QName(one).localname: one.text or "" for one in security}
        secret = base64.b64decode(told["Nonce"]) + told["Created"].encode() + b"s3cret"
        assert told["Password"] == base64.b64encode(hashlib.sha1(secret).digest()).decode()
        assert told["Username"] == "hub"


POINTS = {
    "openapi": "3.0.3",
    "info": {"title": "Points", "version": "1"},
    "paths": {
        "/points/{id}": {
            "get": {
                "operationId": "showPoint",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
                ],
                "responses": {
                    "200": {
                        "description": "OK",
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "required": ["power_w"],
                                    "properties": {"power_w": {"type": "integer"}},
                                }
                            }
                        },
                    }
                },
            }
        }
    },
}
POINTS_FILES = files_of("openapi", "points.json", {"points.json": json.dumps(POINTS).encode()})


@dataclass(frozen=True, slots=True)
class Soap:
    """A zeep client of one partner's, over a real socket."""

    client: Any

    async def asks(self, operation: str, **payload: Any) -> Any:
        answer = await asyncio.to_thread(getattr(self.client.service, operation), **payload)
        return serialize_object(answer, dict)  # type: ignore[no-untyped-call]


@asynccontextmanager
async def soap_client(market: Market, partner: Partner, *, by_name: bool) -> AsyncIterator[Soap]:
    """Made from what `?wsdl` tells. `by_name`: tools fetch it by HTTP Basic, and each envelope
    holds the client's name and secret; else all goes by access token.
    """
    transport = market.hub.http._transport
    assert isinstance(transport, ASGITransport)
    async with served(transport.app) as url:
        with closing(Session()) as session:
            wsse = None
            if by_name:
                session.auth = (partner.client_id, partner.client_secret)
                wsse = UsernameToken(  # type: ignore[no-untyped-call]
                    partner.client_id, partner.client_secret
                )
            else:
                session.headers["Authorization"] = f"Bearer {partner.token}"
            carrying = _Here(session, url)
            made: Callable[..., Any] = Client
            client = await asyncio.to_thread(
                made, f"{url}{DOOR}/soap?wsdl", transport=carrying, wsse=wsse
            )
            session.auth = None
            yield Soap(client)


class _Here(Transport):
    """The hub tells the address that its partners know; here it listens at another."""

    def __init__(self, session: Session, url: str) -> None:
        super().__init__(session=session)  # type: ignore[no-untyped-call]
        self._url = url

    def load(self, url: str) -> Any:
        return super().load(self._here(url))  # type: ignore[no-untyped-call]

    def post(self, address: str, message: Any, headers: Any) -> Any:
        return super().post(self._here(address), message, headers)  # type: ignore[no-untyped-call]

    def _here(self, url: str) -> str:
        return self._url + url[url.index("/services/") :]


@pytest.mark.parametrize("by_name", [False, True], ids=["token", "name and secret"])
async def test_a_soap_client_reaches_a_rest_provider(market: Market, by_name: bool) -> None:
    async with server(answering({"power_w": 22_000})) as provider:
        await market.registers(provider, "rest", POINTS_FILES)
        contract = await market.agrees(operations=["GET /points/*"], quota={"calls_per_day": 2})
        async with soap_client(market, market.requester, by_name=by_name) as soap:
            found = await soap.asks("showPoint", id="FR*PD1*E1")
            assert found["power_w"] == 22_000
            [came] = provider.came
            assert (came.method, came.path) == ("GET", "/own/points/FR%2APD1%2AE1")
            assert came.headers["X-Contract-Id"] == contract
            assert market.requester.client_secret not in str((came.headers, came.content))
            # What the provider refuses is a fault, and counts.
            problem = {"type": "about:blank", "title": "Gone", "detail": "no such point"}
            provider.behaviour = answering(problem, 404)
            with pytest.raises(Fault, match="no such point"):
                await soap.asks("showPoint", id="FR*PD1*E2")
            # And so is what the hub does.
            with pytest.raises(Fault) as refused:
                await soap.asks("showPoint", id="FR*PD1*E1")
            detail = etree.tostring(refused.value.detail, encoding="unicode")
            assert refused.value.code.endswith("Client")
            assert "quota-exceeded" in detail
            assert len(provider.came) == 2


async def test_a_partner_without_a_contract_may_read_and_not_call(market: Market) -> None:
    async with server(answering({"power_w": 22_000})) as provider:
        await market.registers(provider, "rest", POINTS_FILES)
        await market.agrees()
        stranger = await market.hub.partner("DE*STR", "evsp")
        async with soap_client(market, stranger, by_name=True) as soap:
            with pytest.raises(Fault) as refused:
                await soap.asks("showPoint", id="7")
        assert "no-contract" in etree.tostring(refused.value.detail, encoding="unicode")
        assert provider.came == []


@pytest.mark.parametrize("by_name", [False, True], ids=["token", "name and secret"])
async def test_a_soap_client_reaches_a_soap_provider_which_never_sees_its_login(
    market: Market, ochp: Any, by_name: bool
) -> None:
    asked: list[Any] = []
    async with server() as provider:
        provider.behaviour = clearing_house(ochp, provider, asked)
        await market.registers(provider, "soap", OCHP_FILES)
        await market.agrees(operations=[ASK])
        async with soap_client(market, market.requester, by_name=by_name) as soap:
            told = await soap.asks(
                ASK, emtId={"instance": "04AB", "tokenType": "rfid", "representation": "plain"}
            )
            assert told["result"]["resultDescription"] == "found"
            provider.behaviour = saying(FAULT, 500)
            with pytest.raises(Fault, match="no such token"):
                await soap.asks(
                    ASK, emtId={"instance": "04AB", "tokenType": "rfid", "representation": "plain"}
                )
        assert [one["instance"] for one in asked] == ["04AB"]
        for came in provider.came:
            assert market.requester.client_secret.encode() not in came.content
            assert b"Security" not in came.content


async def test_a_new_interface_is_used_at_once_and_so_is_a_map(market: Market) -> None:
    async with server(answering({"watts": 7})) as provider:
        await market.registers(provider, "rest", POINTS_FILES)
        await market.agrees()
        path = f"{DOOR}/points/7"
        assert await market.requester.get(path) == {"watts": 7}
        handling = {"maps": {"showPoint": {"answer": "{power_w: watts}"}}}
        await market.provider.put(f"{SERVICE}/handling", handling)
        assert await market.requester.get(path) == {"power_w": 7}
        told = await market.requester.get(f"{DOOR}/openapi.json")
        assert told["servers"] == [{"url": f"http://hub.test{DOOR}"}]
        more = json.loads(json.dumps(POINTS))
        more["paths"]["/points"] = {
            "get": {"operationId": "listPoints", "responses": {"200": {"description": "OK"}}}
        }
        changed = files_of("openapi", "points.json", {"points.json": json.dumps(more).encode()})
        answer = await market.provider.call(
            "PUT",
            f"{SERVICE}/interface",
            json.dumps(changed).encode(),
            headers={"Content-Type": "application/vnd.gridroam.interface+json"},
        )
        assert answer.status == 200, answer.body
        told = await market.requester.get(f"{DOOR}/openapi.json")
        assert "/points" in told["paths"]
