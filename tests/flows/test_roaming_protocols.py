"""Two roaming protocols of others come to the marketplace as they are, and are called from the
other side: OCHP's SOAP by JSON, and a platform's REST, of OICP's size and habits, by SOAP.

All of it by the public API alone: register, upload, publish, offer, accept, call; with faults and
all. Where OICP's own documents are found beside the checkout, they go the same way.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema_rs
import pytest
from zeep.exceptions import Fault

from tests.bridge.interfaces import LARGE, OURS
from tests.bridge.wsdls import OCHP
from tests.flows.ochp_server import OchpServer, Refuses
from tests.flows.soap_client import soap_clients
from tests.hub import URL, Hub, Partner, Server, answering, server, talking_nonsense

TOKEN = {"instance": "04A1B2C3D4E5F6", "tokenType": "rfid", "@representation": "plain"}
AUTHORISED = {
    "EmtId": {"instance": "04A1B2C3D4E5F6", "tokenType": "rfid", "representation": "plain"},
    "contractId": "FR-XYZ-123456789-2",
    "expiryDate": {"DateTime": "2027-01-01T00:00:00Z"},
}
RECORD: dict[str, Any] = {
    "CdrId": "CDR1",
    "evseId": "FR*PD1*E1",
    "emtId": TOKEN,
    "contractId": "FR-XYZ-123456789-2",
    "status": {"CdrStatusType": "new"},
    "startDateTime": {"LocalDateTime": "2026-11-01T10:00:00+01:00"},
    "endDateTime": {"LocalDateTime": "2026-11-01T11:00:00+01:00"},
    "chargePointAddress": {
        "address": "Rue de la Paix",
        "city": "Paris",
        "zipCode": "75002",
        "country": "FRA",
    },
    "chargePointType": "AC",
    "connectorType": {
        "connectorStandard": {"ConnectorStandard": "IEC_62196_T2"},
        "connectorFormat": {"ConnectorFormat": "Socket"},
    },
    "ratings": {"maximumPower": 22.0},
    "chargingPeriods": [
        {
            "startDateTime": {"LocalDateTime": "2026-11-01T10:00:00+01:00"},
            "endDateTime": {"LocalDateTime": "2026-11-01T11:00:00+01:00"},
            "billingItem": {"BillingItemType": "energy"},
            "billingValue": 12.5,
            "itemPrice": 0.5,
            "periodCost": 6.25,
        }
    ],
    "totalCost": 6.25,
    "currency": "EUR",
}


def zipped() -> bytes:
    """The WSDL with all that it imports, as a provider sends it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(OCHP.rglob("*")):
            if path.suffix in (".wsdl", ".xsd"):
                archive.write(path, path.relative_to(OCHP))
    return content.getvalue()


async def registered(
    provider: Partner, at: Server, name: str, protocol: str, document: bytes, kind: str
) -> None:
    await provider.post(
        "/marketplace/services",
        {
            "name": name,
            "category": "value-added",
            "description": "A roaming protocol of its own",
            "protocol": protocol,
            "endpoint": f"{at.url}/api",
        },
    )
    told = await provider.call(
        *("PUT", f"/marketplace/services/{name}/v1/interface", document),
        headers={"Content-Type": kind},
    )
    assert told.status == 200, told.body
    await provider.post(f"/marketplace/services/{name}/v1/publish")


async def agreed(provider: Partner, requester: Partner, name: str) -> str:
    offering = await provider.post("/marketplace/offerings", {"service": name})
    return await requester.accepts(str(offering["offering_id"]))


@asynccontextmanager
async def opened(at: Server) -> AsyncIterator[Server]:
    await at.open()
    try:
        yield at
    finally:
        await at.close()


def says(**more: Any) -> dict[str, Any]:
    return {"result": {"resultCode": {"resultCode": "ok"}, "resultDescription": "fine"}, **more}


async def test_json_is_spoken_to_a_clearing_house_of_ochp(hub: Hub) -> None:
    def one(asked: dict[str, Any]) -> dict[str, Any]:
        if asked["emtId"]["instance"] != TOKEN["instance"]:
            raise Refuses("Client", "no such token")
        return says(roamingAuthorisationInfo=AUTHORISED)

    def records(asked: dict[str, Any]) -> dict[str, Any]:
        if len(asked["cdrInfoArray"]) > 1:
            raise Refuses("Server", "out of order")
        return says(implausibleCdrsArray=["CDR1"])

    ochp = OchpServer({"GetSingleRoamingAuthorisation": one, "AddCDRs": records})
    provider = await hub.partner("DE*OCH", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    async with opened(ochp.server) as at:
        await registered(provider, at, "ochp", "soap", zipped(), "application/zip")
        refused = await requester.call(
            "POST", "/services/ochp/GetSingleRoamingAuthorisation", {"emtId": TOKEN}
        )
        assert (refused.status, refused.body["value"]) == (403, "no-contract")
        contract = await agreed(provider, requester, "ochp")

        # What there is to read for somebody who has never seen a WSDL.
        document = await requester.get("/services/ochp/openapi.json")
        assert len(document["paths"]) == 17
        answer = await requester.call(
            "POST", "/services/ochp/GetSingleRoamingAuthorisation", {"emtId": TOKEN}
        )
        assert answer.status == 200, answer.body
        assert answer.headers["x-contract-id"] == contract
        assert answer.body["roamingAuthorisationInfo"]["contractId"] == "FR-XYZ-123456789-2"
        schema = {
            "$ref": "#/components/schemas/GetSingleRoamingAuthorisationResponse",
            "components": document["components"],
        }
        jsonschema_rs.validator_for(schema).validate(answer.body)

        answer = await requester.call("POST", "/services/ochp/AddCDRs", {"cdrInfoArray": [RECORD]})
        assert (answer.status, answer.body["implausibleCdrsArray"]) == (200, ["CDR1"])
        name, asked = ochp.came[-1]
        assert name == "AddCDRs"
        [record] = asked["cdrInfoArray"]
        assert record["chargingPeriods"][0]["periodCost"] == 6.25
        assert record["emtId"]["representation"] == "plain"

        # Faults of the provider's, and what never reaches it.
        other = TOKEN | {"instance": "04FF"}
        answer = await requester.call(
            "POST", "/services/ochp/GetSingleRoamingAuthorisation", {"emtId": other}
        )
        assert (answer.status, answer.body["fault"]["reason"]) == (422, "no such token")
        answer = await requester.call(
            "POST", "/services/ochp/AddCDRs", {"cdrInfoArray": [RECORD, RECORD]}
        )
        assert (answer.status, answer.body["fault"]["code"]) == (502, "Server")
        before = len(ochp.came)
        wrong = RECORD | {"evseId": "nowhere"}
        answer = await requester.call("POST", "/services/ochp/AddCDRs", {"cdrInfoArray": [wrong]})
        assert (answer.status, answer.body["field"]) == (422, "$.cdrInfoArray[0].evseId")
        answer = await requester.call("POST", "/services/ochp/AddCDR", {})
        assert answer.status == 404
        assert len(ochp.came) == before


@pytest.mark.parametrize("path", ["/services/ochp/soap?wsdl", "/services/ochp/openapi.json"])
async def test_what_a_provider_offers_is_told_to_partners_alone(hub: Hub, path: str) -> None:
    provider = await hub.partner("DE*OCH", "service-provider")
    async with server() as at:
        await registered(provider, at, "ochp", "soap", zipped(), "application/zip")
    assert (await hub.http.get(path)).status_code == 401
    told = await hub.http.get(path, headers={"Authorization": f"Bearer {provider.token}"})
    assert told.status_code == 200
    # Whoever follows an address in it comes back to the door.
    where = re.findall(r'address location="([^"]*)"', told.text)
    if "json" in path:
        where = [one["url"] for one in json.loads(told.text)["servers"]]
    assert where
    assert all(one.startswith(f"{URL}/services/ochp") for one in where)


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a REST protocol: what is asked, by which path, and what is answered."""

    document: Path
    operation: str
    parameters: dict[str, str]
    path: str
    asked: dict[str, Any]
    answered: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.document.stem}:{self.operation}"


SESSION = "f98efba4-02d8-4fa0-b810-9a9d50d2c527"
AUTHORISE = Message(
    OURS,
    "AuthoriseStart_V1.3",
    {"operatorID": "FR*PD1"},
    "/charging/v13/operators/FR*PD1/authorise/start",
    {
        "SessionID": SESSION,
        "OperatorID": "FR*PD1",
        "PointID": "FR*PD1*E1",
        "Identification": {
            "RFIDIdentification": {
                "UID": "04A1B2C3D4E5F6",
                "RFID": "mifareDes",
                "ExpiryDate": "2027-01-01T00:00:00Z",
            }
        },
    },
    {
        "SessionID": SESSION,
        "ProviderID": "FR-XYZ",
        "AuthorisationStatus": "Authorised",
        "StatusCode": {"Code": "000", "Description": "Success"},
        "StopIdentifications": [{"MifareIdentification": {"UID": "04A1B2C3D4E5F6"}}],
    },
)


def oicp() -> list[Message]:
    """What OICP's own authors give as examples, where their documents are found."""
    found = []
    for document in LARGE:
        examples = document.parent / "examples"
        for number, message, operation, path in (
            (
                5,
                "AuthorizeStart",
                "eRoamingAuthorizeStart_v2.1",
                "charging/v21/operators/{}/authorize/start",
            ),
            (
                3,
                "PushEVSEStatus",
                "eRoamingPushEvseStatus_V2.1",
                "evsepush/v21/operators/{}/status-records",
            ),
            (
                13,
                "ChargeDetailRecord",
                "eRoamingChargeDetailRecord_V2.2",
                "cdrmgmt/v22/operators/{}/charge-detail-record",
            ),
        ):
            request = examples / f"CPO_{number:02}_eRoaming{message}__Request_Code.json"
            response = examples / f"CPO_{number + 1:02}_eRoaming{message}__Response_Code.json"
            if "cpo" in document.name and request.exists():
                found.append(
                    Message(
                        document,
                        operation,
                        {"operatorID": "DE*ABC"},
                        "/" + path.format("DE*ABC"),
                        json.loads(request.read_text()),
                        json.loads(response.read_text()),
                    )
                )
    return found


def alike(read: Any, told: Any) -> bool:
    """zeep reads in Python's own values, and puts None for what is not there."""
    if isinstance(told, dict):
        rest = {key for key, value in read.items() if value not in (None, [])} - told.keys()
        return not rest and all(alike(read[key], value) for key, value in told.items())
    if isinstance(told, list):
        return len(read) == len(told) and all(map(alike, read, told))
    if isinstance(read, datetime):
        return read == datetime.fromisoformat(told)
    return bool(read == (Decimal(str(told)) if isinstance(read, Decimal) else told))


@pytest.mark.parametrize("version", ["Soap11", "Soap12"])
@pytest.mark.parametrize("message", [AUTHORISE, *oicp()], ids=str)
async def test_soap_is_spoken_to_a_platform_of_rest(
    hub: Hub, message: Message, version: str
) -> None:
    provider = await hub.partner("DE*PLT", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    platform = Server(answering(message.answered))
    async with opened(platform) as at, soap_clients(hub) as clients:
        await registered(
            *(provider, at, "platform", "rest"), message.document.read_bytes(), "application/yaml"
        )
        soap = await clients.of(requester, "platform", version)
        [service] = soap.client.wsdl.services

        async def asks() -> Any:
            asked = {**message.parameters, "body": message.asked}
            return await soap.asks(service, message.operation, **asked)

        with pytest.raises(Fault) as refused:
            await asks()
        assert "no-contract" in refused.value.message
        assert platform.came == []

        await agreed(provider, requester, "platform")
        assert alike(await asks(), message.answered)
        [came] = platform.came
        assert (came.method, unquote(came.path)) == ("POST", "/api" + message.path)
        assert came.json == message.asked
        assert came.headers["X-Caller-Party"] == "FR*PD1"

        # A no of the platform's is a fault with what it said; nonsense is the platform's own fault.
        platform.behaviour = answering({"title": "Not today", "detail": "closed"}, status=400)
        with pytest.raises(Fault) as refused:
            await asks()
        assert "closed" in refused.value.message
        platform.behaviour = talking_nonsense
        with pytest.raises(Fault) as refused:
            await asks()
        assert (await requester.call("GET", "/services/search-evse/evses")).status == 200


async def test_what_the_document_does_not_allow_never_reaches_the_platform(hub: Hub) -> None:
    provider = await hub.partner("DE*PLT", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    platform = Server(answering(AUTHORISE.answered))
    async with opened(platform) as at, soap_clients(hub) as clients:
        await registered(*(provider, at, "platform", "rest"), OURS.read_bytes(), "application/yaml")
        await agreed(provider, requester, "platform")
        soap = await clients.of(requester, "platform", "Soap11")
        [service] = soap.client.wsdl.services
        card = {"RFIDIdentification": {"UID": "04A1B2C3D4E5F6", "RFID": "tape"}}
        wrong = AUTHORISE.asked | {"Identification": card}
        with pytest.raises(Fault) as refused:
            await soap.asks(service, AUTHORISE.operation, operatorID="FR*PD1", body=wrong)
        told = {one.tag.rpartition("}")[2]: one.text for one in refused.value.detail[0]}
        assert told["field"] == "$.body.Identification.RFIDIdentification.RFID"
        assert platform.came == []
