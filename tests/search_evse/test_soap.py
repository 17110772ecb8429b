"""What a SOAP caller asks of Search EVSE is what a REST caller would; zeep is the caller."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest

from bridge.written_face import WrittenFace
from search_evse import soap
from tests.bridge.zeep_client import ZeepClient

AT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def face() -> WrittenFace:
    return soap.face()


@pytest.fixture(scope="module")
def zeep(face: WrittenFace) -> Iterator[ZeepClient]:
    client = ZeepClient(face.wsdl("http://hub.test/services/search-evse/soap"))
    yield client
    client.close()


def search(zeep: ZeepClient, **payload: Any) -> bytes:
    return zeep.asks("SearchEVSE", "SearchEVSESoap", "SearchEVSE", **payload)


def test_what_is_searched_for_is_told_in_the_query(face: WrittenFace, zeep: ZeepClient) -> None:
    asked = face.request(
        search(
            zeep,
            near={"latitude": Decimal("48.85"), "longitude": Decimal("2.35")},
            radiusM=5000,
            connector=["IEC_62196_T2", "CHADEMO"],
            minPowerW=50_000,
            openAllHours=True,
            words="gare du nord",
            limit=10,
        ),
        None,
    )
    assert (asked.method, asked.path, asked.content) == ("GET", "/evses", b"")
    assert dict(parse_qsl(asked.query)) == {
        "near": "48.85,2.35",
        "radius_m": "5000",
        "connector": "IEC_62196_T2,CHADEMO",
        "min_power_w": "50000",
        "open_all_hours": "true",
        "q": "gare du nord",
        "limit": "10",
    }


def test_a_search_for_anything_has_no_query(face: WrittenFace, zeep: ZeepClient) -> None:
    assert face.request(search(zeep), None).query == ""


SHOWN = {
    "evse_id": "FR*PD1*E1",
    "operator": "FR*PD1",
    "status": "AVAILABLE",
    "status_at": AT.isoformat(),
    "distance_m": 12.5,
    "coordinates": {"latitude": 48.85, "longitude": 2.35},
    "connectors": [
        {
            "id": "1",
            "standard": "IEC_62196_T2",
            "format": None,
            "power_type": "AC_3_PHASE",
            "max_electric_power_w": 22_000,
        }
    ],
    "capabilities": ["RESERVABLE", "RFID_READER"],
    "uid": None,
    "physical_reference": None,
    "floor_level": None,
    "last_updated": AT.isoformat(),
    "site": {
        "id": "S1",
        "name": "Gare",
        "operator_name": None,
        "address": None,
        "city": "Paris",
        "postal_code": None,
        "country": "FR",
        "time_zone": None,
        "opening": None,
        "access": None,
    },
}


def test_what_was_found_is_told_as_in_rest(face: WrittenFace, zeep: ZeepClient) -> None:
    page = json.dumps({"evses": [SHOWN], "next": "more"}).encode()
    said = face.answer("search-evses", "1.1", 200, "application/json", page)
    found = zeep.reads("SearchEVSE", "SearchEVSESoap", "SearchEVSE", said.content)
    [one] = found["evse"]
    assert found["next"] == "more"
    assert one["distanceM"] == Decimal("12.5")
    assert one["connector"][0]["maxElectricPowerW"] == 22_000
    assert one["capability"] == ["RESERVABLE", "RFID_READER"]
    assert (one["site"]["city"], one["site"]["name"], one["uid"]) == ("Paris", "Gare", None)

    said = face.answer("look-up-evse", "1.1", 200, "application/json", json.dumps(SHOWN).encode())
    assert zeep.reads("SearchEVSE", "SearchEVSESoap", "GetEVSE", said.content) == one


def test_an_evse_is_looked_up_by_its_id(face: WrittenFace, zeep: ZeepClient) -> None:
    envelope = zeep.asks("SearchEVSE", "SearchEVSESoap", "GetEVSE", evseId="FR*PD1*E1/../x")
    assert face.request(envelope, None).path == "/evses/FR*PD1*E1%2F..%2Fx"


def test_master_data_is_told_as_an_ocpi_location(face: WrittenFace, zeep: ZeepClient) -> None:
    envelope = zeep.asks(
        *("ProvideEVSEMasterData", "ProvideEVSEMasterDataSoap", "ProvideEVSEMasterData"),
        location=[
            {
                "countryCode": "FR",
                "partyId": "PD1",
                "id": "S1",
                "coordinates": {"latitude": Decimal("48.85"), "longitude": Decimal("2.35")},
                "regularHours": [{"weekday": 1, "periodBegin": "08:00", "periodEnd": "20:00"}],
                "lastUpdated": AT,
                "evse": [
                    {
                        "evseId": "FR*PD1*E1",
                        "status": "AVAILABLE",
                        "capability": ["RESERVABLE"],
                        "connector": [{"standard": "IEC_62196_T2", "maxElectricPower": 22_000}],
                    }
                ],
            }
        ],
    )
    asked = face.request(envelope, None)
    assert (asked.method, asked.path) == ("POST", "/locations")
    [location] = json.loads(asked.content)
    assert datetime.fromisoformat(location.pop("last_updated")) == AT
    assert location == {
        "country_code": "FR",
        "party_id": "PD1",
        "id": "S1",
        "coordinates": {"latitude": "48.85", "longitude": "2.35"},
        "opening_times": {
            "regular_hours": [{"weekday": 1, "period_begin": "08:00", "period_end": "20:00"}]
        },
        "evses": [
            {
                "evse_id": "FR*PD1*E1",
                "status": "AVAILABLE",
                "capabilities": ["RESERVABLE"],
                "connectors": [{"standard": "IEC_62196_T2", "max_electric_power": 22_000}],
            }
        ],
    }


def test_what_became_of_master_data_is_told(face: WrittenFace, zeep: ZeepClient) -> None:
    report = {
        **{"read": 2, "created": 1, "updated": 0, "unchanged": 0, "rejected": 1},
        "reasons": {"evse_id: must be given": 1},
        "warnings": {},
        "examples": [{"line": 1, "field": "evse_id", "value": "", "rule": "must be given"}],
    }
    said = face.answer(
        *("provide-locations", "1.2", 200, "application/json"), json.dumps(report).encode()
    )
    told = zeep.reads(
        *("ProvideEVSEMasterData", "ProvideEVSEMasterDataSoap12", "ProvideEVSEMasterData"),
        said.content,
    )
    assert (told["created"], told["rejected"], told["warning"]) == (1, 1, [])
    assert told["reason"] == [{"says": "evse_id: must be given", "times": 1}]
    assert told["example"][0]["rule"] == "must be given"


def test_statuses_are_told_and_answered_one_by_one(face: WrittenFace, zeep: ZeepClient) -> None:
    whole = ("ProvideEVSEStatusData", "ProvideEVSEStatusDataSoap", "ProvideEVSEStatusData")
    asked = face.request(
        zeep.asks(
            *whole,
            evseStatus=[
                {"evseId": "FR*PD1*E1", "status": "CHARGING"},
                {"evseId": "FR*PD1*E2", "status": "AVAILABLE", "at": AT},
            ],
        ),
        None,
    )
    assert (asked.method, asked.path) == ("POST", "/statuses")
    first, second = json.loads(asked.content)["statuses"]
    assert first == {"evse_id": "FR*PD1*E1", "status": "CHARGING"}
    assert datetime.fromisoformat(second["at"]) == AT
    why = {"type": "…/no-such-evse", "detail": "not known here", "rule": None}
    taken = [
        {"evse_id": "FR*PD1*E1", "status": "CHARGING", "at": AT.isoformat(), "problem": None},
        {"evse_id": "FR*PD1*E2", "status": None, "at": None, "problem": why},
    ]
    body = json.dumps({"statuses": taken}).encode()
    said = face.answer("report-statuses", "1.1", 200, "application/json", body)
    good, bad = zeep.reads(*whole, said.content)
    assert (good["status"], good["at"], good["problem"]) == ("CHARGING", AT, None)
    assert (bad["status"], bad["problem"]["detail"]) == (None, "not known here")
