"""An operator's central system runs alone, near its charge points, against a hub elsewhere."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from gridroam import office, office_keys
from gridroam.rehearsal import hub_process
from gridroam.rehearsal.charge_point import VirtualChargePoint
from gridroam.rehearsal.client import Partner
from gridroam.rehearsal.inputs import PlayedCharge
from kit.clock import utc_now
from roaming.party import PartyId
from roaming.token import TokenUid

OPERATOR, EVSP = PartyId("FR*PD1"), PartyId("NL*TNM")
EVSE = "FRPD1E1"
PASSWORD = "a password of a station"
LOCATION = {
    "country_code": "FR",
    "party_id": "PD1",
    "id": "L1",
    "publish": True,
    "address": "1 rue de la Paix",
    "city": "Paris",
    "country": "FRA",
    "coordinates": {"latitude": "48.869", "longitude": "2.331"},
    "time_zone": "Europe/Paris",
    "last_updated": "2024-01-01T00:00:00Z",
    "evses": [
        {
            "uid": "1",
            "evse_id": EVSE,
            "status": "AVAILABLE",
            "last_updated": "2024-01-01T00:00:00Z",
            "connectors": [
                {
                    "id": "1",
                    "standard": "IEC_62196_T2",
                    "format": "SOCKET",
                    "power_type": "AC_3_PHASE",
                    "max_voltage": 230,
                    "max_amperage": 32,
                    "last_updated": "2024-01-01T00:00:00Z",
                }
            ],
        }
    ],
}


async def partner(
    session: aiohttp.ClientSession, url: str, home: Path, party: PartyId, role: str
) -> Partner:
    added = await office.add_partner(home, None, party, [role], str(party))
    return Partner(session, url, added.client_id, added.client_secret)


async def test_a_charge_at_a_far_operators_point_is_authorised_and_billed_by_the_hub(
    tmp_path: Path,
) -> None:
    hub_home, own_home = tmp_path / "hub", tmp_path / "operator"
    async with hub_process.running(hub_home) as hub, aiohttp.ClientSession() as session:
        operator = await partner(session, hub.url, hub_home, OPERATOR, "evse-operator")
        evsp = await partner(session, hub.url, hub_home, EVSP, "evsp")
        await operator.call("POST", "/services/search-evse/locations", [LOCATION])
        await evsp.call(
            "PUT",
            "/services/clearing-house/customer-contracts/NLTNM000122045U",
            {"token_uids": ["04A2B3C4"], "status": "active"},
        )
        offering = await operator.call(
            "POST",
            "/marketplace/offerings",
            {
                "service": "roaming",
                "valid_from": "2024-01-01T00:00:00Z",
                "terms": {
                    "currency": "EUR",
                    "vat_percent": "20",
                    "time_zone": "Europe/Paris",
                    "tariff": {
                        "elements": [
                            {"price_components": [{"type": "ENERGY", "price": 1, "step_size": 1}]}
                        ]
                    },
                },
            },
        )
        await evsp.call("POST", "/marketplace/contracts", {"offering_id": offering["offering_id"]})
        # The operator registers the key of its central system at the hub, once.
        shown = await office_keys.operator_key(own_home, None, OPERATOR, None)
        client = await operator.call(
            "POST", f"/marketplace/partners/{OPERATOR}/clients", {"jwks": shown["jwks"]}
        )
        await office_keys.operator_key(own_home, None, OPERATOR, client["client_id"])
        options = ["--only", "central-system", "--hub-url", hub.url]
        async with hub_process.running(own_home, options=options) as central_system:
            own = await partner(session, central_system.url, own_home, OPERATOR, "evse-operator")
            station = {"charge_point": "CP1", "connectors": {"1": EVSE}, "password": PASSWORD}
            await own.call("PUT", "/central-system/stations", [station])
            await charge_once(central_system.url)
            cdrs = await delivered(evsp)
    assert [(cdr["evse_id"], cdr["energy_wh"], cdr["price"]["excl_vat"]) for cdr in cdrs] == [
        ("FR*PD1*E1", 10_000, "10.00")
    ], json.dumps(cdrs)


async def charge_once(central_system: str) -> None:
    begun = utc_now().replace(microsecond=0) - timedelta(hours=1)
    charge = PlayedCharge(
        1, EVSE, TokenUid("04A2B3C4"), begun, begun + timedelta(minutes=30), 10_000
    )
    point = VirtualChargePoint("CP1", f"{central_system}/ocpp/{OPERATOR.dashed}", PASSWORD)
    await point.connect()
    assert await point.start(charge) is None
    await point.stop(charge)
    await point.close()


async def delivered(evsp: Partner) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        page = await evsp.call("GET", "/services/clearing-house/cdrs")
        if page["cdrs"]:
            found: list[dict[str, Any]] = page["cdrs"]
            return found
        await asyncio.sleep(0.1)
    return []
