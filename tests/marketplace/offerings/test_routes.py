"""Offerings over HTTP."""

from __future__ import annotations

from typing import Any

from httpx import AsyncClient

from marketplace.offerings import flows
from marketplace.services.model import HUB_SERVICES
from tests.marketplace.fakes import (
    EVSP,
    HUB,
    OPERATOR,
    ROAMING_TERMS,
    HandClock,
    Member,
    offer_roaming,
)
from tests.marketplace.whole import Marketplace

OFFERINGS = "/marketplace/offerings"


async def test_an_offering_is_seen_by_those_it_is_made_to(operator: Member, evsp: Member) -> None:
    to_evsp = await offer_roaming(operator, EVSP)
    to_other = await offer_roaming(operator, HUB)
    assert to_evsp["audience"] == {"kind": "parties", "roles": [], "parties": [EVSP]}
    seen = {one["offering_id"] for one in (await evsp.http.get(OFFERINGS)).json()}
    assert to_evsp["offering_id"] in seen
    assert to_other["offering_id"] not in seen
    one = await evsp.http.get(f"{OFFERINGS}/{to_evsp['offering_id']}")
    assert one.json()["audience"] is None
    assert (await evsp.http.get(f"{OFFERINGS}/{to_other['offering_id']}")).status_code == 404
    own = await operator.http.get(OFFERINGS, params={"provider": OPERATOR})
    assert {o["offering_id"] for o in own.json()} == {
        to_evsp["offering_id"],
        to_other["offering_id"],
    }


async def test_the_hubs_offerings_are_there_for_the_roles_they_are_for(
    market: Marketplace, operator: Member, evsp: Member, clock: HandClock
) -> None:
    hubs = await operator.http.get(OFFERINGS, params={"provider": HUB})
    names = {one["service"] for one in hubs.json()}
    assert names == set(HUB_SERVICES)
    await flows.ensure_hub_offerings(market.core.offerings, HUB, clock())
    again = await operator.http.get(OFFERINGS, params={"provider": HUB})
    assert again.json() == hubs.json()


async def test_what_the_hub_withdrew_stays_withdrawn(
    market: Marketplace, operator: Member, clock: HandClock
) -> None:
    params = {"provider": str(HUB), "service": "search-evse"}
    [search] = (await operator.http.get(OFFERINGS, params=params)).json()
    await flows.withdraw(market.core.offerings, HUB, [], search["offering_id"], clock())
    await flows.ensure_hub_offerings(market.core.offerings, HUB, clock())
    assert (await operator.http.get(OFFERINGS, params=params)).json() == []


async def test_the_same_offering_is_made_once(operator: Member) -> None:
    first = await offer_roaming(operator, EVSP)
    again = await offer_roaming(operator, EVSP)
    assert first == again
    await operator.http.post(f"{OFFERINGS}/{first['offering_id']}/withdraw")
    anew = await offer_roaming(operator, EVSP)
    assert anew["offering_id"] != first["offering_id"]


async def test_twice_in_one_array_is_once(operator: Member) -> None:
    one = {"service": "roaming", "terms": ROAMING_TERMS}
    answer = await operator.http.post(OFFERINGS, json=[one, one])
    assert answer.status_code == 201
    first, second = answer.json()
    assert first == second


async def test_only_who_made_it_withdraws_it(
    operator: Member, evsp: Member, client: AsyncClient
) -> None:
    offering = await offer_roaming(operator, EVSP)
    path = f"{OFFERINGS}/{offering['offering_id']}/withdraw"
    assert (await client.post(path)).status_code == 401
    assert (await evsp.http.post(path)).status_code == 403
    assert (await evsp.http.post(f"{OFFERINGS}/x/withdraw")).status_code == 404
    for _ in range(2):
        assert (await operator.http.post(path)).json()["status"] == "withdrawn"
    assert (await evsp.http.post(path)).status_code == 404


async def test_what_one_may_not_offer_is_refused(operator: Member, evsp: Member) -> None:
    roaming: dict[str, Any] = {"service": "roaming", "terms": ROAMING_TERMS}
    answer = await evsp.http.post(OFFERINGS, json=roaming)
    assert (answer.status_code, answer.json()["field"]) == (403, "service")
    answer = await operator.http.post(OFFERINGS, json={"service": "clearing-house"})
    assert answer.status_code == 403
    for name in ("no-such", "%", "A"):
        answer = await operator.http.post(OFFERINGS, json={"service": name})
        assert (answer.status_code, answer.json()["field"]) == (404, "service")


async def test_an_offering_that_breaks_a_rule_is_refused_by_name(operator: Member) -> None:
    good: dict[str, Any] = {"service": "roaming", "terms": ROAMING_TERMS}
    for wrong, field in (
        ({"valid_from": "2026-01-01T00:00:00Z", "valid_until": "2026-01-01T00:00:00Z"}, None),
        ({"valid_until": "2020-01-01T00:00:00Z"}, "valid_until"),
        ({"valid_from": "2026-01-01"}, None),
        ({"audience": {"kind": "public", "parties": ["FR*PD1"]}}, "audience.kind"),
        ({"audience": {"kind": "parties", "parties": ["nobody"]}}, "party"),
        ({"audience": {"kind": "roles", "roles": ["boss"]}}, "audience.roles"),
        ({"terms": {}}, "terms.currency"),
        ({"terms": ROAMING_TERMS | {"vat_percent": 120}}, "terms.vat_percent"),
        ({"colour": "red"}, None),
    ):
        answer = await operator.http.post(OFFERINGS, json=good | wrong)
        assert answer.status_code == 422, wrong
        assert field is None or answer.json()["field"] == field, wrong
    for body in ([], "x", None, [good] * 1_001):
        assert (await operator.http.post(OFFERINGS, json=body)).status_code == 422


async def test_limits_that_nobody_counts_are_not_offered(operator: Member) -> None:
    topic = {
        "name": "grid-alerts",
        "category": "value-added",
        "description": "Where the grid is short",
        "protocol": "topic",
    }
    assert (await operator.http.post("/marketplace/services", json=topic)).status_code == 201
    for limits, field in (
        ({"quota": {"calls_per_day": 5}}, "terms.quota"),
        ({"pack": {"calls": 5, "price_minor": 100}, "currency": "EUR"}, "terms.pack"),
    ):
        answer = await operator.http.post(
            OFFERINGS, json={"service": "grid-alerts", "terms": limits}
        )
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    priced = {"price_per_call_minor": 5, "currency": "EUR", "quota": {}, "pack": None}
    answer = await operator.http.post(OFFERINGS, json={"service": "grid-alerts", "terms": priced})
    assert answer.status_code == 201


async def test_an_operation_that_the_service_does_not_have_is_not_offered(
    operator: Member,
) -> None:
    service = {
        "name": "load-forecast",
        "category": "value-added",
        "description": "What will be drawn",
        "endpoint": "https://forecasts.example/live",
        "operations": [{"name": "forecast", "method": "GET", "path": "/points/{point}"}],
    }
    assert (await operator.http.post("/marketplace/services", json=service)).status_code == 201

    async def offer(*operations: str) -> Any:
        terms = {"operations": operations}
        return await operator.http.post(
            OFFERINGS, json={"service": "load-forecast", "terms": terms}
        )

    answer = await offer("forecast", "forcast")
    told = answer.json()
    assert (answer.status_code, told["field"]) == (422, "terms.operations.1")
    assert (told["value"], told["rule"]) == ("forcast", "`METHOD /path`, or one of: forecast")
    for fine in ("forecast", "*", "fore*", "GET /status"):
        assert (await offer(fine)).status_code == 201, fine
