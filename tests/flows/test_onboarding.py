"""A business applies, is let in role by role, trades, is suspended and restored, and leaves.

By the API alone: the hub's operator, too, calls it with a client of its own.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from httpx import BasicAuth

from kit.clock import utc_now
from roaming.party import PartyId
from tests.hub import Answer, Hub, Partner, answering, server, until

CONTACTS = [
    {"name": "Control room", "email": "noc@example.org", "purpose": "operations"},
    {"name": "Contracts", "email": "contracts@example.org", "purpose": "contracts"},
]
FORECASTS: dict[str, Any] = {
    "parties": ["NL*FCS"],
    "roles": ["service-provider", "evsp"],
    "legal_name": "Forecasts BV",
    "street": "Keizersgracht 1",
    "city": "Amsterdam",
    "postal_code": "1015 CJ",
    "country": "NL",
    "vat_id": "NL004495445B01",
    "iban": "NL91ABNA0417164300",
    "invoice_email": "invoices@fcs.example",
    "contacts": CONTACTS,
}
POINT_DU_JOUR: dict[str, Any] = FORECASTS | {
    "parties": ["FR*PD1"],
    "roles": ["evse-operator"],
    "legal_name": "Point du Jour SAS",
    "country": "FR",
    "vat_id": "FR40303265045",
    "iban": "FR1420041010050500013M02606",
}


async def applies(hub: Hub, body: dict[str, Any]) -> dict[str, Any]:
    key = {"Idempotency-Key": str(uuid4())}
    answer = await hub.http.post("/marketplace/applications", json=body, headers=key)
    assert answer.status_code == 201, answer.text
    receipt: dict[str, Any] = answer.json()
    return receipt


async def comes_in(hub: Hub, receipt: dict[str, Any]) -> Partner:
    """The applicant fetches its client, and logs in."""
    auth = BasicAuth(receipt["application_id"], receipt["secret"])
    path = f"/marketplace/applications/{receipt['application_id']}/credentials"
    answer = await hub.http.post(path, auth=auth)
    assert answer.status_code == 201, answer.text
    given = answer.json()
    partner = Partner(PartyId(given["party"]), given["client_id"], given["client_secret"], hub.http)
    await partner.log_in()
    return partner


async def test_from_an_application_to_the_last_day(hub: Hub) -> None:
    keeper = await hub.operator()
    first, second = await applies(hub, FORECASTS), await applies(hub, POINT_DU_JOUR)
    waiting = await keeper.get("/marketplace/applications?status=requested")
    assert [one["legal_name"] for one in waiting] == ["Forecasts BV", "Point du Jour SAS"]
    at = f"/marketplace/applications/{first['application_id']}"
    await keeper.post(f"{at}/roles/service-provider/approve")
    await keeper.post(f"{at}/roles/evsp/refuse", {"reason": "no customers yet"})
    await keeper.post(f"/marketplace/applications/{second['application_id']}/approve")
    provider, requester = await comes_in(hub, first), await comes_in(hub, second)
    own = await provider.get(f"/marketplace/partners/{provider.party}/standing")
    assert own["roles"] == [{"role": "service-provider", "status": "approved"}]

    async with server(answering({"load": 7})) as forecasts:
        await offers_forecasts(provider, forecasts.url)
        contract = await agrees(requester)
        agreed_at = at_once()
        assert (await calls(requester)).status == 200

        # Suspended: from now on nobody calls it, and it gets no token.
        standing = f"/marketplace/partners/{provider.party}/standing"
        await keeper.post(f"{standing}/suspend", {"reason": "two invoices overdue"})
        refused = await calls(requester)
        assert (refused.status, refused.problem) == (403, "not-covered")
        assert refused.body["value"] == "partner-suspended"
        assert await login_status(provider) == 401
        assert [one["data"]["action"] for one in await hears(requester)] == ["suspend"]
        # Why, is between the two.
        assert "overdue" not in str(await hears(requester))
        # Before, it was as agreed: each moment is judged by what was so then.
        assert (await validity(requester, provider, agreed_at))["valid"]
        now = await validity(requester, provider, at_once())
        assert (now["valid"], now["reason"]) == (False, "partner-suspended")
        await keeper.post(f"{standing}/restore")
        await until(lambda: is_back(provider))
        assert (await calls(requester)).status == 200

        # Leaving, with the notice that its contract asks for: none.
        gone = await provider.post(f"{standing}/leave", {"reason": "sold"})
        assert gone["status"] == "left"
        left = await calls(requester)
        assert (left.status, left.body["value"]) == (403, "partner-left")
        assert len(forecasts.came) == 2
        heard = await hears(requester)
        assert [one["type"] for one in heard[-2:]] == ["partner-standing-changed", "partner-left"]
    ended = await requester.get(f"/marketplace/contracts/{contract}")
    assert (ended["status"], ended["history"][-1]["by"]) == ("terminated", provider.party)

    # It still reads what it owes and is owed, and changes nothing.
    await until(lambda: is_back(provider))
    assert await provider.get(f"/marketplace/contracts/{contract}") == ended
    for method, path in (
        ("POST", "/marketplace/services"),
        ("POST", "/marketplace/contracts"),
        ("PUT", f"/marketplace/partners/{provider.party}/endpoints/cdrs"),
    ):
        answer = await provider.call(method, path, {})
        assert (answer.status, answer.problem) == (403, "scope-missing")
    answer = await provider.call("GET", "/services/search-evse/evses?limit=1")
    assert answer.status == 403


def at_once() -> str:
    return utc_now().isoformat().replace("+00:00", "Z")


async def hears(partner: Partner) -> list[Any]:
    """What it is told of others' standing, in order."""
    told = await partner.get("/marketplace/messages?limit=1000")
    return [one for one in told if one["type"].startswith("partner-")]


async def validity(requester: Partner, provider: Partner, at: str) -> Any:
    asked = f"requester={requester.party}&provider={provider.party}&service=load-forecast&at={at}"
    return await requester.get(f"/services/contract-validation/validate?{asked}")


async def offers_forecasts(provider: Partner, url: str) -> None:
    await provider.post(
        "/marketplace/services",
        {
            "name": "load-forecast",
            "category": "value-added",
            "description": "What a charge point will draw tomorrow",
            "endpoint": url,
        },
    )
    await provider.post("/marketplace/services/load-forecast/v1/publish")
    await provider.post("/marketplace/offerings", {"service": "load-forecast"})


async def agrees(requester: Partner) -> str:
    found = await requester.get("/marketplace/offerings?service=load-forecast")
    return await requester.accepts(found[0]["offering_id"])


async def calls(requester: Partner) -> Answer:
    return await requester.call("GET", "/services/load-forecast/points/FR*PD1*E1")


async def is_back(partner: Partner) -> bool:
    """Logged in anew. Tokens tell by the second when they were given, so one of the second in which
    all were ended is ended, too."""
    await partner.log_in()
    return (await partner.call("GET", f"/marketplace/partners/{partner.party}")).status == 200


async def login_status(partner: Partner) -> int:
    told = await partner.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=BasicAuth(partner.client_id, partner.client_secret),
    )
    return told.status_code
