"""The hub's own services, called by a SOAP client that knows nothing but their WSDLs.

Each WSDL is fetched from the hub, a zeep client is made from it, and what it asks goes over a real
socket: the day of an operator and an EVSP as in test_authorisation and test_cdr, in SOAP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest
from zeep.exceptions import Fault

from kit.clock import utc_now
from tests.flows.soap_client import Soap, SoapClients, soap_clients
from tests.flows.world import CARD, EVSE, World, world
from tests.hub import Hub, Partner

PORTS = pytest.mark.parametrize("version", ["Soap", "Soap12"])


@dataclass(frozen=True, slots=True)
class Met:
    world: World
    clients: SoapClients

    async def soap(
        self, partner: Partner, service: str, version: str = "Soap", *, by_name: bool = False
    ) -> Soap:
        return await self.clients.of(partner, service, version, by_name=by_name)


@pytest.fixture
async def met(hub: Hub) -> AsyncIterator[Met]:
    async with soap_clients(hub) as clients:
        yield Met(await world(hub), clients)


@PORTS
async def test_a_charge_is_authorised_and_its_record_handed_in(met: Met, version: str) -> None:
    house = await met.soap(met.world.operator, "clearing-house", version)
    began = utc_now() - timedelta(hours=1)
    told = await house.asks(
        *("Authorisation", "Authorise"),
        evseId=EVSE,
        identification={"type": "rfid", "value": CARD},
        at=began,
    )
    assert (told["decision"], told["reason"], told["evsp"]) == ("accepted", None, "FR*XYZ")
    unknown = await house.asks(
        *("Authorisation", "Authorise"),
        evseId=EVSE,
        identification={"type": "rfid", "value": "04FFFFFFFFFFFF"},
    )
    assert (unknown["decision"], unknown["reason"]) == ("refused", "unknown-contract")

    record = {
        "cdrId": "C1",
        "evseId": EVSE,
        "authorisationId": told["authorisationId"],
        "start": began,
        "end": began + timedelta(minutes=30),
        "energyWh": 10_000,
    }
    for _ in range(2):
        # Told once more, it is known and booked once.
        [booked] = await house.asks(
            *("ServiceDetailRecord", "ForwardServiceDetailRecords"), serviceDetailRecord=[record]
        )
        assert (booked["state"], booked["price"]["inclVat"]) == ("accepted", Decimal("6.00"))
    listed = await met.world.evsp.get("/services/clearing-house/cdrs")
    assert [one["cdr_id"] for one in listed["cdrs"]] == ["C1"]


@PORTS
async def test_charge_points_are_told_searched_for_and_their_status_changes(
    met: Met, version: str
) -> None:
    operator = await met.soap(met.world.operator, "search-evse", version)
    report = await operator.asks(
        *("ProvideEVSEMasterData", "ProvideEVSEMasterData"),
        location=[
            {
                "countryCode": "FR",
                "partyId": "PD1",
                "id": "S9",
                "publish": True,
                "city": "Lyon",
                "country": "FRA",
                "coordinates": {"latitude": Decimal("45.76"), "longitude": Decimal("4.83")},
                "timeZone": "Europe/Paris",
                "lastUpdated": utc_now(),
                "evse": [
                    {
                        "evseId": "FR*PD1*E9",
                        "status": "AVAILABLE",
                        "connector": [
                            {"id": "1", "standard": "CHADEMO", "maxElectricPower": 50_000}
                        ],
                    },
                    {"evseId": "DE*XXX*E1", "status": "AVAILABLE"},
                ],
            }
        ],
    )
    assert (report["read"], report["created"], report["rejected"]) == (2, 1, 1)

    statuses = await operator.asks(
        *("ProvideEVSEStatusData", "ProvideEVSEStatusData"),
        evseStatus=[
            {"evseId": "FR*PD1*E9", "status": "CHARGING"},
            {"evseId": "DE*XXX*E1", "status": "CHARGING"},
        ],
    )
    assert [one["status"] for one in statuses] == ["CHARGING", None]

    evsp = await met.soap(met.world.evsp, "search-evse", version)
    found = await evsp.asks(
        *("SearchEVSE", "SearchEVSE"),
        near={"latitude": Decimal("45.7"), "longitude": Decimal("4.8")},
        radiusM=20_000,
        connector=["CHADEMO"],
        status=["CHARGING"],
    )
    [one] = found["evse"]
    assert (one["evseId"], one["site"]["city"], one["operator"]) == ("FR*PD1*E9", "Lyon", "FR*PD1")
    assert await evsp.asks("SearchEVSE", "GetEVSE", evseId="FRPD1E9") == one | {"distanceM": None}


@PORTS
async def test_a_contract_is_validated_by_name_and_secret(met: Met, version: str) -> None:
    evsp = await met.soap(met.world.evsp, "contract-validation", version, by_name=True)
    whole = {"requester": "FR*XYZ", "provider": "FR*PD1", "service": "roaming"}
    told = await evsp.asks("ContractValidation", "ValidateContract", **whole)
    assert told == {"valid": True, "contractId": met.world.agreement, "reason": None}


@PORTS
async def test_a_no_is_a_fault_that_names_the_field_and_the_rule(met: Met, version: str) -> None:
    evsp = await met.soap(met.world.evsp, "search-evse", version)
    with pytest.raises(Fault) as refused:
        await evsp.asks("SearchEVSE", "GetEVSE", evseId="DE*NOT*E1")
    told = {one.tag.rpartition("}")[2]: one.text for one in refused.value.detail[0]}
    assert (told["status"], told["field"], told["value"]) == ("404", "evse_id", "DE*NOT*E1")
    assert told["request_id"]
    # What this caller may not do is no other thing in SOAP.
    with pytest.raises(Fault) as refused:
        await evsp.asks(
            *("ProvideEVSEStatusData", "ProvideEVSEStatusData"),
            evseStatus=[{"evseId": EVSE, "status": "OUTOFORDER"}],
        )
    told = {one.tag.rpartition("}")[2]: one.text for one in refused.value.detail[0]}
    assert (told["status"], told["rule"]) == ("403", "one of: evse-operator")


async def test_a_stranger_without_a_contract_is_told_so_in_soap(met: Met) -> None:
    dso = await met.world.hub.partner("DE*NET", "dso")
    house = await met.soap(dso, "clearing-house")
    with pytest.raises(Fault) as refused:
        await house.asks(
            *("Authorisation", "Authorise"),
            evseId=EVSE,
            identification={"type": "rfid", "value": CARD},
        )
    told = {one.tag.rpartition("}")[2]: one.text for one in refused.value.detail[0]}
    assert (told["status"], told["value"]) == ("403", "no-contract")


async def test_a_wrong_secret_opens_nothing(met: Met) -> None:
    forger = Partner(met.world.evsp.party, met.world.evsp.client_id, "guessed", met.world.evsp.http)
    evsp = await met.soap(forger, "contract-validation", by_name=True)
    with pytest.raises(Fault) as refused:
        await evsp.asks(
            *("ContractValidation", "ValidateContract"),
            requester="FR*XYZ",
            provider="FR*PD1",
            service="roaming",
        )
    told = {one.tag.rpartition("}")[2]: one.text for one in refused.value.detail[0]}
    assert told["status"] == "401"
